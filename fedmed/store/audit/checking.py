"""All of a log verified: every line, every anchor and signature, and heads that were kept elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fedmed.errors import ProtocolRefused, StoreError
from fedmed.identity.heads import AHEAD_MS, SignedHead, read_countersigned, read_head
from fedmed.identity.member import Identity
from fedmed.identity.pins import words
from fedmed.store.audit import anchors, archiving, label, proofs, reading, segments
from fedmed.store.audit.anchors import Anchor
from fedmed.store.audit.event import Event
from fedmed.store.audit.reading import Opened
from fedmed.wire import merkle

_BACK_S = 300.0
_MOST_NOTES = 20


@dataclass
class Checked:
    """What was verified, and what an auditor should know besides."""

    owner: Identity
    size: int
    """Entries, those that were taken away included."""
    start: int
    """The first that is still there."""
    closed: int
    pruned: int
    newest: SignedHead | None
    since: float | None = None
    until: float | None = None
    heads: int = 0
    """Heads from elsewhere that the log goes on from."""
    notes: list[str] = field(default_factory=list)

    @property
    def unsigned(self) -> int:
        """Entries that no signed head covers yet."""
        return self.size - (self.newest.size if self.newest is not None else 0)

    def as_json(self) -> dict[str, Any]:
        """The whole, for programs."""
        return {
            "status": "ok",
            "owner": self.owner.name,
            "log": self.owner.fingerprint.hex(),
            "words": words(self.owner.fingerprint),
            "size": self.size,
            "first": self.start,
            "segments": {"closed": self.closed, "pruned": self.pruned},
            "head": None if self.newest is None else self.newest.as_json(),
            "unsigned": self.unsigned,
            "since": self.since,
            "until": self.until,
            "heads": self.heads,
            "notes": self.notes,
        }

    def see(self, name: str, event: Event, now: float) -> None:
        """Take an event's time into account."""
        if self.until is not None and event.unix < self.until - _BACK_S:
            self._note(f"{name}: the clock went back by {self.until - event.unix:.0f} s")
        if event.unix * 1000 > now * 1000 + AHEAD_MS:
            self._note(f"{name}: it is {event.unix - now:.0f} s ahead of this machine's clock")
        self.since = event.unix if self.since is None else min(self.since, event.unix)
        self.until = event.unix if self.until is None else max(self.until, event.unix)

    def _note(self, text: str) -> None:
        if len(self.notes) < _MOST_NOTES:
            self.notes.append(text)
        elif len(self.notes) == _MOST_NOTES:
            self.notes.append("and more")


def check(
    folder: Path,
    now: float,
    archive: Path | None = None,
    fingerprint: bytes | None = None,
    heads: Sequence[tuple[str, Any]] = (),
) -> Checked:
    """Verify a log. `fingerprint`: of its owner, and `heads`: (name, JSON) of heads, both known from elsewhere.

    Raises DataError where no log is; StoreError saying what is wrong, where, and what was expected.
    """
    opened = reading.opened(folder, archive)
    _check_owner(str(folder), opened.owner, fingerprint)
    if opened.newest is not None:
        _check_time(str(folder), opened.newest, now)
    closed = opened.anchors.closed
    found = Checked(opened.owner, opened.size, opened.anchors.start, len(closed), len(opened.anchors.pruned), opened.newest)
    for anchor in opened.anchors.kept:
        _check_time(str(segments.path_of(folder, anchor.start)), anchor.head, now)
        path, lines = segments.path_of(folder, anchor.start), segments.lines_of(folder, anchor, archive)
        for number, event in enumerate(_checked_lines(path, anchor, lines), anchor.start):
            found.see(f"entry {number}", event, now)
    for number, event in opened.events(opened.anchors.size):
        found.see(f"entry {number}", event, now)
    for name, said in heads:
        _check_head(opened, name, said, found)
    return found


def check_segment(path: Path, now: float, fingerprint: bytes | None = None) -> Checked:
    """Verify one archived segment by the anchor that lies beside it. Raises DataError, StoreError."""
    beside = segments.anchor_beside(path)
    said = proofs.load(beside)
    try:
        if not isinstance(said, dict) or (said.get("kind"), said.get("version")) != (archiving.KIND, archiving.VERSION):
            raise ValueError(f"it is not of {archiving.KIND}, version {archiving.VERSION}")
        owner, anchor = label.read_identity(said.get("owner"), str(beside)), anchors.read(said.get("anchor"))
    except (ProtocolRefused, ValueError, LookupError, TypeError) as error:
        raise StoreError(f"{beside} is no anchor: {error}; put a copy of it back") from error
    _check_owner(str(path), owner, fingerprint)
    anchors.check(str(beside), anchor, owner.signing_public, owner.fingerprint)
    _check_time(str(beside), anchor.head, now)
    lines = segments.content_of(path, anchor)
    found = Checked(owner, anchor.size, anchor.start, 1, 0, anchor.head)
    for number, event in enumerate(_checked_lines(path, anchor, lines), anchor.start):
        found.see(f"entry {number}", event, now)
    return found


def _checked_lines(path: Path, anchor: Anchor, lines: list[bytes]) -> list[Event]:
    events = segments.events_of(path, lines, anchor.before, (anchor.size - anchor.start, anchor.last))
    try:
        tree = merkle.Tree(anchor.start, anchor.grown)
    except ValueError as error:
        raise StoreError(f"{path}: its anchor does not fit its place ({error}); the anchor has been changed") from error
    tree.extend(line[:-1] for line in lines)
    if tree.size != anchor.size or tree.root() != anchor.head.root:
        raise StoreError(f"{path}: its {len(lines)} lines make {tree.size} entries, root {tree.root().hex()}; {anchor.head}")
    return events


def _check_owner(name: str, owner: Identity, fingerprint: bytes | None) -> None:
    if fingerprint is not None and owner.fingerprint != fingerprint:
        raise StoreError(
            f"{name} is signed by {owner.name} with the fingerprint {owner.fingerprint.hex()}, not with "
            f"{fingerprint.hex()}; it is another log, or its keys were exchanged"
        )


def _check_time(name: str, head: SignedHead, now: float) -> None:
    if head.unix_ms > now * 1000 + AHEAD_MS:
        raise StoreError(
            f"{name}: a head from the future: {head}, {head.unix_ms / 1000 - now:.0f} s ahead of this machine's clock; "
            f"allowed are {AHEAD_MS // 1000} s. Set the clock right, then verify again"
        )


def _check_head(opened: Opened, name: str, said: Any, found: Checked) -> None:
    """A head from elsewhere: whether this log has it."""
    try:
        inner = said["head"] if isinstance(said, dict) and "witness" in said else None
        head = read_head(said, name) if inner is None else read_countersigned(said, name).head
    except ProtocolRefused as error:
        raise StoreError(str(error)) from error
    owner = opened.owner
    if head.log != owner.fingerprint or not head.is_signed_by(owner.signing_public):
        raise StoreError(f"{name}: {owner.name} ({owner.fingerprint.hex()[:16]}) did not sign {head}; it is of another log")
    if head.size > opened.size:
        raise StoreError(f"{name}: {head} was signed, and {opened.folder} has {opened.size} entries: it has been cut short")
    if head.size < opened.anchors.start:
        found.notes.append(f"{name}: of its {head.size} entries some were taken away by retention; it was not compared")
        return
    if (root := opened.reach(head.size).root(head.size)) != head.root:
        raise StoreError(
            f"{name}: {head} was signed, and the first {head.size} entries of {opened.folder} have the root {root.hex()}: "
            "history was rewritten, or two were told. Keep both"
        )
    found.heads += 1
