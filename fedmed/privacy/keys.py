"""A clinic's one secret, the file that holds it, and the keys that are derived from it."""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fedmed.identity import files
from fedmed.identity.files import KeyRefused as KeyRefused

BYTES = 32
_PREFIX = "fedmed-site-key-1:"
_MAX_FILE = 4096

# What each derived key is for; another label is another key, and none tells anything of another (RFC 5869, `info`).
ORIGINALS, DEIDENTIFIED = "store of originals", "store of de-identified copies"
UIDS, IDENTIFIERS, DATES = "uid pseudonyms", "identifier pseudonyms", "date shifts"


@dataclass(frozen=True)
class SiteKey:
    """The secret of one clinic, 32 random bytes; whoever has it can link pseudonyms to patients."""

    secret: bytes = field(repr=False)

    def derive(self, label: str) -> bytes:
        """The key for one use, 32 bytes: HKDF-SHA256 (RFC 5869) with the use in `info`."""
        return derived(self.secret, label)


def derived(secret: bytes, label: str, salt: bytes | None = None, size: int = BYTES) -> bytes:
    """HKDF-SHA256 of a secret for the use that `label` names."""
    return HKDF(SHA256(), size, salt, b"fedmed/1/" + label.encode()).derive(secret)


def create(path: Path, random_bytes: Callable[[int], bytes] = secrets.token_bytes) -> SiteKey:
    """A new key in a new file that only its owner can read. Raises KeyRefused where the file is there already."""
    key = SiteKey(random_bytes(BYTES))
    files.write_new(path, f"{_PREFIX}{base64.b64encode(key.secret).decode()}\n".encode())
    return key


def read_or_create(path: Path) -> SiteKey:
    """The key in a file, made where there is none; two processes that make it at once have the same. Raises KeyRefused."""
    if not path.exists():
        with suppress(KeyRefused):  # another process was first, or reading says why
            return create(path)
    return read(path)


def read(path: Path) -> SiteKey:
    """The key in a file.

    Raises KeyRefused for a file that is not there, is a link or no file, that others than its owner can read or write, or
    that does not hold a key of fedmed.
    """
    try:
        content = files.read(path, _MAX_FILE)
    except OSError as error:
        raise KeyRefused(
            f"{path}: no key can be read there ({error.strerror}); put it back, or, where there never was one,"
            f" `fedmed data key {path}` makes it"
        ) from error
    return parsed(content, str(path))


def parsed(content: bytes, name: str) -> SiteKey:
    """The key that a file's content holds. Raises KeyRefused where it holds none."""
    text = content.decode("ascii", "replace").strip()
    try:
        secret = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except (ValueError, binascii.Error):
        secret = b""
    if not text.startswith(_PREFIX) or len(secret) != BYTES:
        raise KeyRefused(f"{name}: holds no key of fedmed; one begins with {_PREFIX!r} and has {BYTES} bytes in base64")
    return SiteKey(secret)
