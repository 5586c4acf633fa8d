"""The audit log of one node: events on the disk before anybody acts on them, and signed heads of all there are.

    log.json        whose it is: name and keys            anchors.jsonl   where closed segments end
    head.json       the newest signed head                events-N.jsonl  segments, chained to each other

An append costs O(log n). A segment that is long enough, or of another month, is closed with a signed anchor by the next
process that appends and has the keys. Nothing that was acknowledged is lost by a crash; an event whose append failed may be
there all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from fedmed.clock import Clock
from fedmed.errors import DataError, StoreError
from fedmed.identity.heads import AHEAD_MS, SignedHead, sign_head
from fedmed.identity.member import Identity, MemberKeys
from fedmed.store import chain
from fedmed.store.audit import anchors, event, label, reading
from fedmed.store.audit.anchors import Anchor
from fedmed.store.audit.event import Event
from fedmed.store.audit.reading import Opened
from fedmed.store.disk import Disk
from fedmed.store.locks import alone
from fedmed.wire import merkle
from fedmed.wire.tensors import sha256

_LOCK = ".lock"


@dataclass(frozen=True)
class Cut:
    """When a segment is closed: at so many events, and where a month (UTC) ends."""

    events: int = 50_000
    monthly: bool = True

    def is_due(self, opened: Opened, unix: float) -> bool:
        """Whether the open segment takes no event of this time."""
        if opened.end.lines == 0:
            return False
        return opened.end.lines >= self.events or (self.monthly and _month(unix) != _month(opened.since))


class AuditLog:
    """The log in one folder; safe with several processes at once."""

    def __init__(
        self, folder: Path, clock: Clock, keys: MemberKeys | None = None, cut: Cut = Cut(), disk: Disk | None = None
    ) -> None:
        """Verifies anchors, the open segment and the newest head. Without `keys` it appends, and signs nothing.

        Raises DataError where no log is, StoreError where it is damaged or is not that of these keys.
        """
        self.folder, self._clock, self._keys, self._cut, self._disk = folder, clock, keys, cut, disk or Disk()
        self._opened: Opened | None = None
        owner = label.read(folder)
        if keys is not None and keys.fingerprint != owner.fingerprint:
            raise StoreError(
                f"{folder} is the log of {owner.name} ({owner.fingerprint.hex()[:16]}), and the keys are those of "
                f"{keys.fingerprint.hex()[:16]}; name the right keys, or another folder"
            )
        with self._alone("opened"):
            pass

    @classmethod
    def make(
        cls, folder: Path, name: str, keys: MemberKeys, clock: Clock, cut: Cut = Cut(), disk: Disk | None = None
    ) -> AuditLog:
        """The log in a folder, begun where there is none. Raises StoreError."""
        used = disk or Disk()
        try:
            used.make_folder(folder)
            if not (folder / label.LABEL).exists():
                if any(folder.glob("events-*")):
                    raise StoreError(
                        f"{folder} holds a log whose {label.LABEL} is gone; put that back, or name another folder"
                    )
                label.write(used, folder, Identity(name, keys.transport_public, keys.signing_public))
        except OSError as error:
            raise StoreError(f"{folder}: no audit log can be begun there ({error.strerror or error})") from error
        return cls(folder, clock, keys, cut, disk)

    @property
    def size(self) -> int:
        """Entries, as of the last look."""
        return self._known.size

    @property
    def owner(self) -> Identity:
        """Whose log it is."""
        return self._known.owner

    def append(self, *events: Event) -> int:
        """Write events; returns the number of the first. Only when this returns are they on the disk.

        Several at once cost one sync. Raises StoreError: for what is no event, and where the log is damaged or cannot be
        written; what was to be recorded must not be done then.
        """
        if not events or (faults := [fault for each in events for fault in event.faults_of(each)]):
            raise StoreError(f"{self.folder}: this is no event: {'; '.join(faults) if events else 'none was given'}")
        with self._alone("written") as opened:
            if self._keys is not None and self._cut.is_due(opened, events[0].unix):
                opened = self._closed(opened)
            index, lines = opened.size, chain.lines_after(opened.end.last, (each.as_json() for each in events))
            opened.end = chain.write(opened.path, opened.end, lines, self._disk)
            opened.tree.extend(line[:-1] for line in lines)
            times = [each.unix for each in events] + ([opened.since, opened.until] if index > opened.anchors.size else [])
            opened.since, opened.until = min(times), max(times)
            return index

    def head(self) -> SignedHead:
        """A head of all that is there, signed now and kept on the disk before it is returned. Raises StoreError."""
        with self._alone("signed") as opened:
            return self._sign(opened)

    def consistency(self, old: int, new: int | None = None) -> merkle.Path:
        """The proof that the log of `new` entries (all when absent) begins with those of `old`. Raises StoreError."""
        with self._alone("read") as opened:
            if old == 0:
                return ()
            return _proved(opened, old, lambda tree: tree.consistency(old, new))

    def inclusion(self, index: int, size: int | None = None) -> merkle.Path:
        """The proof that an entry is in the log of `size` entries. Raises StoreError."""
        with self._alone("read") as opened:
            return _proved(opened, index, lambda tree: tree.inclusion(index, size))

    def close_segment(self) -> Anchor | None:
        """Close the open segment now, whatever its length; None where it is empty. Raises StoreError."""
        with self._alone("closed") as opened:
            if opened.end.lines == 0:
                return None
            return self._closed(opened).anchors.closed[-1]

    def forget(self, start: int) -> None:
        """Write down that the oldest segment is taken away; its files may be removed then. Raises StoreError."""
        with self._alone("written") as opened:
            if not opened.anchors.kept or opened.anchors.start != start:
                raise StoreError(f"{self.folder}: segment {start} is not the oldest one kept, {opened.anchors.start} is")
            line = anchors.as_pruned(start, self._clock.unix())
            chain.extend(self.folder / anchors.NAME, opened.anchors_end, line, disk=self._disk)

    @property
    def _known(self) -> Opened:
        if self._opened is not None:
            return self._opened
        with self._alone("read") as opened:
            return opened

    @contextmanager
    def _alone(self, what: str) -> Iterator[Opened]:
        """What is there, and nobody else writing; looked at anew where somebody did, or where something failed before."""
        try:
            with alone(self.folder / _LOCK):
                before, self._opened = self._opened, None  # so that whatever fails, the next one looks anew
                opened = before if before is not None and _is_at(before) else reading.opened(self.folder)
                yield opened
                self._opened = self._opened or opened
        except OSError as error:
            self._opened = None
            raise StoreError(
                f"the audit log {self.folder} cannot be {what} ({error.strerror or error}); nothing is done that it does "
                "not hold. Make room or mend the disk"
            ) from error

    def _signer(self) -> MemberKeys:
        if self._keys is None:
            raise DataError(f"{self.folder}: heads are signed with its owner's keys, and none were given")
        return self._keys

    def _sign(self, opened: Opened) -> SignedHead:
        keys, now = self._signer(), int(self._clock.unix() * 1000)
        before = opened.newest.unix_ms if opened.newest is not None else 0
        # A clock that is set back must not look like a log that became shorter; what is ahead of all, clinics refuse anyway.
        unix_ms = before if now < before <= now + AHEAD_MS else now
        head = sign_head(keys, opened.size, opened.tree.root(), unix_ms)
        label.write_head(self._disk, self.folder, head)
        opened.newest = head
        return head

    def _closed(self, opened: Opened) -> Opened:
        """Close the open segment and look at the log anew."""
        _drop_torn(self._disk, opened)
        content, before = opened.path.read_bytes(), opened.anchors
        anchor = Anchor(
            start=before.size,
            before=before.last,
            grown=before.closed[-1].peaks if before.closed else (),
            peaks=opened.tree.peaks(),
            last=opened.end.last,
            sha256=sha256(content),
            bytes=len(content),
            since=opened.since,
            until=opened.until,
            head=self._sign(opened),
        )
        chain.extend(self.folder / anchors.NAME, opened.anchors_end, anchors.as_line(anchor), disk=self._disk)
        self._opened = reading.opened(self.folder)
        return self._opened


def _proved(opened: Opened, start: int, prove: Callable[[merkle.Tree], merkle.Path]) -> merkle.Path:
    try:
        return prove(opened.reach(start))
    except LookupError as error:
        raise StoreError(f"{opened.folder}: there is no such proof ({error})") from error


def _is_at(opened: Opened) -> bool:
    return chain.is_at(opened.folder / anchors.NAME, opened.anchors_end) and chain.is_at(opened.path, opened.end)


def _drop_torn(disk: Disk, opened: Opened) -> None:
    """Cut off what a crash left half written."""
    if opened.path.stat().st_size == opened.end.size:
        return
    handle = disk.reopen(opened.path)
    try:
        disk.truncate(handle, opened.end.size)
        disk.sync(handle)
    finally:
        disk.close(handle)


def _month(unix: float) -> tuple[int, int]:
    when = datetime.fromtimestamp(unix, timezone.utc)
    return when.year, when.month
