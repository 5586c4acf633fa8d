"""A log as it lies on the disk: its owner, its anchors, and the segment that is being written, verified."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fedmed.errors import StoreError
from fedmed.identity.heads import SignedHead
from fedmed.identity.member import Identity
from fedmed.store import chain
from fedmed.store.audit import anchors, event, label, segments
from fedmed.store.audit.anchors import Anchor, Anchors
from fedmed.store.audit.event import Event
from fedmed.wire import merkle


@dataclass
class Opened:
    """All that is known without reading closed segments."""

    folder: Path
    owner: Identity
    anchors: Anchors
    anchors_end: chain.End
    path: Path
    """Of the segment that is being written."""
    end: chain.End
    since: float
    """Earliest and latest time in that segment; 0 where it is empty."""
    until: float
    newest: SignedHead | None
    """The last head that was signed, of the file or of an anchor."""
    tree: merkle.Tree = field(repr=False)
    """From some segment's beginning on; wider once something older was asked for."""
    archive: Path | None = None
    """Another folder, with archived segments."""

    @property
    def size(self) -> int:
        """Entries of the log."""
        return self.tree.size

    def reach(self, start: int) -> merkle.Tree:
        """A tree that has the entries from `start` on one by one. Raises StoreError where they are no longer kept."""
        if start < self.anchors.start or start > self.size:
            raise StoreError(
                f"{self.folder}: entry {start} is asked for; those from {self.anchors.start} to {self.size - 1} are there "
                "(of older ones only anchors were kept)"
            )
        if start < self.tree.start:
            wanted = [each for each in self.anchors.kept if each.size > start]
            tree = self.anchors.tree(wanted[0].start)
            for anchor in wanted:
                tree.extend(line[:-1] for line in segments.lines_of(self.folder, anchor, self.archive))
            tree.extend(line[:-1] for line in chain.whole_lines(self.path)[: self.end.lines])
            self.tree = tree
        return self.tree

    def line(self, index: int) -> bytes:
        """The line of one entry, without its end. Raises StoreError."""
        for start, _, lines in self.parts(index):
            return lines[index - start][:-1]
        raise StoreError(f"{self.folder}: entry {index} is asked for; there are {self.size}, the first is 0")

    def parts(self, index: int = 0) -> Iterator[tuple[int, Path, list[bytes]]]:
        """(entries before, file, lines) of each kept segment from the one with entry `index` on. Raises StoreError."""
        for anchor in self.anchors.kept:
            if anchor.size > index:
                yield anchor.start, segments.path_of(self.folder, anchor.start), self._lines(anchor)
        if self.anchors.size <= max(index, self.anchors.size) < self.size:
            yield self.anchors.size, self.path, chain.whole_lines(self.path)[: self.end.lines]

    def events(self, index: int = 0) -> Iterator[tuple[int, Event]]:
        """Number and event of each entry from `index` on, every digest checked. Raises StoreError."""
        befores = {anchor.start: anchor.before for anchor in self.anchors.closed}
        for start, path, lines in self.parts(index):
            before = befores.get(start, self.anchors.last)
            for number, each in enumerate(segments.events_of(path, lines, before), start):
                if number >= index:
                    yield number, each

    def _lines(self, anchor: Anchor) -> list[bytes]:
        return segments.lines_of(self.folder, anchor, self.archive)


def opened(folder: Path, archive: Path | None = None) -> Opened:
    """The log in a folder. What another process appends meanwhile is for the next look.

    Raises DataError where there is none, StoreError saying which line is wrong and how.
    """
    owner = label.read(folder)
    path = folder / anchors.NAME
    anchors_end = chain.end_of(path)
    closed = anchors.verified(path, owner.signing_public, owner.fingerprint)
    current = segments.path_of(folder, closed.size)
    newest = label.newest_head(folder, owner)  # before the lines, of which it has no more than there are
    end = chain.end_of(current, closed.last)
    events = chain.verify(current, event.read, first=closed.last)[: end.lines]
    tree = closed.tree()
    tree.extend(line[:-1] for line in chain.whole_lines(current)[: end.lines])
    newest = _newest(folder, closed, newest, tree)
    times = [each.unix for each in events] or [0.0]
    return Opened(folder, owner, closed, anchors_end, current, end, min(times), max(times), newest, tree, archive)


def _newest(folder: Path, closed: Anchors, head: SignedHead | None, tree: merkle.Tree) -> SignedHead | None:
    anchored = closed.closed[-1].head if closed.closed else None
    if head is None or (anchored is not None and (head.size, head.unix_ms) < (anchored.size, anchored.unix_ms)):
        return anchored
    if head.size > tree.size:
        raise StoreError(f"{folder} has {tree.size} entries; its owner signed {head}: it has been cut short")
    if tree.root(head.size) != head.root:
        raise StoreError(f"{folder}: its owner signed {head}; what is there has the root {tree.root(head.size).hex()}")
    return head
