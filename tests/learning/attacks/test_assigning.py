from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.config.attackers import Attacker, Trigger
from fedmed.errors import ConfigError
from fedmed.learning.attacks.assigning import assigned, chosen
from tests.learning.parts import site

NAMES = [f"small#{number}" for number in range(1, 11)] + ["large#1", "a[1]", "a1"]


@given(st.integers(0, 9), st.integers(0, 2**62))
def test_one_more_attacker_is_one_more_beside_the_same(count, seed):
    fewer, more = (chosen(Attacker(who="small#*", count=n, kind="sign-flip"), NAMES, seed) for n in (count, count + 1))
    assert len(fewer) == count
    assert set(fewer) < set(more)
    assert all(name.startswith("small#") for name in more)


def test_a_share_is_a_share_of_those_named_and_a_bracket_is_a_bracket():
    assert len(chosen(Attacker(who="small#*", share=0.3, kind="sign-flip"), NAMES, 1)) == 3
    assert chosen(Attacker(who="small#*", share=0.0, kind="sign-flip"), NAMES, 1) == []
    assert chosen(Attacker(who="a[1]", kind="sign-flip"), NAMES, 1) == ["a[1]"]
    assert chosen(Attacker(who="*", kind="sign-flip"), NAMES, 1) == NAMES


def test_a_site_may_attack_in_several_ways():
    both = [
        Attacker(who="n*", kind="backdoor", target="b", trigger=Trigger(size=1)),
        Attacker(who="north", kind="scaled", factor=4),
    ]
    assert assigned(both, [site("north"), site("south")], 1) == {"north": tuple(both)}


def test_all_that_does_not_fit_is_told_at_once():
    wrong = [
        Attacker(who="nroth", kind="sign-flip"),
        Attacker(who="*", count=3, kind="sign-flip"),
        Attacker(who="north", kind="label-flip", source="a", target="ill"),
        Attacker(who="south", kind="backdoor", target="b", trigger=Trigger(size=3)),
        Attacker(who="north", kind="sign-flip", factor=2),
    ]
    with pytest.raises(ConfigError) as told:
        assigned(wrong, [site("north"), site("south")], 1)
    said = str(told.value).split("; ")
    assert said[0].startswith('attackers.0.who: got "nroth", which is no site\'s name (did you mean north?)')
    assert any(each.startswith("attackers.1.count: got 3") for each in said)
    assert any(each.startswith('attackers.2.target: got "ill", which is no class here, allowed: a, b') for each in said)
    assert any(each.startswith("attackers.3.trigger.size: got 3 for cases of [3]") for each in said)
    assert any(each.startswith("attackers.4.who: north has the attack sign-flip already") for each in said)


def test_masks_have_no_backdoor():
    clean = site(shape=(8, 8))
    masks = replace(clean.train, y=np.zeros((len(clean.train), 8, 8), np.uint8))
    with pytest.raises(ConfigError, match=r"attackers\.0\.kind: got backdoor, which needs one class a case"):
        assigned([Attacker(who="north", kind="backdoor", target="b")], [replace(clean, train=masks)], 1)
