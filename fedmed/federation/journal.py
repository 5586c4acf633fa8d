"""The run's journal: one JSON object a line, in the order of events, read by whoever watches."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import Any, Protocol

from fedmed.clock import Clock
from fedmed.errors import StoreError

NAME = "journal.jsonl"


class Voice(Protocol):
    """Whatever can be told events."""

    def say(self, event: str, **details: Any) -> None:
        """Tell one event."""


class Journal:
    """Appends events to `journal.jsonl` of a run folder. Raises StoreError where the disk refuses."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._clock, self._path = clock, folder / NAME
        self._file = self._path.open("a+b", buffering=0)  # nothing is left over to be written when it is closed
        if _is_cut_off(self._file):
            self._write(b"\n")

    def say(self, event: str, **details: Any) -> None:
        """Write one event now."""
        line = {"event": event, "unix": round(self._clock.unix(), 3), **details}
        # half a surrogate pair, which a site's message may hold, becomes \udXXX: JSON again
        self._write((json.dumps(line, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace"))

    def _write(self, line: bytes) -> None:
        try:
            fault = None if self._file.write(line) == len(line) else "the disk is full"
        except OSError as error:
            fault = error.strerror
        if fault is not None:
            raise StoreError(
                f"{self._path} cannot be written: {fault}. What is committed stays: make room or mend the disk, then run "
                "the same command with --resume"
            )

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def events(folder: Path) -> Iterator[dict[str, Any]]:
    """What the journal of a run folder tells; without a line that a killed run left half written."""
    for line in (folder / NAME).read_bytes().splitlines(keepends=True):
        if line.endswith(b"\n"):
            with suppress(ValueError):
                yield json.loads(line)


def _is_cut_off(file: FileIO) -> bool:
    """Whether the last line lacks its end, as a kill or a full disk may leave it."""
    if file.seek(0, os.SEEK_END) == 0:
        return False
    file.seek(-1, os.SEEK_END)
    return file.read(1) != b"\n"
