from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.errors import JoinRefused
from fedmed.identity.devicecode import Code, invitation_of, kept, new_code, proof_of, proves, read_code

AUTHORITY, OTHER, HUB = b"the authority's certificate", b"another authority's", b"the hub's certificate"
REQUEST = b"a request"
CODES = st.builds(Code, st.binary(min_size=10, max_size=10), st.binary(min_size=10, max_size=10))


@given(CODES, st.booleans())
def test_a_code_is_read_as_it_was_written_however_it_is_typed(code, is_lower):
    text = code.text()
    assert len(text.replace("-", "")) == 33
    typed = text.replace("-", " ").lower() if is_lower else text.replace("O", "0").replace("I", "1").replace("B", "8")
    assert read_code(f" {typed} ") == code


@given(CODES, st.integers(0, 32), st.integers(1, 31))
def test_one_wrong_letter_is_always_found(code, at, by):
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
    letters = list(code.text().replace("-", ""))
    letters[at] = alphabet[(alphabet.index(letters[at]) + by) % 32]
    with pytest.raises(JoinRefused, match="check letter"):
        read_code("".join(letters))


@pytest.mark.parametrize("text", ["", "ABCD", "A" * 32, "A" * 34, "!" * 33, "É" * 33, "A" * 100_000, "A-" * 33 + "A"])
def test_what_is_no_code_is_refused_with_what_one_has(text):
    with pytest.raises(JoinRefused, match="33 of A-Z"):
        read_code(text)


def test_a_code_is_for_one_authority():
    code = new_code(AUTHORITY)
    assert code.fits(AUTHORITY)
    assert not code.fits(OTHER)
    assert code.secret not in repr(code).encode()


def test_the_hub_keeps_nothing_that_the_secret_is_in():
    code = new_code(AUTHORITY)
    held = kept(code, AUTHORITY)
    assert held.invitation == invitation_of(code, AUTHORITY)
    for written in (code.secret.hex(), base64.b32encode(code.secret).decode()):
        assert written not in held.invitation + held.stored
    assert held.stored != kept(code, OTHER).stored  # salted


def test_a_proof_is_good_for_one_request_at_one_hub():
    code = new_code(AUTHORITY)
    invitation, proof = proof_of(code, AUTHORITY, HUB, "echo", REQUEST)
    held = kept(code, AUTHORITY)
    assert invitation == held.invitation
    assert proves(held.stored, proof, AUTHORITY, HUB, "echo", REQUEST)
    for changed in (
        (AUTHORITY, b"the hub of a man in the middle", "echo", REQUEST),
        (OTHER, HUB, "echo", REQUEST),
        (AUTHORITY, HUB, "mri", REQUEST),
        (AUTHORITY, HUB, "echo", b"another request"),
    ):
        assert not proves(held.stored, proof, *changed)
    assert not proves(held.stored, proof[:-1], AUTHORITY, HUB, "echo", REQUEST)
    assert not proves(kept(new_code(AUTHORITY), AUTHORITY).stored, proof, AUTHORITY, HUB, "echo", REQUEST)


@given(st.binary(min_size=32, max_size=32))
def test_who_reads_what_the_hub_keeps_cannot_make_a_proof(guess):
    code = Code(bytes(10), new_code(AUTHORITY).prefix)
    stored = kept(code, AUTHORITY).stored
    assert not proves(stored, guess, AUTHORITY, HUB, "echo", REQUEST)
    assert not proves(stored, bytes.fromhex(stored), AUTHORITY, HUB, "echo", REQUEST)
