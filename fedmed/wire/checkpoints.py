"""How far long work has come, kept by whoever has it done: the one who works offers it, and finds it when he begins again.

What is kept is JSON and tensors, never a pickle. Where nobody keeps anything, work goes on without.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol

from fedmed.wire.tensors import Tensors


@dataclass(frozen=True)
class Checkpoint:
    """How far a piece of work had come."""

    text: str
    """JSON, of whoever does the work."""
    tensors: Tensors


class Keeper(Protocol):
    """Keeps the newest checkpoint of one task; only the same task finds it again."""

    def found(self) -> Checkpoint | None:
        """That of an earlier try at this work; asked for once, before the work begins."""

    def is_due(self) -> bool:
        """Whether it is time for another one."""

    def keep(self, checkpoint: Checkpoint) -> None:
        """Take this one in place of the one before; its tensors are read before this returns."""


_keeper: ContextVar[Keeper | None] = ContextVar("keeper", default=None)


def keeper() -> Keeper | None:
    """Who keeps checkpoints of what is done here; None where nobody does."""
    return _keeper.get()


@contextmanager
def unkept() -> Iterator[None]:
    """Within, nobody keeps checkpoints."""
    token = _keeper.set(None)
    try:
        yield
    finally:
        _keeper.reset(token)


@contextmanager
def kept_by(one: Keeper) -> Iterator[None]:
    """Within, `one` keeps checkpoints."""
    token = _keeper.set(one)
    try:
        yield
    finally:
        _keeper.reset(token)
