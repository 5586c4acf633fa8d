"""A member's two keys: P-384 for the transport (TLS and Flower take it), Ed25519 for what the protocol signs.

Both are one identity: the fingerprint that other clinics pin is a digest of the two public keys together. It is of keys and
not of a certificate, so that renewing a certificate breaks no pin.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fedmed.errors import ConfigError
from fedmed.identity import files
from fedmed.identity.files import KeyRefused

FINGERPRINT, SIGNING_KEY, SIGNATURE = 32, 32, 64
"""Bytes of each."""
NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
"""What a member may be called; as sites are called in a scenario."""
LEAST_ENTROPY = 32
ROUNDING = b"rounding"
"""Use of a secret that a member's seeds of rounding are derived from (`fedmed.privacy.secagg.schedule.rounding_seed`)."""
_CURVE = ec.SECP384R1()
_ORDER = int(
    "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973", 16
)  # of the group of P-384 (FIPS 186-5, SP 800-186)
_FIRST_LINE = b"fedmed-member-keys-1\n"
_END = b"-----END PRIVATE KEY-----\n"
_MAX_FILE = 4096


def joined(*parts: bytes) -> bytes:
    """The parts, each after its length (4 bytes, big-endian): no two lists of parts have the same encoding."""
    return b"".join(struct.pack(">I", len(part)) + part for part in parts)


def member_name(site: str) -> str:
    """What a site is certified as: its own name, or a digest of it where no member may be called so."""
    if NAME.fullmatch(site):
        return site
    return f"site-{hashlib.sha256(site.encode('utf-8', 'backslashreplace')).hexdigest()[:16]}"


def check_name(name: str, what: str = "a member") -> None:
    """Raises ConfigError for a name that no member may have, nor `what` else is called by the same rule."""
    if not NAME.fullmatch(name):
        raise ConfigError(
            f"{what} cannot be called {name!r}; allowed are 1 to 64 of a-z, 0-9, '_', '.', '-', a letter or digit first"
        )


def fingerprint(transport_public: bytes, signing_public: bytes) -> bytes:
    """SHA-256 of both public keys, P-384 as SubjectPublicKeyInfo (DER) and Ed25519 as its 32 bytes."""
    return hashlib.sha256(joined(b"fedmed/member/1", transport_public, signing_public)).digest()


def verify(public: bytes, signature: bytes, message: bytes) -> bool:
    """Whether the Ed25519 signature (64 bytes) is that of the key (32 bytes) over the message; False for other sizes."""
    if len(public) != SIGNING_KEY or len(signature) != SIGNATURE:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


Check = tuple[bytes, bytes, bytes]
"""A signing key, a signature and the message that it is over."""
CheckAll = Callable[[Sequence[Check]], list[bool]]
"""Says of each check what `verify` says."""


def verified(checks: Sequence[Check]) -> list[bool]:
    """What `verify` says of each."""
    return [verify(*each) for each in checks]


@dataclass(frozen=True)
class Identity:
    """What others know of a member: a name and two public keys."""

    name: str
    transport_public: bytes = field(repr=False)
    """P-384, SubjectPublicKeyInfo in DER (120 bytes)."""
    signing_public: bytes = field(repr=False)
    """Ed25519, 32 bytes."""

    @property
    def fingerprint(self) -> bytes:
        """32 bytes that stand for both keys."""
        return fingerprint(self.transport_public, self.signing_public)


