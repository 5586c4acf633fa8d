"""The trace of a run in virtual time: what befell which message when, one canonical JSON line each.

The same scenario and seed give the same lines, byte for byte, on however many processes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from fedmed.errors import StoreError
from fedmed.flower.happenings import Happening
from fedmed.flower.inprocess import FIRST_NODE
from fedmed.twin.trace import lines

NAME = "trace.jsonl"
JOURNAL_S = 0.001
"""How exactly a journal tells the moment of a commit."""


class Trace:
    """Appends to `trace.jsonl` of a run folder."""

    def __init__(self, folder: Path, names: Sequence[str], since: float = 0.0) -> None:
        """`names` of the sites, by their number. A run that is taken up again goes on `since` its last commit; what was
        sent then, and all that came later, goes.
        """
        self._path, self._names = folder / NAME, names
        before = self._path.read_bytes().splitlines(keepends=True) if since > 0 and self._path.exists() else []
        self._file = self._path.open("wb", buffering=0)  # nothing is left over to be written when it is closed
        self._say = lines(self._write)
        self._write(b"".join(line for line in before if line.endswith(b"\n") and _is_before(json.loads(line), since)))

    def tell(self, happening: Happening) -> None:
        """Write one line. Raises StoreError where the disk refuses."""
        about = {"who": self._names[happening.node - FIRST_NODE], "kind": happening.kind}
        size = {"bytes": happening.bytes} if happening.bytes else {}
        why = {"why": happening.why} if happening.why else {}
        self._say(happening.at, happening.what, {**about, **size, **why, **self._folded(happening)})

    def _folded(self, happening: Happening) -> dict[str, object]:
        if happening.what != "folded":
            return {}
        missing = {self._names[node - FIRST_NODE]: why for node, why in happening.missing.items()}
        return {"devices": [self._names[number] for number in happening.joined], "missing": missing}

    def _write(self, said: bytes) -> None:
        try:
            fault = None if self._file.write(said) == len(said) else "the disk is full"
        except OSError as error:
            fault = error.strerror
        if fault is not None:
            raise StoreError(f"{self._path} cannot be written: {fault}; make room or mend the disk")

    def __enter__(self) -> Trace:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()


def _is_before(line: dict[str, object], since: float) -> bool:
    """Whether a line is of what led to the commit at `since`: what was sent at that very moment was sent after it."""
    at = float(str(line["at"]))
    return at <= since + JOURNAL_S and (line["event"] != "sent" or at < since - JOURNAL_S)
