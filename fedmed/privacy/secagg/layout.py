"""What stands where in the one vector that is masked: the tensors, the fields after them, and lanes that prove the sum.

    | tensors, flattened, in order | fields, in order, each by digits, the lowest first | witness |

A clinic adds 1 to each lane of the witness. A sum in which they do not count the clinics that are said to be in it, because
a mask stayed or a clinic is missing, is refused: they are 64 bits, hence a mask passes by chance once in 2^64.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fedmed.errors import ConfigError, ProtocolRefused, UpdateRefused
from fedmed.privacy.secagg.fields import (
    MOST_NAME,
    FieldSum,
    Fixed,
    Whole,
    base_of,
    digits_of,
    gathered,
    spread,
)
from fedmed.privacy.secagg.quantise import dequantise, quantise
from fedmed.privacy.secagg.rounding import Lanes
from fedmed.privacy.secagg.scale import MOST_CLIENTS, MOST_WEIGHT, Scale

__all__ = ["Fixed", "Layout", "Sum", "Tensor", "Whole"]

VERSION = b"fedmed/sa/layout/v1"
MOST_LANES = 1 << 31
MOST_PARTS = 1 << 20  # tensors, and fields
WITNESS_BITS = 64


@dataclass(frozen=True)
class Tensor:
    """A tensor of floating point numbers that is averaged."""

    name: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Layout:
    """What every clinic of a cohort puts into its vector. Raises ConfigError that lists every fault.

    Both sides derive it from the task; what they compare is `digest()`.
    """

    tensors: tuple[Tensor, ...]
    fields: tuple[Whole | Fixed, ...]
    bits: Literal[16, 32]
    clients: int
    """N: the most that are ever summed."""
    bound: float
    """Values of the tensors lie within ± this."""
    most_weight: int
    """A clinic's weight lies in 0 to this."""

    def __post_init__(self) -> None:
        if faults := list(self._faults()):
            raise ConfigError("layout: " + "; ".join(faults))
        if self.size > MOST_LANES:
            raise ConfigError(f"layout: {self.size} lanes; at most {MOST_LANES} are allowed")
        if self.tensors:
            self.scale  # noqa: B018  (its own refusal)

    def _faults(self) -> Iterator[str]:
        if self.bits not in (16, 32):
            yield f"lanes have {self.bits} bits; allowed are 16 and 32"
        if not 1 <= self.clients <= min(MOST_CLIENTS, (1 << self.bits) - 1):
            yield f"{self.clients} clinics; allowed is 1 to {MOST_CLIENTS} and at most what a lane counts"
        if not 1 <= self.most_weight <= MOST_WEIGHT or not math.isfinite(self.bound):
            yield f"most weight {self.most_weight} and bound {self.bound}; allowed is 1 to {MOST_WEIGHT}, and finite"
        for kind, parts in (("tensor", self.tensors), ("field", self.fields)):
            names = [part.name for part in parts]
            if len(set(names)) < len(names) or len(names) > MOST_PARTS:
                yield f"{len(names)} {kind}s with {len(set(names))} names; allowed are {MOST_PARTS}, each with its own"
            for name in names:
                if not (name.isprintable() and 1 <= len(name.encode()) <= MOST_NAME):
                    yield f"{kind} {name!r} must have a printable name of 1 to {MOST_NAME} bytes"
        for tensor in self.tensors:
            if len(tensor.shape) > 255 or any(not 0 <= side <= MOST_LANES for side in tensor.shape):
                yield f"tensor {tensor.name!r} has the impossible shape {tensor.shape}"
        for field in self.fields:
            yield from field.faults()

    @cached_property
    def scale(self) -> Scale:
        """Of the tensors."""
        return Scale(self.bits, self.clients, self.bound, self.most_weight)

    @cached_property
    def parameters(self) -> int:
        """Lanes of the tensors."""
        return sum(tensor.size for tensor in self.tensors)

    @cached_property
    def size(self) -> int:
        """Lanes of the whole vector, which takes bits / 8 times as many bytes."""
        return self.parameters + sum(self._digits(each) * each.count for each in self.fields) + self._witness

    @property
    def _witness(self) -> int:
        return WITNESS_BITS // self.bits

    @cached_property
    def _base(self) -> int:
        return base_of(self.bits, self.clients)

    def _digits(self, field: Whole | Fixed) -> int:
        return digits_of(field.top, self._base)

    @property
    def _lane(self) -> np.dtype[Any]:
        return np.dtype(np.uint16 if self.bits == 16 else np.uint32)

    def zeros(self) -> Lanes:
        """A vector `(size,)` to sum in."""
        return np.zeros(self.size, np.uint16) if self.bits == 16 else np.zeros(self.size, np.uint32)

    def canonical(self) -> bytes:
        """The layout as bytes: equal layouts, and only they, have equal ones. Whole numbers and float64 are big-endian.

        LP(x) = u32 length || x. LP(version) u8 bits u32 clients f64 bound u64 most_weight
        || u32 tensors, each LP(name) u8 sides u64 side...
        || u32 fields, each LP(name) u32 count, and u8 1 u128 most, or u8 2 f64 bound f64 resolution.
        """
        head = struct.pack(">BIdQ", self.bits, self.clients, self.bound, self.most_weight)
        parts = [_prefixed(VERSION), head, struct.pack(">I", len(self.tensors))]
        for tensor in self.tensors:
            sides = struct.pack(f">B{len(tensor.shape)}Q", len(tensor.shape), *tensor.shape)
            parts += [_prefixed(tensor.name.encode()), sides]
        parts.append(struct.pack(">I", len(self.fields)))
        for field in self.fields:
            parts += [_prefixed(field.name.encode()), struct.pack(">I", field.count)]
            if isinstance(field, Whole):
                parts.append(b"\1" + field.most.to_bytes(16, "big"))
            else:
                parts.append(b"\2" + struct.pack(">dd", field.bound, field.resolution))
        return b"".join(parts)

    def digest(self) -> bytes:
        """SHA-256 of `canonical()`, 32 bytes."""
        return hashlib.sha256(self.canonical()).digest()

    def write(
        self,
        tensors: Mapping[str, NDArray[Any]],
        weight: int,
        fields: Mapping[str, ArrayLike],
        dither: bytes,
        is_warm: bool = False,
    ) -> Lanes:
        """A clinic's vector `(size,)`, to be masked; `dither` is a seed of 24 bytes for this vector alone.
        `is_warm`: see rounding.rounder.

        The tensors are multiplied by weight / most_weight; the weight itself is summed where the caller has a field for it.
        Raises UpdateRefused, for the clinic's own staff, where anything is missing, too much or out of range.
        """
        self._check(tensors, fields)
        lanes: Lanes = np.empty(self.size, self._lane)
        if self.tensors:
            names = [tensor.name for tensor in self.tensors]
            values = [tensors[name] for name in names]
            quantise(values, weight, self.scale, dither, lanes[: self.parameters], names, is_warm)
        for field, place in self._places():
            spread(field.codes(fields[field.name]), self._base, lanes[place].reshape(-1, field.count))
        lanes[self.size - self._witness :] = 1
        return lanes

    def _check(self, tensors: Mapping[str, NDArray[Any]], fields: Mapping[str, ArrayLike]) -> None:
        for kind, given, parts in (("tensors", tensors, self.tensors), ("fields", fields, self.fields)):
            agreed = {part.name for part in parts}
            if given.keys() != agreed:
                missing, more = sorted(agreed - given.keys()), sorted(given.keys() - agreed)
                raise UpdateRefused(f"{kind} missing: {missing[:5]}, not agreed on: {more[:5]}; send what the task lists")
        for tensor in self.tensors:
            if (shape := tensors[tensor.name].shape) != tensor.shape:
                raise UpdateRefused(f"tensor {tensor.name!r} has shape {shape}; {tensor.shape} was agreed on")

    def _places(self) -> Iterator[tuple[Whole | Fixed, slice]]:
        start = self.parameters
        for field in self.fields:
            end = start + self._digits(field) * field.count
            yield field, slice(start, end)
            start = end

    def read(self, total: Lanes, clients_in_sum: int) -> Sum:
        """What the sum of `clients_in_sum` clinics' vectors says.

        Raises ProtocolRefused for lanes that so many clinics, each keeping to the layout, cannot have summed up to.
        """
        if total.dtype != self._lane or total.shape != (self.size,):
            raise ProtocolRefused(f"a sum of {total.shape} {total.dtype}; the layout has {self.size} {self._lane}")
        if not 1 <= clients_in_sum <= self.clients:
            raise ProtocolRefused(f"a sum over {clients_in_sum} clinics; the layout allows 1 to {self.clients}")
        if not (total[self.size - self._witness :] == clients_in_sum).all():
            raise ProtocolRefused(
                f"the sum is not that of {clients_in_sum} clinics: a mask was left in it, or other clinics are in it. "
                "Discard it and repeat the round"
            )
        found: dict[str, FieldSum] = {}
        for field, place in self._places():
            codes = gathered(total[place].reshape(-1, field.count), self._base)
            if codes.max() > clients_in_sum * field.top:
                raise ProtocolRefused(
                    f"field {field.name!r} sums up to more than {clients_in_sum} clinics may say: discard it"
                )
            found[field.name] = field.summed(codes, clients_in_sum)
        return Sum(self, total, clients_in_sum, found)