@dataclass(frozen=True)
class MemberKeys:
    """The two secret keys of one member."""

    transport: ec.EllipticCurvePrivateKey = field(repr=False)
    signing: Ed25519PrivateKey = field(repr=False)

    @classmethod
    def generate(
        cls, entropy: bytes | None = None, random_bytes: Callable[[int], bytes] = secrets.token_bytes
    ) -> MemberKeys:
        """New keys; the same for the same `entropy` (32 bytes or more, which a simulation draws from its seed).

        Raises ConfigError for less entropy.
        """
        if entropy is not None and len(entropy) < LEAST_ENTROPY:
            raise ConfigError(f"keys from {len(entropy)} bytes of entropy; {LEAST_ENTROPY} or more are needed")
        secret = random_bytes(LEAST_ENTROPY) if entropy is None else entropy
        return cls(_p384(secret), Ed25519PrivateKey.from_private_bytes(_derived(secret, b"Ed25519", 32)))

    @property
    def transport_public(self) -> bytes:
        """P-384, SubjectPublicKeyInfo in DER."""
        return public_der(self.transport)

    @property
    def signing_public(self) -> bytes:
        """Ed25519, 32 bytes."""
        return self.signing.public_key().public_bytes_raw()

    @property
    def fingerprint(self) -> bytes:
        """32 bytes that stand for both keys."""
        return fingerprint(self.transport_public, self.signing_public)

    def sign(self, message: bytes) -> bytes:
        """Ed25519 signature (RFC 8032), 64 bytes; the same for the same message."""
        return self.signing.sign(message)

    def secret_for(self, use: bytes) -> bytes:
        """32 bytes for one use, the same each time (HKDF-SHA256, RFC 5869); they tell nothing of keys or of other uses."""
        return _derived(self.signing.private_bytes_raw(), b"use " + use, 32)

    def transport_pem(self) -> bytes:
        """The P-384 secret key as PKCS#8 in PEM, for TLS and for Flower's own authentication."""
        return pem(self.transport)

    def save(self, path: Path) -> None:
        """Write both keys into a new file that only its owner can read; one line and two PEM blocks, P-384 first.

        Raises KeyRefused where a file is there already or none can be written.
        """
        files.write_new(path, _FIRST_LINE + pem(self.transport) + pem(self.signing))

    @classmethod
    def load(cls, path: Path) -> MemberKeys:
        """The keys in a file.

        Raises KeyRefused for a file that is not there, that others can read or change, or that holds anything else.
        """
        try:
            content = files.read(path, _MAX_FILE)
        except OSError as error:
            raise KeyRefused(f"{path}: no member's keys can be read there ({error.strerror})") from error
        if (keys := _parsed(content)) is None:
            raise KeyRefused(f"{path}: holds no member's keys; such a file begins with {_FIRST_LINE.decode().strip()!r}")
        return keys


def _parsed(content: bytes) -> MemberKeys | None:
    first, mark, second = content.removeprefix(_FIRST_LINE).partition(_END)
    try:
        transport = serialization.load_pem_private_key(first + mark, None)
        signing = serialization.load_pem_private_key(second, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
    if not isinstance(transport, ec.EllipticCurvePrivateKey) or not isinstance(signing, Ed25519PrivateKey):
        return None
    return MemberKeys(transport, signing) if is_p384(transport) and content.startswith(_FIRST_LINE) else None


def is_p384(key: object) -> bool:
    """Whether this is a P-384 key, secret or public."""
    return isinstance(key, (ec.EllipticCurvePrivateKey, ec.EllipticCurvePublicKey)) and isinstance(key.curve, ec.SECP384R1)


def public_der(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The public half as SubjectPublicKeyInfo in DER."""
    return key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def pem(key: ec.EllipticCurvePrivateKey | Ed25519PrivateKey) -> bytes:
    """A secret key as PKCS#8 in PEM, not encrypted."""
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _derived(secret: bytes, label: bytes, size: int) -> bytes:
    return HKDF(SHA256(), size, None, b"fedmed/member keys/1 " + label).derive(secret)


def _p384(secret: bytes) -> ec.EllipticCurvePrivateKey:
    # 64 bits more than the order has, so that the remainder is as good as uniform (FIPS 186-5, A.2.1).
    number = int.from_bytes(_derived(secret, b"P-384", 56), "big")
    return ec.derive_private_key(number % (_ORDER - 1) + 1, _CURVE)
