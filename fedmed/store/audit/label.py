"""Whose log a folder holds, and the newest head that its owner signed: `log.json` and `head.json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fedmed.errors import DataError, ProtocolRefused, StoreError
from fedmed.identity.heads import SignedHead, read_head
from fedmed.identity.member import NAME, SIGNING_KEY, Identity
from fedmed.store.disk import Disk, replace_file
from fedmed.wire.canonical import canonical

LABEL, HEAD = "log.json", "head.json"
MAX_BYTES = 1 << 16
_KIND, _VERSION = "fedmed-audit-log", 1


def write(disk: Disk, folder: Path, owner: Identity) -> None:
    """Say whose log this is. Raises OSError."""
    replace_file(disk, folder / LABEL, canonical({"kind": _KIND, "version": _VERSION, **identity_json(owner)}) + b"\n")


def read(folder: Path) -> Identity:
    """The log's owner. Raises DataError where no log is, StoreError where the file is not what was written."""
    path = folder / LABEL
    if not path.is_file():
        raise DataError(f"{folder} holds no audit log ({LABEL} is not there); give the folder of one")
    said = _json(path)
    if not isinstance(said, dict) or said.pop("kind", None) != _KIND or said.pop("version", None) != _VERSION:
        raise StoreError(f"{path} is not of version {_VERSION} of an audit log; put a copy of it back")
    return read_identity(said, str(path))


def write_head(disk: Disk, folder: Path, head: SignedHead) -> None:
    """Keep the newest head. Raises OSError."""
    replace_file(disk, folder / HEAD, canonical(head.as_json()) + b"\n")


def newest_head(folder: Path, owner: Identity) -> SignedHead | None:
    """The head in the file, its signature checked; None where there is no file. Raises StoreError."""
    path = folder / HEAD
    if not path.exists():
        return None
    try:
        head = read_head(_json(path), str(path))
    except ProtocolRefused as error:
        raise StoreError(f"{error} It has been changed; put a copy of the file back") from error
    if head.log != owner.fingerprint or not head.is_signed_by(owner.signing_public):
        raise StoreError(f"{path}: {owner.name} did not sign {head}; it was altered or signed with another key")
    return head


def identity_json(owner: Identity) -> dict[str, Any]:
    """For files; `read_identity` reads it back."""
    return {"name": owner.name, "transport": owner.transport_public.hex(), "signing": owner.signing_public.hex()}


def read_identity(said: Any, what: str) -> Identity:
    """Name and keys of a log's owner. Raises StoreError."""
    try:
        if set(said) != {"name", "transport", "signing"}:
            raise ValueError("other fields")
        found = Identity(str(said["name"]), bytes.fromhex(said["transport"]), bytes.fromhex(said["signing"]))
    except (TypeError, ValueError) as error:
        raise StoreError(f"{what} does not name an owner and two keys; it has been changed") from error
    if identity_json(found) != said or not NAME.fullmatch(found.name) or len(found.signing_public) != SIGNING_KEY:
        raise StoreError(f"{what}: its owner's name or signing key is not what a member has; it has been changed")
    return found


def _json(path: Path) -> Any:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise StoreError(f"{path} has more than {MAX_BYTES} bytes; it is not a file of ours")
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise StoreError(f"{path} cannot be read ({type(error).__name__}); put a copy of it back") from error
