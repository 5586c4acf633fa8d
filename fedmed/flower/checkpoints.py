"""The checkpoint of the training that an app is at, on the clinic's disk: one file, until the order is answered.

It belongs to one order on one model: to whatever else is asked it is not given, and the next checkpoint takes its place. It
lies sealed under the clinic's key.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from flwr.app import Message

from fedmed.clock import Clock
from fedmed.errors import FedmedError
from fedmed.flower import sealed
from fedmed.flower.client import order_in, tensors_in
from fedmed.flower.resting import AtRest
from fedmed.identity.files import fill
from fedmed.wire.checkpoints import Checkpoint
from fedmed.wire.digest import digest_of

NAME = "training.checkpoint"
TRIES = 2
"""How often one is given out that leads to no other and no answer."""


class Checkpoints:
    """A folder with one file at most."""

    def __init__(self, folder: Path, rest: AtRest, every_s: float, clock: Clock, tell: Callable[[str], None]) -> None:
        """`every_s`: seconds between two that the app is to offer; one that comes in less than half of that is not kept."""
        self.every_s, self._path, self._clock, self._tell = every_s, folder / NAME, clock, tell
        self._rest = rest
        self._last, self._given = clock.now(), 0

    def find(self, message: Message) -> Checkpoint | None:
        """That of an earlier try at this order on this model; a damaged one, or one that led nowhere, is none."""
        self._last = self._clock.now()
        if not is_training(message) or not self._path.exists():
            return None
        if self._given >= TRIES:
            self.drop()
            return None
        try:
            head, tensors = sealed.opened(self._rest.read(NAME, self._path))
            told = json.loads(head)
            if told["key"] != key_of(message):
                return None
            self._given += 1
            return Checkpoint(str(told["text"]), tensors)
        except (OSError, ValueError, KeyError, TypeError, FedmedError) as error:
            self._tell(f"{self._path} is damaged ({type(error).__name__}); the training begins anew")
            self.drop()
            return None

    def keep(self, message: Message, checkpoint: Checkpoint) -> None:
        """Put it on the disk in place of the one before; staff is told where that fails, and the training goes on."""
        if not is_training(message) or self._clock.now() - self._last < self.every_s / 2:
            return
        try:
            head = json.dumps({"key": key_of(message), "text": checkpoint.text}).encode()
            fill(self._path, self._rest.closed(NAME, sealed.pieces(head, checkpoint.tensors)))
        except (OSError, ValueError, FedmedError) as error:
            self._tell(f"{self._path} cannot be written ({error}): a training that is broken off now would begin anew")
        self._last, self._given = self._clock.now(), 0

    def answered(self, message: Message) -> None:
        """The app has answered this; of a training, nothing is left to go on with."""
        if is_training(message):
            self.drop()

    def drop(self) -> None:
        """Remove what there is."""
        self._path.unlink(missing_ok=True)
        self._given = 0


def is_training(message: Message) -> bool:
    """Whether it asks for work that has checkpoints; questions come between two tries at that."""
    return message.metadata.message_type.split(".")[0] == "train"


def key_of(message: Message) -> str:
    """The order on the model. Raises ValueError for a message without an order, DataError."""
    return f"{message.metadata.message_type} {digest_of(order_in(message), tensors_in(message)).hex()}"
