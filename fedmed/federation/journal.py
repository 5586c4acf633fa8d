"""The run's journal: one JSON object a line, in the order of events, read by whoever watches."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TextIO

from fedmed.clock import Clock

NAME = "journal.jsonl"


class Journal:
    """Appends events to `journal.jsonl` of a run folder."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._clock = clock
        self._file: TextIO = (folder / NAME).open("a", encoding="utf-8")

    def say(self, event: str, **details: Any) -> None:
        """Write one event now."""
        line = {"event": event, "unix": round(self._clock.unix(), 3), **details}
        self._file.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
