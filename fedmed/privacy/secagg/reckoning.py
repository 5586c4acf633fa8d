"""Who does a member's reckoning: the member itself, or whoever plays many members in one process.

What is asked for is a pure function of bytes, so that a member cannot tell who reckoned. What a member decides, refuses,
draws and signs is never asked for here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

Result = TypeVar("Result")


class Reckon(Protocol):
    """Says what a pure function makes of its arguments."""

    def __call__(self, function: Callable[..., Result], /, *given: object) -> Result:
        """What `function(*given)` returns; raises what it raises."""


def alone(function: Callable[..., Result], /, *given: object) -> Result:
    """Each member does its own: that of every real role."""
    return function(*given)
