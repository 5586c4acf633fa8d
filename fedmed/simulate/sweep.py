"""A design of experiments: every combination of some keys' values, each a run of its own, with as many seeds as wanted."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fedmed.errors import ConfigError

MOST_POINTS = 1000
OPENING, CLOSING, QUOTES = "[{", "]}", "\"'"
SEED = "seed"


@dataclass(frozen=True)
class Factor:
    """A key and the values that it takes."""

    key: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Point:
    """One combination."""

    name: str
    values: Mapping[str, str]

    @property
    def overrides(self) -> tuple[str, ...]:
        """As `--set` takes them."""
        return tuple(f"{key}={value}" for key, value in self.values.items())


def factor(text: str) -> Factor:
    """`key=a,b,c`; commas within brackets or quotes are part of a value. Raises ConfigError with what is allowed."""
    key, equals, rest = text.partition("=")
    values = _parted(rest)
    if not equals or not key.strip() or not all(values):
        raise ConfigError(f"--sweep: got {text!r}; allowed: KEY=A,B,... such as training.learning_rate=0.1,0.01")
    if len(set(values)) < len(values):
        raise ConfigError(f"--sweep: {key.strip()} has a value twice ({', '.join(values)}); name each once")
    return Factor(key.strip(), tuple(values))


def _parted(text: str) -> list[str]:
    values, depth, start, quote = list[str](), 0, 0, ""
    for place, letter in enumerate(text):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in QUOTES and not text[start:place].strip():
            quote = letter
        else:
            depth += (letter in OPENING) - (letter in CLOSING)
            if letter == "," and depth == 0:
                values.append(text[start:place].strip())
                start = place + 1
    return [*values, text[start:].strip()]


def repeated(factors: Sequence[Factor], repeats: int, first: int) -> list[Factor]:
    """The same with as many seeds, from `first` on. Raises ConfigError where that cannot be."""
    if repeats < 1:
        raise ConfigError(f"--repeats: got {repeats}; allowed: 1 or more")
    if repeats == 1:
        return list(factors)
    if any(each.key == SEED for each in factors):
        raise ConfigError("--repeats: the seeds are in --sweep seed=... already; leave one of the two out")
    return [*factors, Factor(SEED, tuple(str(first + number) for number in range(repeats)))]


def points(factors: Sequence[Factor]) -> list[Point]:
    """Every combination, the last key changing fastest. Raises ConfigError for a key twice, and for too many."""
    keys = [each.key for each in factors]
    if twice := sorted({key for key in keys if keys.count(key) > 1}):
        raise ConfigError(f"--sweep: {', '.join(twice)} more than once; give all values of a key in one --sweep")
    many = 1
    for each in factors:
        many *= len(each.values)
    if many > MOST_POINTS:
        raise ConfigError(f"--sweep: {many:,} runs; allowed: {MOST_POINTS:,} at most, so name fewer values")
    width = len(str(many))
    combinations = itertools.product(*(each.values for each in factors))
    return [
        Point(f"{number:0{width}}", dict(zip(keys, values, strict=True))) for number, values in enumerate(combinations, 1)
    ]
