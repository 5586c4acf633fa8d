"""A file's key, wrapped for whoever may open the file: by a passphrase, or for the holder of a key that is kept elsewhere.

    passphrase   AES-256-GCM under scrypt (RFC 7914; N = 2^17, r = 8, p = 1: 128 MiB and some tenths of a second a guess)
    recipient    AES-256-GCM under HKDF-SHA256 of X25519 with a fresh key, both public keys in `info` (as RFC 9180's DHKEM
                 binds them): who makes the backup cannot open it afterwards

A recipient is derived from a key file of `fedmed data key`, which can lie in a safe while backups are made every night.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Callable
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from fedmed.errors import ConfigError, StoreError
from fedmed.privacy.keys import SiteKey, derived

BYTES = 32
LEAST_PASSPHRASE = 12
"""Letters; scrypt slows a guess down, and makes no good passphrase of a bad one."""
PASSPHRASE, RECIPIENT = "passphrase", "recipient"
_PREFIX = "fedmed-backup-1:"
_LOG2_N, _R, _P, _SALT = 17, 8, 1, 16
_NONCE = bytes(12)  # each wrapping key is used once
_Random = Callable[[int], bytes]


class WrongKey(StoreError):
    """The passphrase or the key does not open the file."""


def recipient(key: SiteKey) -> str:
    """The public half of a key, in one line, for whoever makes backups."""
    return f"{_PREFIX}{base64.b64encode(_identity(key).public_key().public_bytes_raw()).decode()}"


def for_passphrase(secret: bytes, passphrase: str, random_bytes: _Random = secrets.token_bytes) -> dict[str, Any]:
    """The header (JSON) that opens with the passphrase. Raises ConfigError for a short one."""
    if len(passphrase) < LEAST_PASSPHRASE:
        raise ConfigError(f"a passphrase of {len(passphrase)} letters; {LEAST_PASSPHRASE} or more are needed")
    salt = random_bytes(_SALT)
    wrapped = AESGCM(_stretched(passphrase, salt)).encrypt(_NONCE, secret, PASSPHRASE.encode())
    return {"by": PASSPHRASE, "salt": _text(salt), "wrapped": _text(wrapped)}


def for_recipient(secret: bytes, to: str) -> dict[str, Any]:
    """The header (JSON) that opens with the key behind `to`. Raises ConfigError for what is no recipient."""
    fresh = X25519PrivateKey.generate()
    ours = fresh.public_key().public_bytes_raw()
    try:
        theirs = _bytes(to.removeprefix(_PREFIX))
        agreed = fresh.exchange(X25519PublicKey.from_public_bytes(theirs))
    except ValueError as error:
        raise ConfigError(
            f"{to[:80]!r} is no recipient; one begins with {_PREFIX} (fedmed center recipient KEYFILE)"
        ) from error
    wrapped = AESGCM(_shared(agreed, ours, theirs)).encrypt(_NONCE, secret, RECIPIENT.encode())
    return {"by": RECIPIENT, "to": to, "fresh": _text(ours), "wrapped": _text(wrapped)}


def opened(header: dict[str, Any], passphrase: str | None, key: SiteKey | None) -> bytes:
    """The file's key. Raises ConfigError where the other of the two is needed, WrongKey, StoreError for a damaged header."""
    try:
        by, wrapped = header["by"], _bytes(header["wrapped"])
        if by == PASSPHRASE:
            if passphrase is None:
                raise ConfigError("this file opens with a passphrase; give it, and no key")
            return AESGCM(_stretched(passphrase, _bytes(header["salt"]))).decrypt(_NONCE, wrapped, by.encode())
        if by != RECIPIENT:
            raise ValueError("another way")
        if key is None:
            raise ConfigError(f"this file opens with the key of {header['to']}; name the key file with --key")
        identity, fresh = _identity(key), _bytes(header["fresh"])
        shared = identity.exchange(X25519PublicKey.from_public_bytes(fresh))
        own = identity.public_key().public_bytes_raw()
        return AESGCM(_shared(shared, fresh, own)).decrypt(_NONCE, wrapped, by.encode())
    except InvalidTag as error:
        raise WrongKey(f"the {'passphrase' if by == PASSPHRASE else 'key'} does not open this file; try another") from error
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError("the file's header is damaged; take another copy of the file") from error


def _identity(key: SiteKey) -> X25519PrivateKey:
    return X25519PrivateKey.from_private_bytes(key.derive("recipient of backups"))


def _stretched(passphrase: str, salt: bytes) -> bytes:
    return Scrypt(salt, BYTES, 1 << _LOG2_N, _R, _P).derive(passphrase.encode())


def _shared(agreed: bytes, fresh: bytes, public: bytes) -> bytes:
    return derived(agreed + fresh + public, "wrapped key of a backup")


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("no base64") from error
