"""Where segments of a log end: one line each, chained, in `anchors.jsonl`; a line more when a segment is taken away.

An anchor holds what a segment is verified with, on any disk and without the rest of the log: the tree before it (`grown`),
what it is chained to, its digest, and a signed head that ends with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedmed.errors import ProtocolRefused, StoreError
from fedmed.identity.heads import SignedHead, read_head, read_path
from fedmed.store import chain
from fedmed.wire import merkle

NAME = "anchors.jsonl"
_MOST_TIME = 1 << 48


@dataclass(frozen=True)
class Anchor:
    """The end of one segment."""

    start: int
    """Entries before it."""
    before: str
    """SHA-256 of the last line before it, as hex."""
    grown: merkle.Path
    """Peaks of the tree of those entries."""
    peaks: merkle.Path
    """Peaks of the tree when it was closed."""
    last: str
    """SHA-256 of its last line."""
    sha256: str
    """Of its file, before it was compressed."""
    bytes: int
    since: float
    """Earliest and latest time in it: seconds since 1970."""
    until: float
    head: SignedHead

    @property
    def size(self) -> int:
        """Entries of the log when it was closed."""
        return self.head.size

    def as_json(self) -> dict[str, Any]:
        """For a line; `read` reads it back."""
        return {
            **{name: getattr(self, name) for name in ("start", "before", "last", "sha256", "bytes", "since", "until")},
            "grown": [each.hex() for each in self.grown],
            "peaks": [each.hex() for each in self.peaks],
            "head": self.head.as_json(),
        }


@dataclass(frozen=True)
class Anchors:
    """All of them, and what was taken away."""

    closed: tuple[Anchor, ...] = ()
    pruned: frozenset[int] = frozenset()
    """`start` of each segment of which only the anchor is left."""

    @property
    def size(self) -> int:
        """Entries that are in closed segments."""
        return self.closed[-1].size if self.closed else 0

    @property
    def last(self) -> str:
        """What the open segment is chained to."""
        return self.closed[-1].last if self.closed else chain.FIRST

    @property
    def kept(self) -> tuple[Anchor, ...]:
        """Those whose segments are still there."""
        return tuple(each for each in self.closed if each.start not in self.pruned)

    @property
    def start(self) -> int:
        """The first entry that is still there."""
        return self.kept[0].start if self.kept else self.size

    def tree(self, start: int | None = None) -> merkle.Tree:
        """A tree that goes on from `start`, where a segment begins; after the last when absent."""
        if start is None or start == self.size:
            return merkle.Tree(self.size, self.closed[-1].peaks) if self.closed else merkle.Tree()
        found = next(each for each in self.closed if each.start == start)
        return merkle.Tree(start, found.grown)


def verified(path: Path, public: bytes, log: bytes) -> Anchors:
    """The anchors of a log, each checked against the one before it and its signature. Raises StoreError."""
    closed: list[Anchor] = []
    pruned: set[int] = set()
    for number, line in enumerate(chain.verify(path, _line), 1):
        if isinstance(line, Anchor):
            _check(f"{path}, line {number}", line, Anchors(tuple(closed)), public, log)
            closed.append(line)
        elif line == (here := Anchors(tuple(closed), frozenset(pruned))).start and here.kept:
            pruned.add(line)
        else:
            raise StoreError(f"{path}, line {number}: segment {line} was taken away out of turn; it has been changed")
    return Anchors(tuple(closed), frozenset(pruned))


def check(name: str, anchor: Anchor, public: bytes, log: bytes) -> None:
    """What an anchor promises without any other. Raises StoreError."""
    head = anchor.head
    if head.log != log:
        raise StoreError(f"{name}: it is of the log {head.log.hex()[:16]}, and this is {log.hex()[:16]}; name the right one")
    if not head.is_signed_by(public):
        raise StoreError(f"{name}: the log's owner did not sign {head}; it was altered or signed with another key")
    if merkle.root_of(anchor.peaks) != head.root or len(anchor.peaks) != head.size.bit_count():
        raise StoreError(f"{name}: its peaks do not make the root that was signed; it has been changed")


def as_line(anchor: Anchor) -> Mapping[str, Any]:
    """The line of an anchor."""
    return {"closed": anchor.as_json()}


def as_pruned(start: int, unix: float) -> Mapping[str, Any]:
    """The line that a segment was taken away."""
    return {"pruned": start, "unix": unix}


def read(said: Any, what: str = "an anchor") -> Anchor:
    """An anchor from JSON. Raises ProtocolRefused, ValueError, LookupError, TypeError for what is none."""
    names = {"start", "before", "last", "sha256", "bytes", "since", "until", "grown", "peaks", "head"}
    if not isinstance(said, dict) or set(said) != names:
        raise ValueError(f"{what} has other fields than {', '.join(sorted(names))}")
    head = read_head(said["head"], f"{what}: head")
    for name, most in (("start", head.size - 1), ("bytes", chain.MAX_BYTES)):
        if type(said[name]) is not int or not 0 <= said[name] <= most:
            raise ValueError(f"{what}: {name} is not a whole number from 0 to {most}")
    for name in ("since", "until"):
        if not 0 <= said[name] <= _MOST_TIME:
            raise ValueError(f"{what}: {name} is no time")
    for name in ("before", "last", "sha256"):
        if len(bytes.fromhex(said[name])) != merkle.BYTES:
            raise ValueError(f"{what}: {name} is no digest")
    paths = {name: read_path(said[name], f"{what}: {name}") for name in ("grown", "peaks")}
    found = Anchor(**{**said, **paths, "head": head})
    if found.as_json() != said:
        raise ValueError(f"{what} is not written as we write one")
    return found


def _line(body: dict[str, Any]) -> Anchor | int:
    if set(body) == {"pruned", "unix"}:
        return int(body["pruned"])
    if set(body) != {"closed"}:
        raise ValueError("neither an anchor nor a segment that was taken away")
    try:
        return read(body["closed"])
    except ProtocolRefused as error:
        raise ValueError(str(error)) from error


def _check(name: str, anchor: Anchor, earlier: Anchors, public: bytes, log: bytes) -> None:
    check(name, anchor, public, log)
    before = earlier.closed[-1].peaks if earlier.closed else ()
    if (anchor.start, anchor.before, anchor.grown) != (earlier.size, earlier.last, before):
        raise StoreError(f"{name}: it does not go on where the segment before it ended; one was changed or taken out")
