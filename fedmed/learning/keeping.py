"""What a site keeps of its training from round to round, and never sends.

A round may be asked twice: after a crash, or where its first attempt missed the quorum. So a round begins from what was kept
before it, and what was kept in earlier rounds stays for as many as a center may fall back by.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from fedmed.wire.tensors import Tensors

LOCAL, CONTROL, PERSONAL = "local/", "control/", "personal/"
"""What names of kept tensors begin with: the site's own part of the model, its control variate, and its own model."""

EARLIER = 3
"""Rounds that stay beside the newest: as many as there are commits (`store.commits.KEEP`)."""


class Shelf(Protocol):
    """Holds tensors by round and name, as `after` makes them."""

    def held(self) -> Tensors:
        """All that is kept; empty where nothing is. Raises StoreError where it is damaged."""

    def keep(self, tensors: Tensors) -> None:
        """Keep this instead; it is read before this returns. Raises StoreError."""


class Nothing:
    """A shelf of a site that keeps nothing."""

    def held(self) -> Tensors:
        """Nothing."""
        return {}

    def keep(self, tensors: Tensors) -> None:
        """Forget it."""


NOTHING = Nothing()


def before(held: Tensors, number: int) -> Tensors:
    """What round `number` begins from: kept in the newest round before it, by name."""
    newest = max((each for each in _rounds(held) if each < number), default=None)
    return {} if newest is None else below(f"{newest}/", held)


def after(held: Tensors, number: int, kept: Tensors) -> Tensors:
    """What is held once round `number` has kept something: that, and what was kept in earlier rounds."""
    old = sorted(each for each in _rounds(held) if each < number)[-EARLIER:]
    those = {name: value for name, value in held.items() if int(name.split("/", 1)[0]) in old}
    return {**those, **under(f"{number}/", kept)}


def below(prefix: str, tensors: Tensors) -> Tensors:
    """The tensors whose names begin with `prefix`, without it."""
    return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}


def under(prefix: str, tensors: Tensors) -> Tensors:
    """The tensors, their names beginning with `prefix`."""
    return {prefix + name: value for name, value in tensors.items()}


def _rounds(held: Iterable[str]) -> set[int]:
    return {int(name.split("/", 1)[0]) for name in held}
