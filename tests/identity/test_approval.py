from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fedmed.errors import NotApproved, StoreError
from fedmed.identity import approval as module
from fedmed.identity.approval import Approval, Signed, read_signed
from tests.clinic.staff import key, offer

WHAT = offer()
NOW = 1_800_000_000


def approval(**changed: object) -> Approval:
    body = {
        "federation": "study",
        "clinic": "north",
        "run": "wards-1",
        "proposal": json.loads(WHAT.content),
        "digest": WHAT.digest,
        "app": "a" * 64,
        "wheels": None,
        "packages": {},
        "purpose": "research",
        "dataset": "wards",
        "described": "b" * 64,
        "architecture": "c" * 64,
        "class_weights": "none",
        "order": {"round": 1},
        "inquiry": {},
        "ranges": {"learning_rate": [0.1, 0.2]},
        "encryption": "malicious",
        "least_members": 3,
        "epsilon": None,
        "privacy_mode": None,
        "approved": NOW,
        "expires": NOW + 1000,
    }
    return Approval.model_validate_json(json.dumps({**body, **changed}))


def test_it_comes_back_with_its_signatures():
    signed = Signed(approval()).signed("a", b"1" * 64).signed("b", b"2" * 64).signed("a", b"3" * 64)
    assert signed.signatures == (("b", b"2" * 64), ("a", b"3" * 64))
    assert read_signed(signed.encode(), "x") == signed
    assert signed.approval.offered() == WHAT
    assert signed.taken_back(5).signatures == ()
    assert read_signed(signed.taken_back(5).encode(), "x").withdrawn == 5


@given(st.integers(0, 10**6), st.integers(1, 255))
def test_no_byte_can_change(place, bit):
    made = key()
    body = approval()
    signed = Signed(body).signed("a", made.sign(body.message()))
    content = bytearray(signed.encode())
    content[place % len(content)] ^= bit
    try:
        found = read_signed(bytes(content), "x")
        found.require_in_force({"a": made.public}, 1, NOW)
    except (StoreError, NotApproved):
        return
    pytest.fail("an altered approval is in force")


def test_it_takes_as_many_approvers_as_the_clinic_says():
    keys, body = {name: key() for name in "abc"}, approval()
    approvers = {name: each.public for name, each in keys.items()}
    signed = Signed(body)
    for count, (name, each) in enumerate(keys.items(), 1):
        signed = signed.signed(name, each.sign(body.message()))
        assert signed.signers(approvers) == tuple("abc"[:count])
        for needed in (1, 2, 3, 4):
            if count >= needed:
                signed.require_in_force(approvers, needed, NOW)
            else:
                with pytest.raises(NotApproved, match="not approved"):
                    signed.require_in_force(approvers, needed, NOW)
    with pytest.raises(NotApproved):
        signed.require_in_force(approvers | {"c": key().public}, 1, NOW)


def test_it_ends_to_the_second():
    made, body = key(), approval()
    signed = Signed(body).signed("a", made.sign(body.message()))
    signed.require_in_force({"a": made.public}, 1, NOW + 999)
    with pytest.raises(NotApproved, match="ended at"):
        signed.require_in_force({"a": made.public}, 1, NOW + 1000)


@pytest.mark.parametrize(
    "changed",
    [
        {"ranges": {"rounds": [1, 2]}},
        {"ranges": {"learning_rate": [2, 1]}},
        {"digest": "0" * 64},
        {"run": "Wards"},
        {"encryption": "none"},
        {"least_members": 2},
        {"more": 1},
    ],
)
def test_bodies_that_are_none(changed):
    with pytest.raises(ValidationError):
        approval(**changed)


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff", b"[" * 100_000, b" " * (1 << 20)])
def test_files_that_are_none(content):
    with pytest.raises(StoreError):
        read_signed(content, "x")


class Later(Approval):
    """As a later minor has it."""

    wish: str = "none"


def test_an_approval_of_an_older_minor_holds_and_one_of_a_newer_is_refused_by_name(monkeypatch):
    mine, old = key(), approval()
    older = Signed(old).signed("a", mine.sign(old.message())).encode()
    body = Later.model_validate_json(json.dumps({**old.body(), "wish": "some"}))
    newer = Signed(body).signed("a", mine.sign(body.message())).encode()
    with pytest.raises(StoreError, match="it has wish, which is of a newer fedmed; approve the run anew"):
        read_signed(newer, "x")
    monkeypatch.setattr(module, "Approval", Later)
    found = read_signed(older, "x")
    assert (found.approval.wish, found.signers({"a": mine.public})) == ("none", ("a",))
    assert found.encode() == older
    assert read_signed(newer, "x").signers({"a": mine.public}) == ("a",)
