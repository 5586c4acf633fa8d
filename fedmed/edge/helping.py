"""A device that looks at others' images while none of its own waits: asked by its hub, answered to its hub.

It asks for work only while the hub's heartbeats say that there is some. What it was given and has not begun goes back as
soon as an image of its own comes; one that is under way ends first, which takes as long as one image. An input is held
against the shape on the package's card before it is run; nothing of another device's image is kept, and none of it is
evidence for the release here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from fedmed.edge.looking import Model
from fedmed.edge.preparing import values_of
from fedmed.errors import DataError, EngineFailed, FedmedError, ProtocolRefused
from fedmed.hub.borrowing import Order

SOON_S, READY_S, REST_S = 0.05, 0.25, 1.0
"""Until it asks again: after work, while the hub may have some at any moment, and otherwise."""


class Works(Protocol):
    """`fedmed.hub.borrowing.Borrowing`. All of it raises FedmedError."""

    def work(self, runs: Sequence[Order], waits: int) -> tuple[bool, list[Order]]:
        """What is to be done."""

    def input(self, order: Order) -> bytes:
        """What to look at."""

    def done(self, order: Order, logits: bytes, precision: str) -> bool:
        """What was seen; whether it counts."""

    def not_done(self, order: Order, outcome: str, why: str) -> None:
        """It `failed`, or is `given-back`."""


class Helping:
    """For one thread."""

    def __init__(
        self,
        line: Works,
        lent: Callable[[str], Model | None],
        is_wanted: Callable[[], bool],
        heard: Callable[[bool], None],
        waits: Callable[[], int],
        say: Callable[[str], None],
    ) -> None:
        """`lent`: `Released.lent`; `is_wanted`: whether the hub has work and this device takes any; `heard` is told what the
        hub says of that; `waits`: images of its own.
        """
        self._line, self._lent, self._is_wanted, self._heard, self._waits = line, lent, is_wanted, heard, waits
        self._say, self._said, self._runs = say, "", list[Order]()
        self.count = 0
        """Images of others that were looked at, and counted."""

    def keep(self, stop: threading.Event) -> None:
        """Until `stop` is set."""
        while not stop.wait(self.turn()):
            pass

    def turn(self) -> float:
        """Do what is to be done now; seconds until the next time."""
        if not self._is_wanted():
            self._runs.clear()
            return REST_S
        try:
            self._heard_of(*self._line.work(self._runs, self._waits()))
            count = len(self._runs)
            while self._runs:
                self._one(self._runs[0])
                del self._runs[0]
            self._said = ""
        except FedmedError as error:  # what was given is asked for again, or goes elsewhere after its time
            if str(error) != self._said:
                self._say(f"it cannot look at others' images: {error}")
            self._said = str(error)
            return REST_S
        return SOON_S if count else READY_S

    def _heard_of(self, is_wanted: bool, orders: Sequence[Order]) -> None:
        self._heard(is_wanted)
        ended = {(each.task, each.attempt) for each in orders if each.do != "start"}
        for each in orders:
            if each.do == "yield":
                self._line.not_done(each, "given-back", "as the hub asked")
        held = {(each.task, each.attempt) for each in self._runs}
        self._runs = [each for each in self._runs if (each.task, each.attempt) not in ended]
        self._runs += [each for each in orders if each.do == "start" and (each.task, each.attempt) not in held]

    def _one(self, order: Order) -> None:
        if self._waits():
            self._line.not_done(order, "given-back", "images of its own wait")
            return
        try:
            model = self._lent(order.package)
            if model is None:
                raise EngineFailed("another package is open here by now")
            x = values_of(self._line.input(order), model.card.inputs)
            logits = np.asarray(model.run(x), "<f4")
        except ProtocolRefused:  # it is another's by now
            return
        except (EngineFailed, DataError) as error:
            self._line.not_done(order, "failed", str(error))
            return
        self.count += self._line.done(order, logits.tobytes(), model.precision)
