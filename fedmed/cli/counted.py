"""So many of so many, and how long the rest will take: a bar on a terminal, a line for each elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable
from time import monotonic
from types import TracebackType

from rich.console import Console
from rich.progress import Progress

from fedmed.cli.bars import columns
from fedmed.report.formats import duration


class Countdown:
    """Of things that take minutes each, so that each is worth a line."""

    def __init__(self, what: str, done: int, total: int, now: Callable[[], float] = monotonic) -> None:
        """`done` were done before this began."""
        self._what, self._first, self._done, self._total = what, done, done, total
        self._now, self._began = now, now()
        console = Console(stderr=True)
        self._terminal = console.is_terminal
        self._bars = Progress(*columns(), console=console, disable=not self._terminal)
        self._task = self._bars.add_task(what, total=total, completed=done)

    def __enter__(self) -> Countdown:
        self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bars.stop()

    @property
    def left_s(self) -> float:
        """Seconds that the rest takes if it goes on so."""
        return (self._now() - self._began) / max(1, self._done - self._first) * (self._total - self._done)

    def ended(self, which: str) -> None:
        """One more is done."""
        self._done += 1
        self._bars.update(self._task, completed=self._done)
        if self._terminal:
            self._bars.console.print(which, highlight=False, markup=False, style="dim")
            return
        left = f", about {duration(self.left_s)} left" if self._done < self._total else ""
        sys.stderr.write(f"{self._done} of {self._total} {self._what}{left}: {which}\n")
        sys.stderr.flush()
