from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.store.audit import event as events
from fedmed.store.audit.event import DETAILS, KINDS, event, faults_of, read
from fedmed.wire.canonical import canonical
from tests.identity.parties import NOW


@given(st.text(), st.text(), st.text(), st.text(), st.sampled_from(sorted(DETAILS)))
def test_whatever_texts_come_an_event_is_made_of_them_and_read_back(who, resource, reason, detail, key):
    made = event(NOW, who, "site", "refuse", resource, "refused", reason=reason, **{key: detail})
    assert list(faults_of(made)) == []
    assert read(json.loads(canonical(made.as_json()))) == made


def test_hostile_texts_are_spelled_out_and_cut():
    made = event(NOW, "\x1b[2J\u202e", "site", "refuse", "a" * 999, "refused", reason="\ud800")
    assert made.who == r"\x1b[2J\u202e"
    assert len(made.resource) == 256
    assert made.resource.endswith("…")
    assert made.reason == r"\ud800"


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"unix": float("nan")}, "unix is nan; it is seconds since 1970"),
        ({"unix": -1}, "unix is -1"),
        ({"unix": "now"}, "unix is 'now'"),
        ({"unix": 10**400}, "unix is 1000"),
        ({"unix": True}, "unix is True"),
        ({"who": "x" * 129}, "who has 129 letters; allowed are 128"),
        ({"who": 5}, "who is a int; it is a text"),
        ({"reason": "a\nb"}, "control characters are spelled out"),
        ({"role": "nurse"}, "role is 'nurse'; allowed are center"),
        ({"outcome": "maybe"}, "outcome is 'maybe'; allowed are done, refused, failed"),
        ({"action": "dance"}, "action is 'dance'; it begins with one of access"),
        ({"action": "round.Send"}, "action is 'round.Send'"),
        ({"action": None}, "action is None"),
        ({"round": -1}, "round is -1; it is a whole number"),
        ({"round": 1.0}, "round is 1.0"),
        ({"round": 1 << 53}, "round is 9007199254740992"),
        ({"details": []}, "details are a list"),
        ({"details": {"patient": "x"}}, "detail 'patient'; allowed are bytes"),
        ({"details": {"bytes": []}}, "detail bytes is .*allowed are a text, a number"),
        ({"details": {"bytes": 1 << 60}}, "detail bytes is"),
        ({"details": {"epsilon": float("inf")}}, "detail epsilon is inf"),
        ({"details": {"digest": "x" * 257}}, "detail digest has 257 letters"),
        ({"more": 1}, "allowed are just unix, who"),
    ],
)
def test_what_is_no_event_says_what_was_got_and_what_is_allowed(change, word):
    with pytest.raises(ValueError, match=word):
        read({**event(NOW, "north", "site", "round", "run").as_json(), **change})


def test_a_missing_field_is_named():
    said = event(NOW, "north", "site", "round", "run").as_json()
    del said["who"]
    with pytest.raises(ValueError, match="allowed are just"):
        read(said)


def test_the_words_of_actions_are_few_and_plain():
    assert len(KINDS) == len(set(KINDS)) < 40
    assert not [kind for kind in KINDS if list(faults_of(event(NOW, "a", "site", f"{kind}.more.words", "r")))]
    assert events.MOST_DETAIL <= 256