def _prefixed(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


@dataclass(frozen=True)
class Sum:
    """What clinics said together. Nothing in it is any one clinic's."""

    layout: Layout
    lanes: Lanes
    clients: int
    """How many."""
    fields: Mapping[str, FieldSum]
    """By name: an int or a float, or for a field of several numbers an array `(count,)`."""

    def count(self, name: str) -> int:
        """The sum of a `Whole` of one number."""
        value = self.fields[name]
        if not isinstance(value, int):
            raise TypeError(f"field {name!r} is not one whole number")
        return value

    def number(self, name: str) -> float:
        """The sum of a field of one number."""
        value = self.fields[name]
        if isinstance(value, np.ndarray):
            raise TypeError(f"field {name!r} is not one number")
        return float(value)

    def array(self, name: str) -> NDArray[Any]:
        """The sums of a field, `(count,)`: int64 of a `Whole` (Python's whole numbers from 2^62), float64 of a `Fixed`."""
        return np.atleast_1d(np.asarray(self.fields[name]))

    def mean(self, total_weight: int) -> dict[str, NDArray[np.float32]]:
        """The tensors' means weighted by the clinics' weights, which sum up to `total_weight`; see quantise.dequantise."""
        layout = self.layout
        if not layout.tensors:
            return {}
        flat, start, means = dequantise(self.lanes[: layout.parameters], layout.scale, total_weight), 0, {}
        for tensor in layout.tensors:
            means[tensor.name] = flat[start : start + tensor.size].reshape(tensor.shape)
            start += tensor.size
        return means
