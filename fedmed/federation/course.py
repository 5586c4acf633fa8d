"""The course of the round under way, on disk: what was asked, what was heard, what was drawn, each before it matters.

After a crash the round loop begins the round again from the last commit and goes through all that is written here: what
went out is not sent again, an answer that was heard is read again in its order, and whoever was not heard when the waiting
ended stays unheard. So the loop says again, to the byte, what it has said; a survivor set that was announced is the one
there is. At the last question it goes on waiting, for the time that was left.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from fedmed.clock import Clock
from fedmed.errors import CourseLost, StoreError
from fedmed.flower.lasting import Letter
from fedmed.store.disk import Disk, replace_file
from fedmed.wire.canonical import canonical

NAME = "course.jsonl"
SIGN_OF_LIFE_S = 1.0
Value = TypeVar("Value", int, list[int])
Entry = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """Messages that went out together."""

    letters: tuple[Letter, ...]
    unix: float
    """When they went, or when waiting for them began again."""
    waited_s: float = 0.0
    """What was waited before that."""
    heard: tuple[str, ...] | None = None
    """Ids of those whose answers were taken, in their order; None while they are waited for."""


@dataclass(frozen=True)
class Drawn:
    """What the loop took from outside: a number made of the time, who was there."""

    name: str
    value: Any


@dataclass(frozen=True)
class Told:
    """All that is written."""

    after: int
    """The round whose commit the course goes on from; 0 before the first."""
    is_anew: bool = False
    """Whether the sites were asked who they are again, in place of what that commit knows of them."""
    steps: tuple[Asked | Drawn, ...] = ()

    def named(self) -> set[str]:
        """Ids of all messages."""
        return {letter.id for step in self.steps if isinstance(step, Asked) for letter in step.letters}


def read(lines: Iterable[bytes]) -> Told:
    """What whole lines tell. Raises ValueError, LookupError or TypeError for what was never written."""
    told: Told | None = None
    for line in lines:
        entry = json.loads(line)
        told = Told(int(entry["after"]), bool(entry["anew"])) if told is None else _with(told, entry)
    if told is None:
        raise ValueError("no line")
    return told


def _with(told: Told, entry: Entry) -> Told:
    if "drawn" in entry:
        return replace(told, steps=(*told.steps, Drawn(entry["drawn"], entry["value"])))
    if "asked" in entry:
        letters = tuple(Letter(str(a), int(b), str(c)) for a, b, c in entry["asked"])
        return replace(told, steps=(*told.steps, Asked(letters, float(entry["unix"]))))
    *before, last = told.steps
    if not isinstance(last, Asked) or last.heard is not None:
        raise ValueError(f"{sorted(entry)} where nothing is waited for")
    if "heard" in entry:
        return replace(told, steps=(*before, replace(last, heard=tuple(map(str, entry["heard"])))))
    others = entry["instead"]
    letters = tuple(replace(each, id=others.get(each.id, each.id)) for each in last.letters)
    again = replace(last, letters=letters, unix=float(entry["again"]), waited_s=float(entry["waited"]))
    return replace(told, steps=(*before, again))


class Course:
    """The course of one run folder. Every method raises StoreError where the disk refuses."""

    def __init__(self, folder: Path, clock: Clock, disk: Disk | None = None) -> None:
        """Nothing is touched before `take_up`."""
        self._path, self._clock, self._disk = folder / NAME, clock, disk or Disk()
        self._told = Told(0)
        self._place = 0
        self._size = 0
        self._late: list[bytes] = []
        self._heard: list[str] = []
        self._seen = -math.inf
        self.waited_s = 0.0

    @property
    def named(self) -> set[str]:
        """Ids of all messages that the course tells of."""
        return self._told.named()

    def take_up(self, after: int) -> bool:
        """Whether the sites and the epoch are those of the last commit; a course that goes on from it is gone through.

        Where there is no course, or one of a later commit (which cannot be read), all is asked anew.
        """
        found, last_sign = self._read()
        if found is None or found.after != after:
            goes_on = found is not None and found.after < after  # that commit came after all of it
            self.begin(after, not goes_on)
            return goes_on
        self._told, self._place, self._seen = found, 0, -math.inf
        last = found.steps[-1] if found.steps else None
        if isinstance(last, Asked) and last.heard is None:
            waited = last.waited_s + max(0.0, last_sign - last.unix)
            self._change({"again": self._clock.unix(), "waited": waited, "instead": {}})
        return not found.is_anew

    def _read(self) -> tuple[Told | None, float]:
        """What is there, and when the process that wrote it was last alive (Unix seconds)."""
        try:
            content, sign = self._path.read_bytes(), self._path.stat().st_mtime
        except FileNotFoundError:
            return None, 0.0
        except OSError as error:
            raise StoreError(f"{self._path} cannot be read ({error.strerror}); mend the disk and start again") from error
        lines = [line for line in content.splitlines(keepends=True) if line.endswith(b"\n")]
        self._size = sum(map(len, lines))
        try:
            return read(lines), sign
        except (ValueError, LookupError, TypeError, AttributeError):
            return None, 0.0

    def begin(self, after: int, is_anew: bool = False) -> None:
        """A new course after the commit of round `after`."""
        content = canonical({"after": after, "anew": is_anew}) + b"\n"
        self._guarded(lambda: replace_file(self._disk, self._path, content))
        self._told, self._place, self._size, self._late = Told(after, is_anew), 0, len(content), []

    def give_up(self) -> None:
        """What was under way is not gone on with: the next start makes a new attempt, in a new epoch."""
        if self._path.exists():
            self._guarded(lambda: self._disk.remove(self._path))
            self._guarded(lambda: self._disk.sync_folder(self._path.parent))

    @property
    def steps_left(self) -> int:
        """Steps of an earlier process that were not gone through yet."""
        return len(self._told.steps) - self._place

    def draw(self, name: str, make: Callable[[], Value]) -> Value:
        """What was drawn under this name at this place, or what `make` draws."""
        if self.steps_left:
            step = self._next()
            if not isinstance(step, Drawn) or step.name != name:
                raise self._lost(f"{name} is drawn where something else was done")
            value: Value = step.value
            return value
        value = make()
        self._write({"drawn": name, "value": value})
        self._place += 1
        return value

    def asks(self, letters: Sequence[Letter]) -> tuple[list[Letter], bool]:
        """The letters that go out now, in writing; or those that went out in their place earlier, and True."""
        self._heard = []
        if not self.steps_left:
            self.waited_s = 0.0
            self._write({"asked": [[each.id, each.node, each.content] for each in letters], "unix": self._clock.unix()})
            return list(letters), False
        step = self._told.steps[self._place]
        if not isinstance(step, Asked) or [_what(each) for each in step.letters] != [_what(each) for each in letters]:
            raise self._lost("something else would be asked than was asked before")
        self.waited_s = step.waited_s if step.heard is None else math.inf
        return list(step.letters), True

    def instead(self, others: dict[str, str]) -> None:
        """Letters (old id to new) that never went out go now."""
        step = self._told.steps[self._place]
        assert isinstance(step, Asked)
        self._change({"again": step.unix, "waited": step.waited_s, "instead": others})

    def to_hear(self) -> list[str] | None:
        """Where the waiting had ended: ids of the answers that were taken and were not read again yet, in their order."""
        step = self._told.steps[self._place] if self.steps_left else None
        if not isinstance(step, Asked) or step.heard is None:
            return None
        return list(step.heard[len(self._heard) :])

    def hear(self, message_id: str) -> None:
        """An answer is taken, or refused, in any case read."""
        self._heard.append(message_id)

    def close(self, is_urgent: bool) -> None:
        """Nothing more is heard of what was asked last. It is on the disk before anything else is; at once if urgent."""
        if (to_hear := self.to_hear()) is None:
            self._write({"heard": self._heard}, at_once=is_urgent)
        elif to_hear:
            raise self._lost(f"{len(to_hear)} answers that were taken are not there any more")
        self._place += 1

    def show_life(self) -> None:
        """Note that the process lives, at most once a second: what is waited until a crash is known by it."""
        if self._clock.now() - self._seen >= SIGN_OF_LIFE_S:
            self._seen = self._clock.now()
            self._guarded(lambda: self._disk.date(self._path, self._clock.unix()))

    def _next(self) -> Asked | Drawn:
        self._place += 1
        return self._told.steps[self._place - 1]

    def _change(self, entry: Entry) -> None:
        """Write what changes the last step, which is still to be gone through."""
        place = self._place
        self._write(entry)
        self._place = place

    def _write(self, entry: Entry, at_once: bool = True) -> None:
        self._told = _with(self._told, entry)
        self._late.append(canonical(entry) + b"\n")
        if at_once:
            self._guarded(self._flush)

    def _flush(self) -> None:
        content, handle = b"".join(self._late), self._disk.reopen(self._path)
        try:
            self._disk.truncate(handle, self._size)
            self._disk.write(handle, content, self._size)
            self._disk.sync(handle)
        finally:
            self._disk.close(handle)
        self._size += len(content)
        self._late = []
        self._seen = -math.inf
        self.show_life()

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except OSError as error:
            raise StoreError(
                f"{self._path} cannot be written ({error.strerror or error}). What is committed stays, and the round under "
                "way: make room or mend the disk, then start again"
            ) from error

    def _lost(self, what: str) -> CourseLost:
        return CourseLost(
            f"round {self._told.after + 1} cannot be gone on with: {what}; it begins again from the last commit"
        )


def _what(letter: Letter) -> tuple[int, str]:
    return letter.node, letter.content
