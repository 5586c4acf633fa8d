from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.errors import ProtocolRefused
from fedmed.identity.heads import bound, read_countersigned, read_head, read_path, sign_head
from tests.identity.logs import CENTER, CLINICS, head_of, signed, tree_of

HEAD = head_of(tree_of("a", "b"))
SIGNED = signed(HEAD, 1)


def test_heads_are_read_back_and_keep_their_signatures():
    assert read_head(json.loads(json.dumps(HEAD.as_json()))) == HEAD
    found = read_countersigned(json.loads(json.dumps(SIGNED.as_json())))
    assert found == SIGNED
    assert found.head.is_signed_by(CENTER.signing_public)
    assert found.is_signed_by(CLINICS[1].signing_public)
    assert not found.is_signed_by(CENTER.signing_public)
    assert not found.head.is_signed_by(b"")


@given(st.sampled_from(["log", "size", "root", "unix_ms", "signature"]), st.integers(0, 511))
def test_no_altered_field_keeps_its_signature(name, bit):
    value = getattr(HEAD, name)
    if isinstance(value, int):
        changed = value ^ 1 << bit % 40
    else:
        changed = bytes(b ^ (1 << bit % 8 if place == bit // 8 % len(value) else 0) for place, b in enumerate(value))
    assert not replace(HEAD, **{name: changed}).is_signed_by(CENTER.signing_public)
    assert not replace(SIGNED, head=replace(HEAD, **{name: changed})).is_signed_by(CLINICS[1].signing_public)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"size": -1}, "size is -1; allowed is a whole number from 0"),
        ({"size": 1 << 49}, "size is 562949953421312"),
        ({"size": 10**5000}, "a number too long to be shown"),
        ({"size": True}, "size is True"),
        ({"size": 2.0}, "size is 2.0"),
        ({"unix_ms": "now"}, "unix_ms is 'now'"),
        ({"root": "00"}, "root is '00'; allowed are 64 hexadecimal digits"),
        ({"root": "G" * 64}, "root is 'GGG"),
        ({"log": 5}, "log is 5"),
        ({"signature": None}, "signature is None"),
        ({"more": 1}, "has the fields .*more.*allowed are just"),
    ],
)
def test_what_is_no_head_says_what_was_got_and_what_is_allowed(change, word):
    with pytest.raises(ProtocolRefused, match=word):
        read_head({**HEAD.as_json(), **change})
    with pytest.raises(ProtocolRefused, match=word):
        read_countersigned({**SIGNED.as_json(), "head": {**HEAD.as_json(), **change}})


@pytest.mark.parametrize("said", [None, [], "x", 5, {}])
def test_other_json_is_no_head_either(said):
    with pytest.raises(ProtocolRefused, match="has the fields"):
        read_head(said)
    with pytest.raises(ProtocolRefused):
        read_countersigned({**SIGNED.as_json(), "witness": said})


def test_paths_are_lists_of_hashes_and_not_too_many():
    assert read_path(["00" * 32]) == (bytes(32),)
    for wrong in (None, "00", ["00"], [5], ["00" * 32] * 99):
        with pytest.raises(ProtocolRefused):
            read_path(wrong)


def test_what_is_bound_has_32_bytes_and_differs_for_every_ledger_and_head():
    ledger, other = b"l" * 32, b"m" * 32
    assert bound(ledger, None) == ledger
    made = {bound(*each) for each in ((ledger, SIGNED), (other, SIGNED), (ledger, signed(HEAD, 2)), (ledger, None))}
    made.add(bound(ledger, signed(sign_head(CENTER, 2, bytes(32), 5), 1)))
    assert {len(each) for each in made} == {32}
    assert len(made) == 5
    assert bound(ledger, SIGNED) == bound(ledger, SIGNED)
