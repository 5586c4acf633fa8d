"""Bars on standard error for whatever takes more than two seconds; a line or two where there is no terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

Item = TypeVar("Item")


def columns() -> tuple[ProgressColumn, ...]:
    """What every bar shows: what is done, how much of it, since when, and how long it will take."""
    left = TextColumn("left"), TimeRemainingColumn()
    return TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), *left


def counted(what: str, items: Iterable[Item], total: int) -> Iterator[Item]:
    """Passes items on, with a bar on a terminal, and a line a tenth elsewhere."""
    console = Console(stderr=True)
    if not console.is_terminal:
        step = max(total // 10, 1)
        for done, item in enumerate(items, 1):
            yield item
            if done % step == 0:
                sys.stderr.write(f"{what}: {done} of {total} files\n")
        return
    with Progress(*columns(), console=console) as bar:
        task = bar.add_task(what, total=total)
        for item in items:
            yield item
            bar.advance(task)


class Bar:
    """Progress on standard error: a bar with the time left on a terminal, a line or two a phase elsewhere."""

    def __init__(self, unit: str = "files") -> None:
        """`unit`: what is counted."""
        self._unit = unit
        console = Console(stderr=True)
        self._terminal = console.is_terminal
        self._bars = Progress(
            *columns(),
            console=console,
            disable=not self._terminal,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Bar:
        self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bars.stop()

    def __call__(self, what: str, done: int, total: int | None) -> None:
        """`done` of `total` are through the phase `what`; a total of None is known only at its end."""
        if what not in self._tasks:
            self._tasks[what] = self._bars.add_task(what, total=total)
            if total is None and not self._terminal:
                sys.stderr.write(f"{what} ...\n")
        self._bars.update(self._tasks[what], completed=done, total=total)
        if done == total and not self._terminal:
            sys.stderr.write(f"{what}: {total} {self._unit}\n")
