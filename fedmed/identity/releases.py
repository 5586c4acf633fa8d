"""The Ed25519 key that signs what is installed: of whoever makes releases, known to clinics from elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedmed.identity import files
from fedmed.identity.files import KeyRefused
from fedmed.identity.member import pem

_MAX_FILE = 4096


@dataclass(frozen=True)
class ReleaseKey:
    """The secret key."""

    secret: Ed25519PrivateKey = field(repr=False)

    @classmethod
    def generate(cls) -> ReleaseKey:
        """A new key."""
        return cls(Ed25519PrivateKey.generate())

    @property
    def public(self) -> bytes:
        """32 bytes."""
        return self.secret.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """64 bytes."""
        return self.secret.sign(message)

    def save(self, path: Path) -> None:
        """Into a new file that only its owner can read. Raises KeyRefused."""
        files.write_new(path, pem(self.secret))

    @classmethod
    def load(cls, path: Path) -> ReleaseKey:
        """The key in a file. Raises KeyRefused for one that is not there, that others can read, or that holds none."""
        try:
            secret = serialization.load_pem_private_key(files.read(path, _MAX_FILE), None)
        except OSError as error:
            raise KeyRefused(f"{path}: no key of a release can be read there ({error.strerror})") from error
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise KeyRefused(f"{path}: holds no secret key in PEM; fedmed wheelhouse key FILE makes one") from error
        if not isinstance(secret, Ed25519PrivateKey):
            raise KeyRefused(f"{path}: holds a key of another kind; releases are signed with Ed25519")
        return cls(secret)
