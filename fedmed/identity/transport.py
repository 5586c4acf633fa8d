"""The authority of one federation's transport: certificates for the center's port, for members, and tickets to enrol with.

A ticket is a certificate that lets its holder onto the enrolment path and nowhere else. It is told from a member's by an
extension of its own and by what it lacks, the binding of a signing key, so that `read_certificate` refuses it. The extension
holds a DER OCTET STRING of 17 bytes: version 1 | serial of the invitation 16. Its identifier is the UUID
12d6ab34-61db-4235-a0b4-bf8f282f0cdf, in seven parts as in `fedmed.identity.binding`.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from fedmed.errors import ProtocolRefused
from fedmed.identity import binding
from fedmed.identity.authority import day, opened
from fedmed.identity.issuing import Authority, p384_public
from fedmed.identity.member import NAME, is_p384

OID = x509.ObjectIdentifier("1.2.840.113556.1.8000.2554.4822.43828.25051.16949.41140.12554024.3083487")
SERIAL = 16
"""Bytes that name an invitation."""
_HEADER = bytes((0x04, 1 + SERIAL, 1))  # OCTET STRING, the first byte of which is the version
_EXTENSIONS = {
    x509.BasicConstraints.oid,
    x509.KeyUsage.oid,
    x509.AuthorityKeyIdentifier.oid,
    x509.ExtendedKeyUsage.oid,
    OID,
}
_WHAT = "a ticket"


class TransportAuthority(Authority):
    """A federation's own authority, in the center's folder. Whom it certifies may connect, not encrypt with others."""

    kind: ClassVar[str] = "fedmed transport"
    key_file: ClassVar[str] = "transport-ca.key"
    certificate_file: ClassVar[str] = "transport-ca.crt"

    def ticket(
        self,
        name: str,
        serial: bytes,
        public: bytes,
        days: int,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> bytes:
        """A certificate in DER that lets the holder of the P-384 key `public` (DER) enrol as `name`, and do nothing else."""
        builder = self._leaf(name, p384_public(public), days, random_bytes)
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
        mark = x509.UnrecognizedExtension(OID, _HEADER + serial)
        return self._signed(builder.add_extension(usage, critical=False).add_extension(mark, critical=False))


@dataclass(frozen=True)
class Ticket:
    """What a ticket says."""

    name: str
    serial: bytes
    """The invitation's 16 bytes."""
    transport_public: bytes
    """P-384, SubjectPublicKeyInfo in DER."""
    expires: float
    """Seconds since 1970."""


def read_ticket(der: bytes, ca_public: bytes, now_unix: float) -> Ticket:
    """The ticket in `der`, if the authority with the public key `ca_public` (DER) signed it.

    Raises ProtocolRefused for any other certificate, a member's included, and for a ticket that is out of date.
    """
    found = opened(der, ca_public)
    if set(found.extensions) != _EXTENSIONS:
        raise ProtocolRefused(f"{_WHAT} is needed here, the certificate out of a join file, and this certificate is none")
    mark = found.extensions[OID].value
    value = mark.value if isinstance(mark, x509.UnrecognizedExtension) else b""
    with binding.parsing(_WHAT):
        subject, key = found.certificate.subject, found.certificate.public_key()
    name = "".join(str(part.value) for part in subject)
    if len(value) != len(_HEADER) + SERIAL or not value.startswith(_HEADER) or not NAME.fullmatch(name):
        raise ProtocolRefused(f"{_WHAT} of another version than 1; ask the center for a new join file")
    if not isinstance(key, ec.EllipticCurvePublicKey) or not is_p384(key):
        raise ProtocolRefused(f"{_WHAT} whose key is not of P-384, the only kind allowed")
    if not found.begins <= now_unix <= found.ends:
        span = f"valid {day(found.begins)} to {day(found.ends)}, and here it is {day(now_unix)}"
        todo = "set this machine's clock right; where it is right, ask the center for a new join file"
        raise ProtocolRefused(f"{_WHAT} of {name!r} that is not valid now ({span}): {todo}")
    public = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return Ticket(name, value[len(_HEADER) :], public, found.ends)
