"""A clinic's one secret, the file that holds it, and the keys that are derived from it."""

from __future__ import annotations

import base64
import binascii
import os
import secrets
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fedmed.errors import StoreError

BYTES = 32
_PREFIX = "fedmed-site-key-1:"
_MAX_FILE = 4096

# What each derived key is for; another label is another key, and none tells anything of another (RFC 5869, `info`).
ORIGINALS, DEIDENTIFIED = "store of originals", "store of de-identified copies"
UIDS, IDENTIFIERS, DATES = "uid pseudonyms", "identifier pseudonyms", "date shifts"


class KeyRefused(StoreError):
    """The key file is not there, not whole, or can be read by others."""


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
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(f"{_PREFIX}{base64.b64encode(key.secret).decode()}\n".encode())
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError as error:
        raise KeyRefused(f"{path}: there is a file already, and a key is never written over; name another") from error
    except OSError as error:
        raise KeyRefused(f"{path}: the key cannot be written ({error.strerror})") from error
    return key


def read(path: Path) -> SiteKey:
    """The key in a file.

    Raises KeyRefused for a file that is not there, is a link or no file, that others than its owner can read or write, or
    that does not hold a key of fedmed.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise KeyRefused(
            f"{path}: no key can be read there ({error.strerror}); `fedmed data key {path}` makes one"
        ) from error
    try:
        # Of the opened file, not of the path: that may be another file by now.
        _refuse_open_file(path, os.fstat(handle).st_mode)
        text = os.read(handle, _MAX_FILE).decode("ascii", "replace").strip()
    finally:
        os.close(handle)
    try:
        secret = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except (ValueError, binascii.Error):
        secret = b""
    if not text.startswith(_PREFIX) or len(secret) != BYTES:
        raise KeyRefused(f"{path}: holds no key of fedmed; one begins with {_PREFIX!r} and has {BYTES} bytes in base64")
    return SiteKey(secret)


def _refuse_open_file(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise KeyRefused(f"{path}: is no file")
    if mode & 0o077:
        raise KeyRefused(f"{path}: others can read or change it (mode {mode & 0o777:03o}); say `chmod 600 {path}`")
