"""What the staff adds to a proposal; apart from the drafting, which builds the network and loads torch for it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fedmed.errors import ConfigError
from fedmed.identity.approval import RANGED


@dataclass(frozen=True)
class Terms:
    """What the staff adds to a proposal."""

    days: int = 90
    ranges: tuple[tuple[str, float, float], ...] = ()
    any_wheels: bool = False


def read_ranges(said: Iterable[str]) -> tuple[tuple[str, float, float], ...]:
    """`KEY=NUMBER` or `KEY=FROM..TO` as keys of training with two numbers. Raises ConfigError."""
    found = []
    for text in said:
        key, mark, value = text.partition("=")
        key, (low, dots, high) = key.removeprefix("training."), value.partition("..")
        try:
            bounds = (float(low), float(high if dots else low))
        except ValueError:
            bounds = (1.0, 0.0)
        if not mark or key not in RANGED or not bounds[0] <= bounds[1]:
            raise ConfigError(f"--allow {text}; write KEY=FROM..TO, with one of {', '.join(RANGED)}")
        found.append((key, *bounds))
    return tuple(found)
