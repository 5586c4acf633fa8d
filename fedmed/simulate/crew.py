"""Jobs done side by side in a few processes of one thread each, which end at once when their owner stops or is killed."""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from fedmed.flower.orphans import end_with_owner

Work = Callable[[Any], str | None]
"""Does one job; returns what went wrong, as text that any process can carry."""


@dataclass(frozen=True)
class Hand:
    """One process and the pipe through which it is given jobs."""

    process: BaseProcess
    connection: Connection

    def hear(self) -> str | None:
        """What went wrong with the job that ended here, the end of the process included."""
        try:
            return self.connection.recv_bytes().decode() or None
        except (EOFError, ConnectionError):
            self.process.join()
            return f"its process ended with exit code {self.process.exitcode}"


def do_all(work: Work, jobs: Sequence[Any], hands: int) -> Iterator[tuple[Any, str | None]]:
    """Each job with what went wrong, as they end; jobs are begun in their order, and none after the first fault."""
    waiting, busy = list(reversed(jobs)), dict[Connection, tuple[Hand, Any]]()
    with _crew(work, min(max(1, hands), len(jobs))) as idle:
        while waiting or busy:
            while waiting and idle:
                hand, job = idle.pop(), waiting.pop()
                hand.connection.send(job)
                busy[hand.connection] = (hand, job)
            for connection in wait(list(busy)):
                hand, job = busy.pop(connection)  # type: ignore[call-overload]
                fault = hand.hear()
                idle.append(hand)
                yield job, fault
                if fault is not None:
                    return


class InTurn:
    """Tells of jobs that are done in the order in which they were listed, whichever ends first."""

    def __init__(self, names: Sequence[str], tell: Callable[[str], None]) -> None:
        self._waiting, self._tell = deque(names), tell
        self._done: set[str] = set()

    def done(self, name: str) -> None:
        """One is done: tell of it, and of those behind it, once all before it are."""
        self._done.add(name)
        while self._waiting and self._waiting[0] in self._done:
            self._tell(self._waiting.popleft())


@contextmanager
def _crew(work: Work, count: int) -> Iterator[list[Hand]]:
    context = multiprocessing.get_context("forkserver")
    crew: list[Hand] = []
    try:
        for _ in range(count):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, work), daemon=True, name="fedmed-model")
            process.start()
            theirs.close()
            crew.append(Hand(process, ours))
        yield list(crew)
    finally:
        for hand in crew:
            hand.process.kill()
            hand.process.join()
            hand.connection.close()


def _serve(connection: Connection, work: Work) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_owner(lambda: None)
    with suppress(EOFError, ConnectionError):
        while True:
            connection.send_bytes((work(connection.recv()) or "").encode("utf-8", "backslashreplace"))
