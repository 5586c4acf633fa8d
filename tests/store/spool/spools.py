"""Spools for tests: a clock that a test sets, a note of what was dropped, and a crash without a process of its own."""

from __future__ import annotations

import shutil
from pathlib import Path

from fedmed.store.spool.entry import Entry, New
from fedmed.store.spool.quota import Quota
from fedmed.store.spool.spool import Spool

START = 1_800_000_000.0
KEY = bytes(range(32))
SMALL = Quota(bytes=1 << 30, ballast=0)


class Clock:
    def __init__(self, time: float = START) -> None:
        self.time = time

    def now(self) -> float:
        return self.time

    def unix(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds


class Told:
    """Notes what went."""

    def __init__(self) -> None:
        self.drops: list[tuple[Entry, str]] = []

    def __call__(self, entry: Entry, reason: str) -> None:
        self.drops.append((entry, reason))

    @property
    def numbers(self) -> list[tuple[int, str]]:
        return [(entry.number, reason) for entry, reason in self.drops]


def opened(
    folder: Path, quota: Quota = SMALL, clock: Clock | None = None, told: Told | None = None, key: bytes | None = None
):
    return Spool(folder, clock or Clock(), quota, told or Told(), key)


def new(content: bytes | str, group: str = "g", kind: str = "instance", priority: int = 20, **facts: object) -> New:
    return New(kind, group, priority, facts, content.encode() if isinstance(content, str) else content)


def as_killed(folder: Path, to: Path) -> Path:
    """What is on the disk of a spool that is in use, as a kill of its process would leave it, in another folder."""
    shutil.copytree(folder, to)
    return to
