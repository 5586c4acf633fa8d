"""A site that attacks against the same site honest, by the training that really runs."""

from __future__ import annotations

import json

import numpy as np
import pytest

from fedmed.config.attackers import Attacker, Trigger
from fedmed.learning import weights
from fedmed.learning.attacks.hostile import Hostile, rows_of, simulated
from fedmed.learning.clinic import Clinic
from fedmed.learning.order import Inquiry, PrivateWork
from fedmed.learning.private_training import repeatable_seeds
from fedmed.sites import prepared
from tests.learning.parts import SPEC, order, site


def sent(clinic: Clinic, number: int = 1) -> dict[str, np.ndarray]:
    tensors, _ = clinic.train(order(number), first())
    return {name: value.copy() for name, value in tensors.items()}


def first() -> dict[str, np.ndarray]:
    return {name: value.copy() for name, value in weights.fresh(SPEC, 1).items()}


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return all(np.array_equal(value, other[name]) for name, value in one.items())


HONEST = sent(Clinic(site()))
ATTACKS = [
    Attacker(who="north", kind="label-flip"),
    Attacker(who="north", kind="backdoor", target="b", cases=0.5, trigger=Trigger(size=1)),
    Attacker(who="north", kind="scaled", factor=3.0),
    Attacker(who="north", kind="sign-flip"),
]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.kind)
def test_an_attack_begins_in_its_round_and_is_not_described(attack):
    late = Hostile(site(), [attack.model_copy(update={"since": 2})])
    assert same(sent(late), HONEST)
    assert not same(sent(late, 2), sent(Clinic(site()), 2))
    assert not same(sent(Hostile(site(), [attack])), HONEST)
    asked = Inquiry().model_dump_json()
    assert json.loads(late.describe(asked)) == json.loads(Clinic(site()).describe(asked))
    assert late.validate(order(), first()) == Clinic(site()).validate(order(), first())


def test_attacks_on_cases_come_before_those_on_the_update():
    flip, flip_sign = Attacker(who="north", kind="label-flip"), Attacker(who="north", kind="sign-flip")
    alone, both = sent(Hostile(site(), [flip])), sent(Hostile(site(), [flip_sign, flip]))
    for name, start in first().items():
        np.testing.assert_allclose(both[name] - start, start - alone[name], atol=1e-6)


def test_the_cases_that_are_changed_are_drawn_by_the_seed_and_one_at_least():
    attack = Attacker(who="north", kind="label-flip", cases=0.25)
    assert len(rows_of(attack, 40, 1, "north")) == 10
    assert len(rows_of(attack, 1, 1, "north")) == 1
    assert rows_of(attack, 40, 1, "north").tolist() == rows_of(attack, 40, 1, "north").tolist()
    assert rows_of(attack, 40, 1, "north").tolist() != rows_of(attack, 40, 1, "south").tolist()


def test_a_simulations_folder_says_who_attacks(tmp_path):
    attack = ATTACKS[1]
    written = {"north": [attack.model_dump(mode="json")]}
    prepared.lay_out([site("north"), site("south")], tmp_path / "sites", written)
    north, south = (simulated(tmp_path / "sites", number) for number in (0, 1))
    assert isinstance(north, Hostile)
    assert type(south) is Clinic
    assert same(sent(north), sent(Hostile(site("north"), [attack])))
    assert prepared.attacks_of(tmp_path / "sites", 1) == []


def test_what_is_sent_as_a_change_is_turned_as_a_change():
    work = PrivateWork(mode="record-distributed", clip=1.0, noise_multiplier=1.0, patients=40.0)
    private = order(privacy=work, training={"steps": 1, "epochs": None})
    honest = Clinic(site(), seeds=repeatable_seeds).train(private, first())[0]
    turned = Hostile(site(), [ATTACKS[3]], seeds=repeatable_seeds).train(private, first())[0]
    assert any(value.any() for value in honest.values())
    for name, value in honest.items():
        np.testing.assert_allclose(turned[name], -value, atol=1e-7)
