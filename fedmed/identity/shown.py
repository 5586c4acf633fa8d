"""What a certificate says of itself, believed by nobody: for a person who has to find out who made it."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509

from fedmed.errors import ProtocolRefused
from fedmed.identity import binding

MAX_BYTES = 64 * 1024


@dataclass(frozen=True)
class Shown:
    """Names as RFC 4514 writes them, times in seconds since 1970."""

    subject: str
    issuer: str
    begins: float
    ends: float


def shown(der: bytes) -> Shown:
    """Of a certificate in DER; no signature is checked. Raises ProtocolRefused for bytes that are none."""
    if len(der) > MAX_BYTES:
        raise ProtocolRefused(f"a certificate of {len(der)} bytes; allowed are {MAX_BYTES}")
    with binding.parsing("a certificate"):
        read = x509.load_der_x509_certificate(der)
        begins, ends = read.not_valid_before_utc.timestamp(), read.not_valid_after_utc.timestamp()
        return Shown(read.subject.rfc4514_string(), read.issuer.rfc4514_string(), begins, ends)
