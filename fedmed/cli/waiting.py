"""What a command waits for, on standard error, once that takes longer than two seconds: since when, and how long at most."""

from __future__ import annotations

import threading
from types import TracebackType

from fedmed.cli.asking import Line
from fedmed.clock import Clock, SystemClock

SOON_S, TICK_S = 2.0, 1.0


class Waiting:
    """Called with what begins now, and the seconds after which it is given up; a thread of its own shows it."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock, self._line, self._over = clock or SystemClock(), Line(), threading.Event()
        self._what = ("", 0.0, 0.0)
        self._thread = threading.Thread(target=self._show, name="waiting", daemon=True)

    def __enter__(self) -> Waiting:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()
        self._line.end()

    def __call__(self, what: str, most_s: float) -> None:
        """`what` is waited for from now on."""
        self._what = (what, self._clock.now(), most_s)

    def _show(self) -> None:
        while not self._over.wait(TICK_S):
            what, since, most_s = self._what
            took = self._clock.now() - since
            if what and took >= SOON_S:
                self._line.show(f"{what}: {took:.0f} s so far, {max(0.0, most_s - took):.0f} s more at most", what)
