"""A clinic's answers on disk, from before their message is confirmed until they are all sent.

A message itself needs no place here: the center hands it out again until it is confirmed.
"""

from __future__ import annotations

import struct
from pathlib import Path

from fedmed.flower.parcels import Parcel, head_of
from fedmed.identity.files import replace

_SIZES = struct.Struct(">II")  # bytes of a name and of what it names
_HEAD = b"head"


class Spool:
    """A folder with one file an answer; a file is whole or not there."""

    def __init__(self, folder: Path) -> None:
        """Make the folder; what a killed process left half-written goes."""
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for half in folder.glob(".*.new"):
            half.unlink()

    def keep(self, parcel: Parcel) -> None:
        """Put an answer on the disk. Raises OSError."""
        parts = [(_HEAD, parcel.head_bytes()), *((name.encode(), content) for name, content in parcel.objects.items())]
        content = b"".join(piece for name, said in parts for piece in (_SIZES.pack(len(name), len(said)), name, said))
        replace(self._folder / parcel.id, content)

    def kept(self) -> list[str]:
        """Ids of the answers that are not all sent."""
        return sorted(each.name for each in self._folder.iterdir())

    def read(self, answer: str) -> Parcel:
        """One of them. Raises ProtocolRefused for a file that was changed."""
        content, found, place = (self._folder / answer).read_bytes(), dict[bytes, bytes](), 0
        while place < len(content):
            name, said = _SIZES.unpack_from(content, place)
            place += _SIZES.size
            found[content[place : place + name]] = content[place + name : place + name + said]
            place += name + said
        head, tree = head_of(found.pop(_HEAD, b""))
        return Parcel(head, tree, {name.decode(): said for name, said in found.items()})

    def drop(self, answer: str) -> None:
        """The answer is sent, or nobody waits for it."""
        (self._folder / answer).unlink(missing_ok=True)
