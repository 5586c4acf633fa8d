"""The authority of one clinic's devices: a root of its own, below no other and above no other.

Whom it certifies may talk to this clinic's hub. The center trusts another authority, and so does every other clinic, so a
device's certificate opens nothing but its own clinic. The hub has a fixed name instead of its address: the authority signs
for one hub alone, so that a device finds it under any address, and a hub that moves needs no new certificate.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from typing import ClassVar

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from fedmed.errors import ConfigError, ProtocolRefused
from fedmed.identity.authority import opened
from fedmed.identity.binding import parsing
from fedmed.identity.issuing import Authority
from fedmed.identity.member import check_name
from fedmed.identity.requests import Request

HUB = "hub.fedmed.invalid"
"""What the hub's certificate names; no device is called so (RFC 6761: no host is, either)."""


class DeviceAuthority(Authority):
    """A clinic's own authority for its devices, in the clinic's folder, below `devices`."""

    kind: ClassVar[str] = "fedmed devices"
    key_file: ClassVar[str] = "devices-ca.key"
    certificate_file: ClassVar[str] = "devices-ca.crt"

    def issue(self, request: Request, days: int, random_bytes: Callable[[int], bytes] = secrets.token_bytes) -> bytes:
        """As `Authority.issue`. Raises ConfigError for the hub's own name."""
        check_device_name(request.name)
        return super().issue(request, days, random_bytes)

    def hub(self, public: bytes, days: int) -> bytes:
        """A certificate in DER for the hub's ports with the P-384 key `public` (DER)."""
        return self.server((HUB,), public, days)


def check_device_name(name: str) -> None:
    """Raises ConfigError for a name that no device may have."""
    check_name(name, "a device")
    if name == HUB:
        raise ConfigError(f"a device cannot be called {HUB!r}: that is the hub's own name; take another")


def fingerprint_of(authority: bytes) -> bytes:
    """SHA-256 of the authority's certificate (DER), 32 bytes."""
    return hashlib.sha256(authority).digest()


def check_hub(der: bytes, ca_public: bytes, now_unix: float) -> None:
    """Raises ProtocolRefused where `der` is no certificate, valid now, of the hub of this authority (public key, DER)."""
    found = opened(der, ca_public)
    with parsing("a hub's certificate"):
        names = found.extensions.get(x509.SubjectAlternativeName.oid)
        use = found.extensions.get(x509.ExtendedKeyUsage.oid)
    is_hub = names is not None and names.value == x509.SubjectAlternativeName([x509.DNSName(HUB)])
    if not is_hub or use is None or use.value != x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]):
        raise ProtocolRefused("a certificate of this clinic's authority that is not its hub's: a device answered for it")
    found.check_dates("the hub's certificate", now_unix)
