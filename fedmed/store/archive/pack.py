"""A pack: objects of one study in one blob of the archive, which says itself what it holds.

    form        fedmed-archive-1 <newline>
    manifest    JSON, one line: clinic, study, when it came, and of each object name, size, SHA-256 and facts
    contents    one after the other, in the manifest's order

The blob is this, sealed (`privacy.sealing`) and bound to its name: a keyed digest of study and objects, so that the same
objects have the same name again, and it tells nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedmed.errors import ArchiveAltered, StoreError
from fedmed.privacy.sealing import Pieces
from fedmed.wire.canonical import canonical

FORM = b"fedmed-archive-1\n"
MOST_OBJECTS, MOST_BYTES = 20_000, 8 << 30
"""Of one pack; what is more of one study goes into another one."""
MOST_MANIFEST, MOST_OBJECT = 1 << 30, 1 << 30
BLOCK = 1 << 16
Read = Callable[[str], tuple[bytes, Mapping[str, Any]]]
"""Content and facts of an object that is here."""


@dataclass(frozen=True)
class Item:
    """One object of a pack."""

    name: str
    size: int
    """Bytes of the content."""
    sha256: str
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Manifest:
    """What a pack holds."""

    clinic: str
    study: str
    came: float
    """When the newest of its objects came, seconds since 1970."""
    items: tuple[Item, ...]

    @property
    def size(self) -> int:
        """Bytes of all contents."""
        return sum(each.size for each in self.items)

    def identity(self) -> str:
        """SHA-256, hexadecimal, of study and objects; neither of dates, which a recall makes anew, nor of the clinic."""
        return hashlib.sha256(canonical({"study": self.study, "objects": self._objects()})).hexdigest()

    def head(self) -> bytes:
        """What comes before the contents."""
        said = {"clinic": self.clinic, "study": self.study, "came": self.came, "objects": self._objects()}
        return FORM + canonical(said) + b"\n"

    def _objects(self) -> list[list[Any]]:
        return [[each.name, each.size, each.sha256, dict(each.facts)] for each in self.items]


def manifest_of(clinic: str, study: str, came: float, names: Sequence[str], read: Read) -> Manifest:
    """The manifest of objects that are here; each is read once. Raises as `read`."""
    return Manifest(clinic, study, came, tuple(_item(name, *read(name)) for name in sorted(names)))


def contents(manifest: Manifest, read: Read) -> Iterator[bytes]:
    """The whole pack, in pieces. Raises StoreError where an object is not what it was when the manifest was made."""
    yield manifest.head()
    for item in manifest.items:
        content, facts = read(item.name)
        if _item(item.name, content, facts) != item:
            raise StoreError(f"object {item.name[-12:]} was changed while it was packed; it is packed anew later")
        yield content


def opened(where: str, pieces: Iterator[bytes]) -> tuple[Manifest, Iterator[tuple[Item, bytes]]]:
    """A pack's manifest and, one by one and proven, its objects; whoever took all has proof of the whole.

    Raises ArchiveAltered for what is no pack, and as `pieces`.
    """
    source = _Lines(pieces)
    if source.line(len(FORM)) != FORM:
        raise ArchiveAltered(f"{where}: is no pack of this version; a newer fedmed may have written it")
    manifest = _manifest(source.line(MOST_MANIFEST), where)
    return manifest, _objects(manifest, source, where)


def _objects(manifest: Manifest, source: _Lines, where: str) -> Iterator[tuple[Item, bytes]]:
    for item in manifest.items:
        content = source.read(item.size)
        if len(content) != item.size or hashlib.sha256(content).hexdigest() != item.sha256:
            raise ArchiveAltered(f"{where}: object {item.name[-12:]} is not what the manifest tells")
        yield item, content
    if source.read(1):
        raise ArchiveAltered(f"{where}: it goes on after its end")


def _item(name: str, content: bytes, facts: Mapping[str, Any]) -> Item:
    return Item(name, len(content), hashlib.sha256(content).hexdigest(), facts)


def _manifest(line: bytes, where: str) -> Manifest:
    """Written by us, since it is sealed with our key; looked at all the same."""
    try:
        said = json.loads(line)
        items = tuple(Item(str(name), int(size), str(sha256), dict(facts)) for name, size, sha256, facts in said["objects"])
        found = Manifest(str(said["clinic"]), str(said["study"]), float(said["came"]), items)
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise ArchiveAltered(f"{where}: its manifest cannot be read ({type(error).__name__})") from error
    if any(not 0 <= each.size <= MOST_OBJECT for each in items):
        raise ArchiveAltered(f"{where}: its manifest tells of an object that is larger than any")
    return found


class _Lines:
    """Pieces, read by line and by size."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._source, self._rest = Pieces(pieces), b""

    def line(self, most: int) -> bytes:
        """Up to and with the next newline, of at most `most` bytes."""
        found = bytearray()
        while (end := self._rest.find(b"\n")) < 0 and len(found) + len(self._rest) <= most:
            found += self._rest
            self._rest = self._source.read(BLOCK)
            if not self._rest:
                return bytes(found)
        found += self._rest[: end + 1]
        self._rest = self._rest[end + 1 :]
        return bytes(found[:most])

    def read(self, size: int) -> bytes:
        """So many bytes; fewer at the end alone."""
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken + self._source.read(size - len(taken)) if len(taken) < size else taken
