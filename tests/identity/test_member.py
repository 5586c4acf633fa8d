from __future__ import annotations

import hashlib
import os
import struct
import subprocess

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from fedmed.errors import ConfigError
from fedmed.identity.files import KeyRefused
from fedmed.identity.member import NAME, ROUNDING, MemberKeys, fingerprint, joined, member_name, pem, verify
from tests.identity.parties import keys

KEYS = keys(1)


@given(st.binary(max_size=300))
def test_a_signature_is_verified_with_the_public_key_alone(message):
    signature = KEYS.sign(message)
    assert len(signature) == 64
    assert verify(KEYS.signing_public, signature, message)
    assert not verify(KEYS.signing_public, signature, message + b"\0")
    assert not verify(keys(2).signing_public, signature, message)


@given(st.binary(max_size=40), st.binary(max_size=80))
def test_keys_and_signatures_of_other_sizes_verify_nothing(public, signature):
    assert not verify(public, signature, b"m")


def test_the_fingerprint_is_of_both_keys_as_written_down():
    spki, raw = KEYS.transport_public, KEYS.signing_public
    parts = (b"fedmed/member/1", spki, raw)
    assert KEYS.fingerprint == hashlib.sha256(b"".join(struct.pack(">I", len(p)) + p for p in parts)).digest()
    assert (
        len({KEYS.fingerprint, fingerprint(spki, keys(2).signing_public), fingerprint(keys(2).transport_public, raw)}) == 3
    )
    assert isinstance(serialization.load_der_public_key(spki), ec.EllipticCurvePublicKey)


@given(st.lists(st.binary(max_size=5), max_size=4), st.lists(st.binary(max_size=5), max_size=4))
def test_two_lists_of_parts_never_have_one_encoding(one, other):
    assert (joined(*one) == joined(*other)) == (one == other)


def test_the_same_entropy_gives_the_same_keys_and_none_gives_new_ones():
    assert keys(7).fingerprint == keys(7).fingerprint
    assert keys(7).transport_public != keys(8).transport_public
    assert len({MemberKeys.generate().fingerprint for _ in range(3)}) == 3
    with pytest.raises(ConfigError, match="31 bytes"):
        MemberKeys.generate(bytes(31))


def test_keys_from_entropy_stay_what_they_were():
    """A known answer: simulations of yesterday can be replayed."""
    assert keys(0).fingerprint.hex() == "734dfedb67733b25a19203f04bc836306352b3e6611302236a6d1170d289efa4"


def test_a_secret_for_a_use_outlives_a_restart_and_is_of_these_keys_and_this_use_alone(tmp_path):
    KEYS.save(tmp_path / "member.keys")
    secret = KEYS.secret_for(ROUNDING)
    assert MemberKeys.load(tmp_path / "member.keys").secret_for(ROUNDING) == secret
    assert len({secret, keys(2).secret_for(ROUNDING), KEYS.secret_for(b"other"), KEYS.secret_for(b"")}) == 4
    assert len(secret) == 32
    assert secret not in KEYS.transport_pem() + pem(KEYS.signing) + KEYS.signing.private_bytes_raw() + KEYS.signing_public


def test_keys_are_read_back_and_only_their_owner_may(tmp_path):
    path = tmp_path / "deep" / "member.keys"
    KEYS.save(path)
    assert MemberKeys.load(path).fingerprint == KEYS.fingerprint
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(KeyRefused, match="never written over"):
        keys(2).save(path)
    for mode in (0o604, 0o640, 0o602):
        path.chmod(mode)
        with pytest.raises(KeyRefused, match="chmod 600"):
            MemberKeys.load(path)


def test_what_holds_no_members_keys_is_refused(tmp_path):
    with pytest.raises(KeyRefused, match="no member's keys"):
        MemberKeys.load(tmp_path / "none")
    KEYS.save(tmp_path / "good")
    (tmp_path / "link").symlink_to(tmp_path / "good")
    with pytest.raises(KeyRefused):
        MemberKeys.load(tmp_path / "link")
    whole = (tmp_path / "good").read_bytes()
    p256 = pem(ec.generate_private_key(ec.SECP256R1()))
    head, end = b"fedmed-member-keys-1\n", b"-----END PRIVATE KEY-----\n"
    first, second = whole.removeprefix(head).split(end)[:2]
    for content in (
        b"",
        os.urandom(3000),
        whole.removeprefix(head),
        whole[:-40],
        head + p256 + second + end,
        head + second + end + first + end,
        head + first + end + first + end,
    ):
        path = tmp_path / "bad"
        path.write_bytes(content)
        path.chmod(0o600)
        with pytest.raises(KeyRefused, match="begins with"):
            MemberKeys.load(path)


def test_openssl_takes_the_transport_key_from_the_file(tmp_path):
    """One file serves TLS, too: what reads PEM takes the first block."""
    KEYS.save(tmp_path / "member.keys")
    done = subprocess.run(
        ["openssl", "pkey", "-in", tmp_path / "member.keys", "-pubout", "-outform", "DER"], capture_output=True, check=True
    )
    assert done.stdout == KEYS.transport_public
    assert serialization.load_pem_private_key(KEYS.transport_pem(), None)


def test_secret_keys_are_not_shown():
    assert repr(KEYS) == "MemberKeys()"


@given(st.text(min_size=1, max_size=80))
def test_every_site_has_a_name_that_a_member_may_have(site):
    assert NAME.fullmatch(member_name(site))
    assert member_name(member_name(site)) == member_name(site)


@pytest.mark.parametrize("site", ["Uniklinik Graz", "Zürich", "NORTH", "x" * 65, "north\udcff"])
def test_a_site_that_no_member_may_be_called_as_has_a_name_of_its_own(site):
    assert member_name("north-2") == "north-2"
    assert member_name(site).startswith("site-")
    assert member_name(site) != member_name(site + " ")
