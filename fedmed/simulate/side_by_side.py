"""Runs of a sweep, each a process of its own, so many at a time; they end with this one, however it ends."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

from fedmed.simulate.folder import RunFolder
from fedmed.simulate.sweep import Point

LOG, RUN = "log.txt", "run"
MOST_FAULT = 300  # characters of what a run said last
TIED = "fedmed.simulate.tied"

Arguments = Callable[[Point, Path, bool], Sequence[str]]
"""Of the command `fedmed` for a run in a folder, and whether it goes on there."""


class SideBySide:
    """Processes in folders below `base`; what each said is in its `log.txt`."""

    def __init__(self, base: Path, jobs: int, arguments: Arguments) -> None:
        self._base, self._jobs, self._arguments = base, jobs, arguments
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> SideBySide:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for child in self._running.values():
            child.terminate()
        for child in self._running.values():
            child.wait()

    def __len__(self) -> int:
        return len(self._running)

    @property
    def is_full(self) -> bool:
        """Whether as many run as may."""
        return len(self._running) >= self._jobs

    def folder(self, point: Point) -> Path:
        """Of its run."""
        return self._base / point.name / RUN

    def start(self, point: Point) -> None:
        """Begin it, or go on with it from its last commit. What a start left that never got so far is removed."""
        folder = self.folder(point)
        goes_on = folder.exists() and RunFolder(folder).has_commits
        if not goes_on:
            shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "fedmed", *self._arguments(point, folder, goes_on)]
        with (folder.parent / LOG).open("wb") as log:
            self._running[point.name] = subprocess.Popen(
                [sys.executable, "-m", TIED, str(os.getpid()), *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def ended(self) -> dict[str, str | None]:
        """Those that have ended since it was asked last: why one failed, in its own last words; None where it did not."""
        over = {name: child.returncode for name, child in self._running.items() if child.poll() is not None}
        for name in over:
            del self._running[name]
        return {name: self._last_words(name) if code else None for name, code in over.items()}

    def _last_words(self, name: str) -> str:
        said = (self._base / name / LOG).read_text(encoding="utf-8", errors="replace").strip()
        return said.splitlines()[-1][:MOST_FAULT] if said else "it ended without a word"
