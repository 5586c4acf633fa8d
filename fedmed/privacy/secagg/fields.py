"""What a clinic adds beside its tensors: whole numbers and real ones, spread over lanes so that their sum is exact.

A number of 0 to `top` is written in base B, the largest for which N·(B - 1) < 2^bits: N digits of it never overflow a lane.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fedmed.errors import UpdateRefused

MOST_COUNT, MOST_TOP = 1 << 24, 1 << 127
MOST_NAME, MOST_REAL = 255, 1e100
SMALL = 1 << 62  # sums below fit int64; others are Python's whole numbers

Codes: TypeAlias = NDArray[Any]  # (count,) int64, or Python's whole numbers
FieldSum: TypeAlias = "int | float | NDArray[Any]"


@dataclass(frozen=True)
class Whole:
    """`count` whole numbers of 0 to `most` per clinic, summed exactly: counts, histograms."""

    name: str
    most: int
    count: int = 1

    @property
    def top(self) -> int:
        """The largest code."""
        return self.most

    def faults(self) -> Iterator[str]:
        """What is wrong with the field itself."""
        yield from _count_faults(self.name, self.count)
        if not 0 <= self.most <= MOST_TOP:
            yield f"field {self.name!r} goes to {self.most}; allowed is 0 to 2^127"

    def codes(self, values: ArrayLike) -> Codes:
        """`values` (count,), of any shape with as many, as codes. Raises UpdateRefused."""
        given = _flat(self.name, values, self.count)
        if given.dtype.kind not in "iu" and not all(isinstance(value, int) for value in given.tolist()):
            raise UpdateRefused(f"field {self.name!r} is {given.dtype}; whole numbers are summed")
        if (low := int(given.min())) < 0 or (high := int(given.max())) > self.most:
            raise UpdateRefused(f"field {self.name!r} holds {low if low < 0 else high}; allowed is 0 to {self.most}")
        return given.astype(_kind(self.most))

    def summed(self, codes: Codes, clients: int) -> FieldSum:
        """The sum over `clients` from that of their codes: an int, or `(count,)` whole numbers."""
        return int(codes[0]) if self.count == 1 else codes.astype(_kind(clients * self.most))


@dataclass(frozen=True)
class Fixed:
    """`count` real numbers within ±bound per clinic, each rounded to a multiple of `resolution`, these summed exactly.

    A clinic's rounding is off by at most half the resolution, a sum over n clinics by n times that.
    """

    name: str
    bound: float
    resolution: float
    count: int = 1

    @cached_property
    def offset(self) -> int:
        """The code of 0; no code is below 0."""
        return math.ceil(Fraction(self.bound) / Fraction(self.resolution))

    @property
    def top(self) -> int:
        """The largest code."""
        return 2 * self.offset

    def faults(self) -> Iterator[str]:
        """What is wrong with the field itself."""
        yield from _count_faults(self.name, self.count)
        if not 0 < self.resolution <= self.bound <= MOST_REAL:
            yield (
                f"field {self.name!r} has bound {self.bound} and resolution {self.resolution}; "
                f"allowed is 0 < resolution <= bound <= {MOST_REAL:g}"
            )
        elif self.top > MOST_TOP:
            yield f"field {self.name!r} has more than 2^127 steps: lower its bound or take a coarser resolution"

    def codes(self, values: ArrayLike) -> Codes:
        """`values` (count,), of any shape with as many, as codes: about a microsecond each. Raises UpdateRefused."""
        given = _flat(self.name, values, self.count)
        if given.dtype.kind not in "iuf":
            raise UpdateRefused(f"field {self.name!r} is {given.dtype}; real numbers are summed")
        numbers = given.astype(np.float64).tolist()
        if wrong := [number for number in numbers if not abs(number) <= self.bound]:
            raise UpdateRefused(f"field {self.name!r} holds {wrong[0]}; allowed is -{self.bound} to {self.bound}")
        step, offset = Fraction(self.resolution), self.offset
        return np.array([_nearest(number, step) + offset for number in numbers], dtype=_kind(self.top))

    def summed(self, codes: Codes, clients: int) -> FieldSum:
        """The sum over `clients` from that of their codes, rounded once: a float, or `(count,)` float64."""
        up, down = Fraction(self.resolution).as_integer_ratio()
        found = [(int(code) - clients * self.offset) * up / down for code in codes.tolist()]
        return found[0] if self.count == 1 else np.array(found)


def _nearest(number: float, step: Fraction) -> int:
    """number / step to the nearest whole number, halves up, with no rounding before."""
    up, down = number.as_integer_ratio()
    up, down = up * step.denominator, down * step.numerator
    return (2 * up + down) // (2 * down)


def _count_faults(name: str, count: int) -> Iterator[str]:
    if not 1 <= count <= MOST_COUNT:
        yield f"field {name!r} has {count} numbers; allowed is 1 to 2^24"


def _flat(name: str, values: ArrayLike, count: int) -> NDArray[Any]:
    given = np.asarray(values)
    if given.size != count:
        raise UpdateRefused(f"field {name!r} has {given.size} numbers; {count} were agreed on")
    return given.reshape(-1)


def _kind(most: int) -> Any:
    return np.int64 if most < SMALL else object


def base_of(bits: int, clients: int) -> int:
    """The largest base of which `clients` digits can be summed in a lane."""
    return ((1 << bits) - 1) // clients + 1


def digits_of(top: int, base: int) -> int:
    """How many digits a code of 0 to `top` has in `base`; at least one."""
    count, reach = 1, base
    while reach <= top:
        count, reach = count + 1, reach * base
    return count


def spread(codes: Codes, base: int, lanes: NDArray[Any]) -> None:
    """Codes `(count,)` into `lanes (digits, count)`, the lowest digits first."""
    rest = codes
    for row in lanes[:-1]:
        rest, row[:] = rest // base, rest % base
    lanes[-1] = rest


def gathered(lanes: NDArray[Any], base: int) -> Codes:
    """The sums of codes `(count,)` from those of their digits, `lanes (digits, count)`; exact whatever the lanes hold."""
    total = np.zeros(lanes.shape[1], _kind((1 << 32) * base ** len(lanes)))
    for row in lanes[::-1]:
        total = total * base + row.astype(total.dtype)
    return total
