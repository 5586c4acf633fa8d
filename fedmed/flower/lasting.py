"""Sending that outlives the process: every message is in writing before it goes, every answer stays until it was used.

What is in writing and what of it was gone through is the course's to know (`fedmed.federation.course`); this is how
messages and answers of a `DirectGrid` go by it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from flwr.app import Message

from fedmed.errors import CourseLost
from fedmed.flower.direct import DirectGrid
from fedmed.flower.parcels import Parcel

Value = TypeVar("Value", int, list[int])


@dataclass(frozen=True)
class Letter:
    """What is in writing of a message."""

    id: str
    node: int
    content: str
    """Flower's digest of all that it holds; the same content has the same one in every process."""


class Course(Protocol):
    """See `fedmed.federation.course.Course`."""

    waited_s: float

    @property
    def named(self) -> set[str]:
        """Ids of all messages in it."""

    @property
    def steps_left(self) -> int:
        """What is still to be gone through."""

    def take_up(self, after: int) -> bool:
        """Whether it goes on from this commit."""

    def begin(self, after: int) -> None:
        """A new one."""

    def draw(self, name: str, make: Callable[[], Value]) -> Value:
        """What was drawn, or what `make` draws."""

    def asks(self, letters: Sequence[Letter]) -> tuple[list[Letter], bool]:
        """What goes out, and whether it went out before."""

    def instead(self, others: dict[str, str]) -> None:
        """Letters that never went out go as others."""

    def to_hear(self) -> list[str] | None:
        """What is to be read again, in its order; None where all that comes is heard."""

    def hear(self, message_id: str) -> None:
        """An answer was read."""

    def close(self, is_urgent: bool) -> None:
        """Nothing more is heard."""

    def show_life(self) -> None:
        """The process lives."""


class Lasting:
    """Messages of one run that a later process goes on with."""

    def __init__(self, grid: DirectGrid, course: Course) -> None:
        self.course, self._grid = course, grid

    def take_up(self, after: int) -> bool:
        """Whether the process may go on from the commit of round `after`; what the course does not name is deleted."""
        goes_on = self.course.take_up(after)
        self._grid.clear(self.course.named)
        return goes_on

    def send(self, messages: list[Message]) -> list[str]:
        """Ids of the messages, of those that an earlier process sent in their place; what never went out goes now."""
        parcels = list(self._grid.packed(messages))
        letters, is_known = self.course.asks([letter_of(parcel) for parcel in parcels])
        if not is_known:
            return self._grid.lay_out(parcels)
        if self.course.to_hear() is None:
            letters = self._mended(letters, parcels)
        self._grid.expect({letter.id: letter.node for letter in letters})
        return [letter.id for letter in letters]

    def _mended(self, letters: list[Letter], parcels: list[Parcel]) -> list[Letter]:
        """What the earlier process had in writing and did not get out whole goes now, under the ids of now."""
        others = {old.id: new for old, new in zip(letters, parcels, strict=True) if not self._grid.has(old.id)}
        if not others:
            return letters
        self.course.instead({old: new.id for old, new in others.items()})
        self._grid.take_back(others)
        self._grid.lay_out(list(others.values()))
        return [letter_of(others[each.id]) if each.id in others else each for each in letters]

    def receive(self, ids: list[str], wait_s: float) -> Iterator[Message]:
        """Answers that are there, else those that come within `wait_s` seconds; of a waiting that had ended, its own.

        Raises CourseLost where one of those is gone.
        """
        again = self.course.to_hear()
        found = 0
        for message in self._grid.borrow_messages(ids if again is None else again):
            found += 1
            self.course.hear(message.metadata.reply_to_message_id)
            yield message
        if again is not None and found < len(again):
            raise CourseLost(f"{len(again) - found} answers that were taken are gone; the round begins anew")
        self.course.show_life()
        if again is None and not found:
            self._grid.wait(wait_s)

    def again(self, message_id: str) -> Message:
        """An answer that was read before. Raises CourseLost where it is gone."""
        message = self._grid.again(message_id)
        if message is None or message.has_error():
            raise CourseLost("an answer that was taken is gone; the round begins anew")
        return message

    def close(self, pending: Iterable[str]) -> None:
        """Wait for these no more."""
        pending, is_known = list(pending), self.course.to_hear() is not None
        self.course.close(is_urgent=bool(pending))
        if not is_known:  # else what came late was heard of later, and is there to be heard again
            self._grid.cancel(pending)

    def committed(self, number: int) -> None:
        """The round's commit is on the disk: its messages and answers go."""
        asked = self.course.named
        self.course.begin(number)
        self._grid.settle(asked)


def letter_of(parcel: Parcel) -> Letter:
    """What is written down of a parcel."""
    content = parcel.tree.children[0].object_id if parcel.tree.children else ""
    return Letter(parcel.id, int(parcel.head.metadata.dst_node_id), str(content))
