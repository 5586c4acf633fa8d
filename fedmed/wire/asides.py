"""What an app says to its own clinic beside its answer: figures of the model on the clinic's own test cases. Never sent.

Where nobody listens, as in a simulation, nothing is worked out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from typing import Any

MOST, MOST_FIGURES = 8, 16
"""Asides of one answer, and figures of each."""
_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")


@dataclass(frozen=True)
class Aside:
    """One global model, as one clinic sees it."""

    round: int
    """After so many rounds; 0 is what the run began with."""
    cases: int
    """Test cases of the clinic."""
    figures: Mapping[str, float | None]
    """By name, the one that matters first; None where it is undefined."""

    def as_json(self) -> dict[str, Any]:
        """For a line, and for programs."""
        return asdict(self)


def read(said: Any) -> Aside:
    """What `as_json` gave. Raises ValueError for anything else."""
    if not isinstance(said, dict) or said.keys() != {"round", "cases", "figures"}:
        raise ValueError("no aside")
    figures = said["figures"]
    whole = all(type(said[key]) is int and 0 <= said[key] < 2**53 for key in ("round", "cases"))
    fine = whole and isinstance(figures, dict) and 0 < len(figures) <= MOST_FIGURES and all(map(_NAME.fullmatch, figures))
    if not fine or not all(
        each is None or (type(each) in (int, float) and math.isfinite(each)) for each in figures.values()
    ):
        raise ValueError("no aside")
    return Aside(
        said["round"], said["cases"], {name: None if each is None else float(each) for name, each in figures.items()}
    )


_listener: ContextVar[Callable[[Aside], None] | None] = ContextVar("listener", default=None)


def is_heard() -> bool:
    """Whether anybody listens."""
    return _listener.get() is not None


def say(aside: Aside) -> None:
    """Tell whoever listens."""
    listener = _listener.get()
    if listener is not None:
        listener(aside)


@contextmanager
def heard_by(listener: Callable[[Aside], None]) -> Iterator[None]:
    """Within, `listener` is told."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)
