"""Somebody hands in requests and certificates of no honest member, to be taken for one or to stop the reader."""

from __future__ import annotations

import random
from datetime import datetime, timedelta, timezone

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import Encoding

from fedmed.errors import ProtocolRefused
from fedmed.identity import binding
from fedmed.identity.authority import DevelopmentAuthority, read_certificate
from fedmed.identity.issuing import SKEW_S
from fedmed.identity.pins import Pins
from fedmed.identity.requests import MAX_BYTES, certificate_request, read_request
from tests.identity.parties import NOW, authority, keys

VICTIM, MALLORY = keys(1), keys(2)
MALLORY_PUBLIC = MALLORY.transport.public_key()
AUTHORITY = authority()
REQUEST = certificate_request(VICTIM, "north")
CERTIFICATE = AUTHORITY.issue(read_request(REQUEST), 90)


def request(*extensions, subject="north", signer=MALLORY.transport, digest=None) -> bytes:
    """A request as an attacker builds it, signed with its own key."""
    names = [(x509.NameOID.COMMON_NAME, subject)] if isinstance(subject, str) else subject
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([x509.NameAttribute(*each) for each in names]))
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(signer, digest or SHA384()).public_bytes(Encoding.DER)


def certificate(*extensions, signer=AUTHORITY._key, public=MALLORY_PUBLIC, digest=None) -> bytes:
    """A certificate with what an attacker would like in it, signed with the authority's key or another one."""
    now = datetime.fromtimestamp(int(NOW), timezone.utc)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "north")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).serial_number(7).public_key(public)
    builder = builder.not_valid_before(now).not_valid_after(now + timedelta(days=9))
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(signer, digest or SHA384()).public_bytes(Encoding.DER)


def refused(der: bytes, said: str | None = None) -> None:
    with pytest.raises(ProtocolRefused, match=said):
        read_request(der)


def refused_certificate(der: bytes, said: str | None = None, ca: DevelopmentAuthority = AUTHORITY, now: float = NOW) -> None:
    with pytest.raises(ProtocolRefused, match=said):
        read_certificate(der, ca.public, now)


MEMBERS = [each.value for each in x509.load_der_x509_certificate(CERTIFICATE).extensions][:3]


def test_the_tools_of_the_attacker_build_what_is_taken_where_nothing_is_wrong():
    assert read_request(request(binding.bind(MALLORY, "north"))).fingerprint == MALLORY.fingerprint
    made = certificate(*MEMBERS, binding.bind(MALLORY, "north"))
    assert read_certificate(made, AUTHORITY.public, NOW).fingerprint == MALLORY.fingerprint


def test_the_signing_key_of_somebody_else():
    """Mallory certifies the victim's Ed25519 key as its own, so that the victim's signatures count for it."""
    stolen = x509.UnrecognizedExtension(binding.OID, read_request(REQUEST).binding)
    refused(request(stolen), "not bound to this transport key")
    refused_certificate(certificate(*MEMBERS, stolen), "not bound to this transport key")


def test_the_transport_key_of_somebody_else():
    """Mallory puts its own Ed25519 key beside the victim's P-384 key: it cannot sign the request with that."""
    refused(request(binding.bind(MALLORY, "north")).replace(MALLORY.transport_public, VICTIM.transport_public), "own key")
    mixed = certificate(*MEMBERS, binding.bind(MALLORY, "north"), public=VICTIM.transport.public_key())
    refused_certificate(mixed, "not bound to this transport key")


def test_a_signing_key_swapped_inside_a_request_and_a_certificate():
    for der, check in ((REQUEST, refused), (CERTIFICATE, refused_certificate)):
        assert VICTIM.signing_public in der
        check(der.replace(VICTIM.signing_public, MALLORY.signing_public))
        theirs = binding.bind(MALLORY, "north").value
        check(der.replace(read_request(REQUEST).binding, theirs))


def test_a_request_replayed_under_another_name():
    old = read_request(REQUEST)
    refused(REQUEST.replace(b"north", b"south"), "not signed by its own key")
    replayed = x509.UnrecognizedExtension(binding.OID, old.binding)
    refused(request(replayed, subject="south", signer=VICTIM.transport), "not bound to this transport key and name")


@pytest.mark.parametrize("name", ["North", "n", "../../etc", "north\n", "a" * 64, "日本"])
def test_names(name):
    der = request(binding.bind(MALLORY, name), subject=name)
    if name in ("n", "a" * 64):
        assert read_request(der).name == name
    else:
        refused(der, "cannot be called")


def test_a_subject_of_other_parts():
    common, country = x509.NameOID.COMMON_NAME, x509.NameOID.COUNTRY_NAME
    for subject in ([], [(common, "north"), (common, "south")], [(country, "SE")], [(country, "SE"), (common, "north")]):
        refused(request(binding.bind(MALLORY, "north"), subject=subject), "common name alone")


