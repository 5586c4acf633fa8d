"""How an entry lies in the database: its facts in a head, its content in a body, both sealed where the spool has a key.

What the database has to compare, a content and a group, stands in it as a mark: BLAKE2b keyed with the spool's key, so that
a stolen disk tells neither whose study a row belongs to nor whether a known image is among them (RFC 7693, section 2.9).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO

from fedmed.errors import StoreError
from fedmed.privacy.keys import derived
from fedmed.privacy.sealing import Parts, Target, seal, sealed_size, unsealed
from fedmed.store.spool.entry import Entry, New
from fedmed.store.spool.tables import Row
from fedmed.wire.canonical import canonical

KEY = 32
MARK = 32
HEAD, BODY = "head", "body"


@dataclass(frozen=True)
class Closed:
    """A new entry as the database is given it; its number is not known yet."""

    entry: Entry
    mark: bytes
    """Of its content and kind: what is put twice has it twice."""
    line: bytes
    """Mark of its group and kind: those whose order is kept."""
    head: bytes
    size: int
    """Bytes of the body: of the content as it lies on the disk."""
    fill: Callable[[Target], None] = field(repr=False)
    """Writes the body, so that a large one is never whole in memory a second time."""

    def body(self) -> bytes:
        """The body."""
        parts = Parts()
        self.fill(parts)
        return parts.written[0] if len(parts.written) == 1 else b"".join(parts.written)


class Envelope:
    """Closes and opens entries with one key of 32 bytes, or leaves them as they are."""

    def __init__(self, key: bytes | None) -> None:
        if key is not None and len(key) != KEY:
            raise StoreError(f"a key of {len(key)} bytes; a spool is sealed with {KEY}")
        self._sealing = None if key is None else derived(key, "spool contents")
        self._marking = b"" if key is None else derived(key, "spool marks")

    @property
    def check(self) -> bytes:
        """What tells one key from another, and from none; it is no key."""
        return self.mark("check", "")

    def mark(self, kind: str, text: str) -> bytes:
        """What stands for `text` in the database, 32 bytes."""
        return hashlib.blake2b(
            f"{kind}\x1f{text}".encode("utf-8", "backslashreplace"), digest_size=MARK, key=self._marking
        ).digest()

    def content_mark(self, kind: str, digest: str) -> bytes:
        """The mark of a content within a kind."""
        return self.mark(f"content of {kind}", digest)

    def line(self, kind: str, group: str) -> bytes:
        """The mark of a group within a kind."""
        return self.mark(f"group of {kind}", group)

    def closed(self, new: New, unix: float) -> Closed:
        """Sealed, under number 0. Raises DataError for what a spool does not hold."""
        facts, digest = new.checked(), new.digest
        mark = self.content_mark(new.kind, digest)
        entry = Entry(0, digest, new.kind, new.group, new.priority, dict(new.facts), len(new.content), float(unix))
        head, line = self._head(mark, _said(entry) + b"\n" + facts), self.line(new.kind, new.group)
        size = len(new.content) if self._sealing is None else sealed_size(len(new.content))
        return Closed(entry, mark, line, head, size, lambda target: self._fill(mark, new.content, target))

    def head(self, entry: Entry) -> bytes:
        """What its row says of an entry, sealed anew."""
        return self._head(self.content_mark(entry.kind, entry.digest), _said(entry) + b"\n" + canonical(dict(entry.facts)))

    def opened(self, row: Row) -> Entry:
        """The entry of a row. Raises StoreError where the disk changed the head, or anything that it says of the row."""
        try:
            first, _, facts = self._open(row.mark, HEAD, row.head).partition(b"\n")
            digest, group, *_ = json.loads(first)
            entry = Entry(row.number, digest, row.kind, group, row.priority, dict(json.loads(facts)), row.size, row.unix)
            sound = first == _said(entry)
        except (ValueError, TypeError, RecursionError) as error:
            raise StoreError(f"the head of entry {row.number} is damaged ({type(error).__name__})") from error
        if not sound:
            raise StoreError(f"entry {row.number} is not what its head says")
        return entry

    def content(self, mark: bytes, digest: str, body: bytes) -> bytes:
        """The content as it was put. Raises StoreError where a byte of it is another."""
        content = self._open(mark, BODY, body)
        if self._sealing is None and hashlib.sha256(content).hexdigest() != digest:
            raise StoreError(f"content {digest[:12]} does not have the digest it was put with")
        return content

    def _head(self, mark: bytes, said: bytes) -> bytes:
        if self._sealing is None:
            return self.mark(HEAD, said.decode()) + said
        parts = Parts()
        seal(self._sealing, f"{HEAD}/{mark.hex()}", BytesIO(said), parts)
        return b"".join(parts.written)

    def _fill(self, mark: bytes, content: bytes, target: Target) -> None:
        if self._sealing is None:
            target.write(content)
        else:
            seal(self._sealing, f"{BODY}/{mark.hex()}", BytesIO(content), target)

    def _open(self, mark: bytes, part: str, data: bytes) -> bytes:
        if self._sealing is None:
            if part == BODY:
                return data
            if data[:MARK] != self.mark(HEAD, data[MARK:].decode("utf-8", "replace")):
                raise StoreError("a head is not what was written")
            return data[MARK:]
        return b"".join(unsealed(self._sealing, f"{part}/{mark.hex()}", BytesIO(data)))


def _said(entry: Entry) -> bytes:
    """What a head says of its entry; the number is not known when it is written."""
    return canonical([entry.digest, entry.group, entry.kind, entry.priority, entry.size, entry.unix])
