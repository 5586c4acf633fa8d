"""Where blobs lie, of models or the archive: one small interface, and a folder behind it; `fedmed.store.s3` is the other.

A store holds named blobs, each whole or absent. It knows neither what is in them nor that they are sealed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Protocol

from fedmed.privacy.sealing import Source
from fedmed.store.disk import Disk, Sink, write_file

BLOCK = 1 << 20


class Store(Protocol):
    """Named blobs. All methods raise OSError, or a StoreError that says what the store answered."""

    def names(self) -> dict[str, int]:
        """Bytes of each blob that is there."""

    def open(self, name: str) -> BinaryIO:
        """A blob, to be read once from its beginning. Raises FileNotFoundError."""

    def put(self, name: str, source: Source, size: int) -> None:
        """Keep a blob of `size` bytes under a name, in place of what has it: whole, or not at all."""

    def remove(self, name: str) -> None:
        """Take a blob away; one that is not there is no error."""

    def where(self, name: str) -> str:
        """Where a blob lies, for people."""


class FolderStore:
    """A flat folder that only its owner can enter."""

    def __init__(self, folder: Path, disk: Disk | None = None) -> None:
        """Makes the folder. Raises OSError."""
        self.folder, self._disk = folder, disk or Disk()
        self._disk.make_folder(folder)

    def names(self) -> dict[str, int]:
        """Bytes of each file; what begins with a dot is no blob."""
        found = (path for path in self.folder.iterdir() if not path.name.startswith(".") and path.is_file())
        return {path.name: path.stat().st_size for path in found}

    def open(self, name: str) -> BinaryIO:
        """A blob, read from the file."""
        return (self.folder / name).open("rb")

    def put(self, name: str, source: Source, size: int) -> None:
        """Copy a blob here. Raises OSError too where the source does not have `size` bytes."""

        def fill(sink: Sink) -> None:
            copied = 0
            while block := source.read(BLOCK):
                sink.write(block)
                copied += len(block)
            if copied != size:
                raise OSError(5, f"{copied} bytes came where {size} were told")

        self.fill(name, fill)

    def fill(self, name: str, fill: Callable[[Sink], None]) -> None:
        """Keep what `fill` writes: beside its place, on the disk, then under its name, and the name on the disk too."""
        beside, place = self.folder / f".writing-{name}", self.folder / name
        if beside.exists():
            self._disk.remove(beside)  # what a crash left
        write_file(self._disk, beside, fill)
        self._disk.rename(beside, place)
        self._disk.sync_folder(self.folder)

    def remove(self, name: str) -> None:
        """Take the file away."""
        if (self.folder / name).exists():
            self._disk.remove(self.folder / name)

    def sweep(self) -> None:
        """Remove what a crash left half written."""
        for begun in self.folder.glob(".writing-*"):
            self._disk.remove(begun)

    def where(self, name: str) -> str:
        """The file's path."""
        return str(self.folder / name)
