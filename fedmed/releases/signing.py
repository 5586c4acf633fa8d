"""Ed25519 keys of ours as TUF knows keys and signers; the secret halves are used in `fedmed.identity` alone."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from securesystemslib.signer import (  # type: ignore[attr-defined]  # its own names are not marked as exported
    Key,
    SecretsHandler,
    Signature,
    Signer,
    SSlibKey,
)

from fedmed.wire.canonical import canonical

_SCHEME = "ed25519"


class SigningKey(Protocol):
    """What signs metadata: `ReleaseKey` of a file, `ApproverKey` behind a passphrase, a token of hardware."""

    @property
    def public(self) -> bytes:
        """Ed25519, 32 bytes."""

    def sign(self, message: bytes) -> bytes:
        """64 bytes."""


@dataclass(frozen=True)
class Keys:
    """Who signs what; a role without keys here cannot be changed by this process."""

    root: Sequence[SigningKey] = ()
    """Kept elsewhere but for the hour in which they are used."""
    targets: Sequence[SigningKey] = ()
    """Which releases there are, and how far each has come."""
    fresh: Sequence[SigningKey] = ()
    """Snapshot and timestamp: signed by a service, day by day."""


class HouseSigner(Signer):
    """Signs TUF metadata with a key of ours."""

    def __init__(self, key: SigningKey) -> None:
        self._key, self._public = key, public_key(key.public)

    @property
    def public_key(self) -> Key:
        """As metadata names it."""
        return self._public

    @classmethod
    def from_priv_key_uri(cls, priv_key_uri: str, public_key: Key, secrets_handler: SecretsHandler | None = None) -> Signer:
        """Never: a key is a file that `fedmed.identity` opens. Raises ValueError."""
        raise ValueError(f"{priv_key_uri}: keys of releases have no address; open the file")

    def sign(self, payload: bytes) -> Signature:
        """The signature over the canonical form of a role's metadata."""
        return Signature(self._public.keyid, self._key.sign(payload).hex())


def public_key(public: bytes) -> SSlibKey:
    """The public half as metadata holds it; its id is the SHA-256 of its canonical form (TUF specification, 4.2)."""
    value = {"keytype": _SCHEME, "scheme": _SCHEME, "keyval": {"public": public.hex()}}
    return SSlibKey(hashlib.sha256(canonical(value)).hexdigest(), _SCHEME, _SCHEME, {"public": public.hex()})
