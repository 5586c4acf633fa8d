"""Images that this device cannot look at itself: prepared here, looked at by another machine of the clinic, told from here.

What leaves the device is the model's input and the digest of its package; no file, no name, no number of a patient. The
image stays in the spool until its result is there, so that a hub or a helper that dies costs time alone.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from fedmed.clock import Clock
from fedmed.edge.looking import Answered, Model
from fedmed.edge.preparing import Prepared, values_of
from fedmed.errors import DataError, EngineFailed, FedmedError, ProtocolRefused, Unreachable
from fedmed.hub.borrowing import Question, Stand
from fedmed.hub.looks import MOST_OPEN, MOST_TENSOR

AT_ONCE = MOST_OPEN
FIRST_POLL_S, LONGEST_POLL_S = 0.05, 0.25
NOWHERE_S = 20.0
"""An image that finds no place for so long goes back into the spool, and is asked for again later."""
MOST_REFUSED = 3
"""Answers that are none, of one look."""
LONGEST_S = 180.0
"""Within which the work of a node that died has gone on elsewhere."""


class Asks(Protocol):
    """`fedmed.hub.borrowing.Borrowing`."""

    def ask(self, question: Question) -> Stand:
        """Where a look stands, its answer whole once it is done. Raises FedmedError."""

    def unask(self, question: Question, is_refused: bool = False) -> None:
        """It is not wanted any more, or not this answer. Raises FedmedError."""


@dataclass
class Elsewhere:
    """For one thread; `told` may be read from any."""

    line: Asks
    clock: Clock
    stop: threading.Event
    """Set when the agent is to end."""
    told: dict[str, int] = field(default_factory=dict)
    """Images that were looked at elsewhere, by where."""

    def begin(self, model: Model, prepared: Prepared) -> Question:
        """Ask for one look. Raises FedmedError; Unreachable for what is too large to be asked for."""
        question = Question(model.card.digest, prepared.values.astype("<f4", copy=False).tobytes())
        if len(question.content) > MOST_TENSOR:
            raise Unreachable(f"an input of {len(question.content)} bytes; {MOST_TENSOR} are looked at elsewhere at most")
        self._ask(question)
        return question

    def end(self, model: Model, prepared: Prepared, question: Question) -> Answered:
        """Wait for an answer. Raises Unreachable where there is none in time, EngineFailed for one that none can be."""
        why = ""
        for _ in range(MOST_REFUSED):
            stand = self._awaited(question)
            try:
                logits = values_of(bytes(question.answer), model.card.outputs)
            except DataError as error:
                why = f"{stand.by} answers with {error}"
                with _image_is_sound():
                    self.line.unask(question, is_refused=True)
                continue
            self.told = {**self.told, stand.by: self.told.get(stand.by, 0) + 1}
            return Answered(prepared, logits, stand.by, stand.precision)
        raise EngineFailed(f"nobody answers an image with what an answer can be: {why}")

    def forget(self, questions: Sequence[Question]) -> None:
        """These are not wanted any more, or are answered; a hub that does not hear it forgets them by itself."""
        for question in questions:
            try:
                self.line.unask(question)
            except FedmedError:
                return

    def _awaited(self, question: Question) -> Stand:
        began = placed = self.clock.now()
        poll = FIRST_POLL_S
        while True:
            stand = self._ask(question)
            now = self.clock.now()
            if stand.state == "done":
                return stand
            if stand.state == "running":
                placed = now
            if stand.state == "failed" or now - placed > NOWHERE_S or now - began > LONGEST_S:
                raise Unreachable(f"no other machine of the clinic looks at it: {stand.why or stand.by}")
            if self.stop.wait(poll):
                raise Unreachable("the agent ends; the image is looked at by its next process")
            poll = min(2 * poll, LONGEST_POLL_S)

    def _ask(self, question: Question) -> Stand:
        with _image_is_sound():
            return self.line.ask(question)


@contextmanager
def _image_is_sound() -> Iterator[None]:
    """Whatever the hub makes of a question, the image waits for a better time and is not set aside."""
    try:
        yield
    except ProtocolRefused as error:
        raise Unreachable(f"the hub does not place it: {error}") from error
