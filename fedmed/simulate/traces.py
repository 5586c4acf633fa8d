"""The trace of a run in virtual time: what befell which message when, one canonical JSON line each.

The same scenario and seed give the same lines, byte for byte, on however many processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from fedmed.errors import StoreError
from fedmed.flower.happenings import Happening
from fedmed.flower.inprocess import FIRST_NODE
from fedmed.wire.canonical import canonical

NAME = "trace.jsonl"
DIGITS = 6
"""Of the seconds, behind the point."""


class Trace:
    """Appends to `trace.jsonl` of a run folder; a run that is taken up again goes on in it."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        """`names` of the sites, by their number."""
        self._path, self._names = folder / NAME, names
        self._file = self._path.open("ab")

    def tell(self, happening: Happening) -> None:
        """Write one line. Raises StoreError where the disk refuses."""
        line: dict[str, object] = {
            "at": round(happening.at, DIGITS),
            "who": self._names[happening.node - FIRST_NODE],
            "what": happening.what,
            "kind": happening.kind,
        }
        if happening.bytes:
            line["bytes"] = happening.bytes
        if happening.why:
            line["why"] = happening.why
        try:
            self._file.write(canonical(line) + b"\n")
        except OSError as error:
            raise StoreError(f"{self._path} cannot be written: {error.strerror}; make room or mend the disk") from error

    def __enter__(self) -> Trace:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()