def test_extensions_that_are_not_ours():
    ours = binding.bind(MALLORY, "north")
    authority_please = x509.BasicConstraints(ca=True, path_length=None)
    for extensions in ((), (authority_please,), (ours, authority_please), (authority_please, ours)):
        refused(request(*extensions), "other extensions")
    for extensions in ((), (ours,), (*MEMBERS,), (*MEMBERS[:2], ours), (authority_please, *MEMBERS[1:], ours)):
        refused_certificate(certificate(*extensions), "authority|other extensions")
    refused_certificate(certificate(*MEMBERS, ours, x509.SubjectAlternativeName([x509.DNSName("a")])), "other extensions")


@pytest.mark.parametrize(
    "change", [lambda v: v[:-1], lambda v: v + b"\0", lambda v: b"", lambda v: v[:2] + b"\2" + v[3:], lambda v: v[3:]]
)
def test_an_extension_of_another_size_or_version(change):
    odd = x509.UnrecognizedExtension(binding.OID, change(binding.bind(MALLORY, "north").value))
    refused(request(odd), "version 1")
    refused_certificate(certificate(*MEMBERS, odd), "version 1")


def test_other_kinds_of_key():
    p256 = ec.generate_private_key(ec.SECP256R1())
    ours = binding.bind(MALLORY, "north")
    refused(request(ours, signer=p256), "P-384")
    for key in (p256, rsa.generate_private_key(65537, 2048), Ed25519PrivateKey.generate()):
        refused_certificate(certificate(*MEMBERS, ours, public=key.public_key()), "P-384")
    refused(request(ours, digest=SHA256()), "SHA-384")
    refused_certificate(certificate(*MEMBERS, ours, digest=SHA256()), "SHA-384")


def test_another_authority_of_the_same_name():
    other = authority(2)
    refused_certificate(other.issue(read_request(REQUEST), 90), "did not sign")
    refused_certificate(CERTIFICATE, "did not sign", ca=other)


def test_a_member_plays_the_authority():
    forged = certificate(*MEMBERS, binding.bind(MALLORY, "north"), signer=VICTIM.transport)
    refused_certificate(forged, "did not sign")
    refused_certificate(AUTHORITY.certificate, "of an authority")


def test_out_of_date():
    ends = NOW + 90 * 86400
    refused_certificate(CERTIFICATE, "valid until .* issue a new one", now=ends + 1)
    refused_certificate(CERTIFICATE, "clock right", now=NOW - SKEW_S - 1)


def test_a_certificate_admits_nobody(tmp_path):
    """The center holds the authority and certifies a member of its own making: no clinic has pinned it."""
    sybil = AUTHORITY.issue(read_request(certificate_request(MALLORY, "south")), 90)
    member = read_certificate(sybil, AUTHORITY.public, NOW)
    pins = Pins(tmp_path / "pins.json")
    pins.add(read_certificate(CERTIFICATE, AUTHORITY.public, NOW))
    assert VICTIM.fingerprint in pins
    assert member.fingerprint not in pins


def turned(der: bytes, place: int, bit: int) -> bytes:
    changed = bytearray(der)
    changed[place] ^= 1 << bit
    return bytes(changed)


@pytest.mark.parametrize(("der", "check"), [(REQUEST, refused), (CERTIFICATE, refused_certificate)])
def test_cut_anywhere_and_a_bit_of_every_byte_turned(der, check):
    drawn = random.Random(5)  # each byte counts, and which of its bits is drawn; all of them are turned at night
    for length in range(len(der)):
        check(der[:length])
        check(turned(der, length, drawn.randrange(8)))
    check(der + b"\0")


@pytest.mark.nightly
@pytest.mark.parametrize(("der", "check"), [(REQUEST, refused), (CERTIFICATE, refused_certificate)])
def test_every_bit_turned(der, check):
    for place in range(len(der)):
        for bit in range(8):
            check(turned(der, place, bit))


@pytest.mark.parametrize(("der", "check"), [(REQUEST, refused), (CERTIFICATE, refused_certificate)])
def test_random_bytes(der, check):
    drawn = random.Random(4)
    for number in range(10_000):
        noise = drawn.randbytes(drawn.randrange(len(der)))
        begin = drawn.randrange(len(der))
        # Every second time noise inside what is otherwise right, so that the parser gets further than its first byte.
        check(noise if number % 2 else der[:begin] + noise + der[begin + len(noise) + 1 :])


def test_too_large():
    refused(REQUEST + bytes(MAX_BYTES), "allowed are 4096")
    refused_certificate(CERTIFICATE + bytes(MAX_BYTES), "allowed are 4096")
