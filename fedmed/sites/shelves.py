"""What a simulated site keeps between rounds: a file of tensors in the run's folder, where a run is taken up again."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from fedmed.errors import DataError, StoreError
from fedmed.identity import files
from fedmed.wire import tensors as wire

FOLDER = "kept"
"""Of a run; it stays there, for what sites keep is a result."""


class FileShelf:
    """One site's file."""

    def __init__(self, run_folder: Path, number: int) -> None:
        self._path = run_folder / FOLDER / f"{number:05d}.safetensors"

    def held(self) -> wire.Tensors:
        """All that is kept; empty where nothing is. Raises StoreError where it is damaged."""
        if not self._path.exists():
            return {}
        try:
            return wire.load(self._path)
        except DataError as error:
            raise StoreError(f"{self._path} is damaged: {error}; put a copy back, or begin the run anew") from error

    def keep(self, tensors: wire.Tensors) -> None:
        """Keep this instead: whole and synced, or as before. Raises StoreError."""
        content = BytesIO()
        wire.write(tensors, content)
        try:
            files.fill(self._path, [content.getbuffer()])
        except OSError as error:
            raise StoreError(f"{self._path} cannot be written: {error.strerror}; make room or mend the disk") from error
