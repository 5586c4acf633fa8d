"""A proof that one event is in a log, in a file that is checked without the log.

It holds the line, its path in the tree of `size` entries, and the path from that tree to a head that the owner signed. Who
checks it needs to know the owner's fingerprint from elsewhere: the file's own keys say only who signed it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedmed.errors import DataError, ProtocolRefused, StoreError
from fedmed.identity.heads import SignedHead, read_head, read_path
from fedmed.identity.member import Identity
from fedmed.store.audit import event, label
from fedmed.store.audit.event import Event
from fedmed.store.audit.reading import Opened
from fedmed.wire import merkle

KIND, VERSION = "fedmed-audit-proof", 1
MAX_BYTES = 1 << 20
_FIELDS = ("kind", "version", "owner", "index", "line", "size", "root", "inclusion", "consistency", "head")


@dataclass(frozen=True)
class Proven:
    """What a proof shows."""

    owner: Identity
    index: int
    event: Event
    size: int
    """Entries of the tree that it is shown in."""
    root: bytes
    head: SignedHead


def make(opened: Opened, index: int, size: int | None = None) -> dict[str, Any]:
    """The proof that entry `index` is in the log of `size` entries, and those in the newest signed head.

    Raises StoreError where no signed head covers it or the entry is no longer kept.
    """
    head = opened.newest
    if head is None or not 0 <= index < head.size:
        covered = "none yet" if head is None else f"those below {head.size}"
        raise StoreError(
            f"{opened.folder}: entry {index} is under no signed head, which covers {covered}; the node signs one with every "
            "heartbeat and with every segment that it closes"
        )
    size = head.size if size is None else size
    if not index < size <= head.size:
        raise StoreError(f"{opened.folder}: a tree of {size} entries; allowed are {index + 1} to {head.size}")
    tree = opened.reach(index)
    return {
        "kind": KIND,
        "version": VERSION,
        "owner": label.identity_json(opened.owner),
        "index": index,
        "line": opened.line(index).decode(),
        "size": size,
        "root": tree.root(size).hex(),
        "inclusion": [each.hex() for each in tree.inclusion(index, size)],
        "consistency": [each.hex() for each in tree.consistency(size, head.size)],
        "head": head.as_json(),
    }


def load(path: Path) -> Any:
    """What a file holds, as JSON. Raises DataError where it is not there, StoreError where it cannot be read."""
    if not path.is_file():
        raise DataError(f"{path} is not there; give a file that `fedmed audit` wrote")
    try:
        if path.stat().st_size > MAX_BYTES:
            raise StoreError(f"{path} has more than {MAX_BYTES} bytes; it is not a file of ours")
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise StoreError(f"{path} cannot be read ({type(error).__name__}); ask for it again") from error


def check(said: Any, what: str, fingerprint: bytes | None = None) -> Proven:
    """What a proof shows, every hash and signature checked; `fingerprint` is that of the owner, known from elsewhere.

    Raises StoreError naming what does not hold.
    """
    try:
        found = _read(said, what)
        inclusion, consistency = (read_path(said[name], f"{what}: {name}") for name in ("inclusion", "consistency"))
    except (ProtocolRefused, ValueError, TypeError, KeyError, AttributeError) as error:
        raise StoreError(f"{what} is no proof of ours, or was changed: {error}") from error
    head, owner = found.head, found.owner
    if fingerprint is not None and owner.fingerprint != fingerprint:
        raise StoreError(f"{what}: it is of the log {owner.fingerprint.hex()}, not of {fingerprint.hex()}")
    if head.log != owner.fingerprint or not head.is_signed_by(owner.signing_public):
        raise StoreError(f"{what}: {owner.name} did not sign {head}; it was forged or changed")
    leaf = merkle.leaf_hash(said["line"].encode())
    if not merkle.verify_inclusion(found.index, found.size, leaf, inclusion, found.root):
        raise StoreError(f"{what}: the line is not entry {found.index} of the tree with the root {found.root.hex()}")
    if not merkle.verify_consistency(found.size, head.size, found.root, head.root, consistency):
        raise StoreError(f"{what}: the tree of {found.size} entries is not the beginning of {head}")
    return found


def _read(said: Any, what: str) -> Proven:
    if not isinstance(said, dict) or set(said) != set(_FIELDS):
        raise ValueError(f"its fields are not {', '.join(_FIELDS)}")
    if (said["kind"], said["version"]) != (KIND, VERSION):
        raise ValueError(f"it is of kind {said['kind']!r:.40}, version {said['version']!r:.40}; read is {KIND}, {VERSION}")
    for name in ("index", "size"):
        if type(said[name]) is not int or not 0 <= said[name] <= merkle.MOST:
            raise ValueError(f"{name} is not a whole number from 0 to {merkle.MOST}")
    (root,) = read_path([said["root"]], f"{what}: root")
    body = json.loads(said["line"])["body"]
    owner = label.read_identity(said["owner"], what)
    return Proven(owner, said["index"], event.read(body), said["size"], root, read_head(said["head"], f"{what}: head"))
