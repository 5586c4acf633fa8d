"""What a clinic's node keeps on disk: answers until they are all sent, and the model until there is another.

An answer is there, synced, before its message is confirmed. A message itself needs no place: the center hands it out again
until then. Both lie sealed under the clinic's key.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from flwr.supercore.inflatable.inflatable_object import get_object_id

from fedmed.errors import ProtocolRefused, StoreError
from fedmed.flower.bundles import pieces, unbundle
from fedmed.flower.calls import HEAD
from fedmed.flower.parcels import Parcel, head_of
from fedmed.flower.resting import AtRest
from fedmed.identity.files import fill


class Spool:
    """A folder with one file an answer; a file is whole or not there."""

    def __init__(self, folder: Path, rest: AtRest) -> None:
        """Make the folder; what a killed process left half-written goes."""
        self._folder, self._rest = folder, rest
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for half in folder.glob(".*.new"):
            half.unlink()

    def keep(self, parcel: Parcel) -> None:
        """Put an answer on the disk. Raises OSError."""
        said = pieces([(HEAD, parcel.head_bytes()), *parcel.objects.items()])
        fill(self._folder / parcel.id, self._rest.closed(parcel.id, said))

    def kept(self) -> list[str]:
        """Ids of the answers that are not all sent."""
        return sorted(each.name for each in self._folder.iterdir() if each.is_file())

    def read(self, answer: str) -> Parcel:
        """One of them. Raises StoreError for a file that was changed, or is sealed with another key."""
        path = self._folder / answer
        try:
            (what, said), *objects = unbundle(self._rest.read(answer, path)) or [("", b"")]
            if what != HEAD:
                raise ProtocolRefused("it is no answer")
            head, tree = head_of(said)
        except (OSError, ProtocolRefused) as error:
            raise StoreError(f"{path} cannot be read ({error})") from error
        return Parcel(head, tree, dict(objects))

    def drop(self, answer: str) -> None:
        """The answer is sent, or nobody waits for it."""
        (self._folder / answer).unlink(missing_ok=True)


class Shelf:
    """Large objects of the last message: a model that comes again, to be evaluated, is not fetched again.

    Only a copy: what is lost or changed is fetched.
    """

    def __init__(self, folder: Path, rest: AtRest) -> None:
        self._folder, self._rest = folder, rest
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def get(self, name: str) -> bytes | None:
        """An object, if it is there and whole."""
        try:
            content = self._rest.read(name, self._folder / name)
        except (FileNotFoundError, StoreError):
            return None
        return content if get_object_id(content) == name else None

    def put(self, name: str, content: bytes) -> None:
        """Keep one. Raises OSError."""
        with (self._folder / name).open("wb") as file:
            file.writelines(self._rest.closed(name, [content]))

    def keep_only(self, names: Iterable[str]) -> None:
        """Let all others go."""
        wanted = set(names)
        for file in self._folder.iterdir():
            if file.name not in wanted:
                file.unlink()
