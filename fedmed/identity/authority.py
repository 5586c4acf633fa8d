"""A certificate authority for simulations and tests, and the reading of certificates.

A certificate lets a member onto the transport. It never lets it into a roster: that takes a pin at each clinic
(`fedmed.identity.pins`), since whoever holds an authority's key could otherwise admit as many members as it likes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import ClassVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA384

from fedmed.errors import ProtocolRefused
from fedmed.identity import binding
from fedmed.identity.issuing import MAX_BYTES, Authority
from fedmed.identity.member import Identity, is_p384

KEY_FILE, CERTIFICATE_FILE = "authority.key", "authority.crt"
EXTENSIONS = {x509.BasicConstraints.oid, x509.KeyUsage.oid, x509.AuthorityKeyIdentifier.oid, binding.OID}
"""All that a member's certificate holds."""
_WHAT = "a certificate"


@dataclass(frozen=True)
class PublicMember(Identity):
    """A member as its certificate tells."""

    not_before: float
    not_after: float
    """Seconds since 1970 between which the certificate is valid."""


class DevelopmentAuthority(Authority):
    """An authority in memory or in one folder, its key beside it: for simulations and tests, not for a federation."""

    kind: ClassVar[str] = "fedmed development"
    key_file: ClassVar[str] = KEY_FILE
    certificate_file: ClassVar[str] = CERTIFICATE_FILE


@dataclass(frozen=True)
class Opened:
    """A certificate whose authority's signature was checked, its dates not yet."""

    certificate: x509.Certificate
    extensions: dict[x509.ObjectIdentifier, x509.Extension[x509.ExtensionType]]
    begins: float
    ends: float

    def check_dates(self, what: str, now_unix: float) -> None:
        """Raises ProtocolRefused where the certificate is not valid now."""
        if not self.begins <= now_unix <= self.ends:
            raise ProtocolRefused(_dated(what, self.begins, self.ends, now_unix))


def opened(der: bytes, ca_public: bytes) -> Opened:
    """A certificate that the authority with the public key `ca_public` (DER) signed, of no authority itself.

    Raises ProtocolRefused for one that is damaged, by another authority, or of an authority.
    """
    if len(der) > MAX_BYTES:
        raise ProtocolRefused(f"{_WHAT} of {len(der)} bytes; allowed are {MAX_BYTES}")
    with binding.parsing(_WHAT):
        certificate = x509.load_der_x509_certificate(der)
        _check_signature(certificate, ca_public, der)
        extensions = {each.oid: each for each in certificate.extensions}
        begins, ends = certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()
    constraints = extensions.get(x509.BasicConstraints.oid)
    if constraints is None or constraints.value != x509.BasicConstraints(ca=False, path_length=None):
        raise ProtocolRefused(f"{_WHAT} of an authority, where one of a member is needed")
    return Opened(certificate, extensions, begins, ends)


def read_certificate(der: bytes, ca_public: bytes, now_unix: float) -> PublicMember:
    """The member that a certificate names, if the authority with the public key `ca_public` (DER) signed it.

    Raises ProtocolRefused for a certificate that is damaged, by another authority, out of date, of an authority, or whose
    Ed25519 key was not bound by its owner to this P-384 key and name.
    """
    found = opened(der, ca_public)
    if set(found.extensions) != EXTENSIONS:
        raise ProtocolRefused(f"{_WHAT} with other extensions than a member's has, or without the one with its signing key")
    with binding.parsing(_WHAT):
        subject, key = found.certificate.subject, found.certificate.public_key()
    member = binding.bound(_WHAT, subject, key, found.extensions[binding.OID])
    found.check_dates(f"{_WHAT} of {member.name!r}", now_unix)
    return PublicMember(member.name, member.transport_public, member.signing_public, found.begins, found.ends)


def _check_signature(certificate: x509.Certificate, ca_public: bytes, der: bytes) -> None:
    key = serialization.load_der_public_key(ca_public)
    if not isinstance(key, ec.EllipticCurvePublicKey) or not is_p384(key):
        raise ProtocolRefused("the authority's key is not of P-384, the only kind allowed")
    of_this_kind = certificate.signature_algorithm_oid == x509.SignatureAlgorithmOID.ECDSA_WITH_SHA384
    if not of_this_kind or not binding.ends_in(der, certificate.signature):
        raise ProtocolRefused(f"{_WHAT} that is not signed with ECDSA and SHA-384, the only kind allowed")
    try:
        key.verify(certificate.signature, certificate.tbs_certificate_bytes, ec.ECDSA(SHA384()))
    except InvalidSignature as error:
        raise ProtocolRefused(
            f"{_WHAT} that this authority did not sign: it was changed, or is of another authority"
        ) from error


def _dated(what: str, begins: float, ends: float, now: float) -> str:
    if now > ends:
        return (
            f"{what} that was valid until {day(ends)}, and it is {day(now)}; where this machine's clock is right, have the "
            "authority issue a new one for the same keys: the fingerprint, hence every pin, stays"
        )
    return f"{what} that is valid from {day(begins)}, and it is {day(now)}: set this machine's clock right"


def day(unix: float) -> str:
    """A moment as people read it, in UTC."""
    return datetime.fromtimestamp(unix, timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
