"""Real numbers as whole ones in lanes, so that a sum over clinics is exact and no lane can overflow, and back.

A clinic of weight w sends floor(x·(w/W)·s + u) for each value x, u uniform in (0, 1): stochastic rounding, right on average.
A mean weighted by w comes out of the sum S of the lanes as W·S / (s·Σw).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmed.errors import QuorumError, UpdateRefused
from fedmed.privacy.secagg.dither import BLOCK, blocks
from fedmed.privacy.secagg.rounding import Lanes, rounder
from fedmed.privacy.secagg.scale import Scale, error_bound, error_std, step_of

__all__ = ["Lanes", "Scale", "centred", "dequantise", "error_bound", "error_std", "quantise"]

SHOWN = 3  # tensors named in a refusal
_LANES = {16: np.uint16, 32: np.uint32}


def quantise(
    values: Sequence[NDArray[np.floating[Any]]],
    weight: int,
    scale: Scale,
    dither: bytes,
    out: Lanes,
    names: Sequence[str] = (),
    is_warm: bool = False,
) -> None:
    """The tensors `values`, one after the other in C order, as lanes in `out (d,)`; d is all their sizes together.

    `dither` is a seed of 24 bytes, drawn for this vector alone (dither.py); value i takes number i of its stream, whatever
    back end runs (see rounding.rounder for `is_warm`).
    u = (number + 1/2) / 2^16, hence the mean of a lane is off x·(w/W)·s by at most 2^-17 and a lane by less
    than 1; whole numbers, 0 among them, are kept. A tensor that is not contiguous is copied a block at a time.

    Raises UpdateRefused where a value is not finite or beyond the bound (clipping is the policy's, before) and for a weight
    out of range, saying which tensor by `names` or position; `out` is then undefined. Raises ValueError where `out` or the
    seed does not fit.
    """
    if out.dtype != _LANES[scale.bits] or out.shape != (sum(tensor.size for tensor in values),):
        raise ValueError(f"{out.dtype} lanes of shape {out.shape} do not fit the tensors and {scale.bits} bits")
    if not 0 <= weight <= scale.most_weight:
        raise UpdateRefused(f"weight {weight}; allowed is 0 to {scale.most_weight}")
    for number, tensor in enumerate(values):
        if tensor.dtype.kind != "f":
            raise UpdateRefused(
                f"tensor {_called(number, names)} holds {tensor.dtype}; only floating point numbers are summed"
            )
    to_lanes, multiplier, limit = rounder(out.size, is_warm), scale.multiplier(weight), scale.limit
    faults = []
    for number, start, piece, numbers, lanes in _pieces(values, out, dither):
        if to_lanes(piece, multiplier, limit, numbers, lanes):
            faults.append(_fault(number, start, piece, limit))
    if faults:
        raise UpdateRefused(_told(faults, scale, names))


_Piece = tuple[int, int, NDArray[np.floating[Any]], NDArray[np.uint16], Lanes]


def _pieces(values: Sequence[NDArray[np.floating[Any]]], out: Lanes, dither: bytes) -> Iterator[_Piece]:
    """What is within one tensor and one block: the tensor's number, where in it, values, dither and lanes."""
    stream, place = blocks(dither), 0
    for number, tensor in enumerate(values):
        if tensor.dtype.kind != "f":
            raise UpdateRefused(
                f"tensor {number} holds {tensor.dtype}; only floating point numbers are summed: leave it out"
            )
        flat = tensor.reshape(-1) if tensor.flags.c_contiguous else tensor.flat
        start = 0
        while start < tensor.size:
            within = place % BLOCK
            if within == 0:
                numbers = next(stream)
            count = min(tensor.size - start, BLOCK - within)
            piece = flat[start : start + count]
            yield number, start, piece, numbers[within : within + count], out[place : place + count]
            start, place = start + count, place + count


_Fault = tuple[int, int, int, int]


def _fault(number: int, start: int, piece: NDArray[np.floating[Any]], limit: float) -> _Fault:
    """Tensor, position of the first bad value, how many are not finite, how many are too large."""
    finite = np.isfinite(piece)
    large = finite & (np.abs(np.where(finite, piece, 0).astype(np.float64)) > limit)
    first = int(np.argmax(~finite | large))
    return number, start + first, len(piece) - int(finite.sum()), int(large.sum())


def _called(number: int, names: Sequence[str]) -> str:
    return repr(names[number]) if names else str(number)


def _told(faults: list[_Fault], scale: Scale, names: Sequence[str]) -> str:
    """Counts of each tensor; text for the clinic's own staff."""
    tensors: dict[int, list[int]] = {}
    for number, first, wild, large in faults:
        entry = tensors.setdefault(number, [first, 0, 0])
        entry[1] += wild
        entry[2] += large
    parts = []
    for number, (first, wild, large) in list(tensors.items())[:SHOWN]:
        name = _called(number, names)
        parts.append(f"tensor {name}: {wild} not finite, {large} beyond ±{scale.bound:g}, the first at {first}")
    if len(tensors) > SHOWN:
        parts.append(f"and {len(tensors) - SHOWN} more tensors")
    return "an update that cannot be sent: " + "; ".join(parts) + "; clip it, or lower the learning rate"


def centred(total: Lanes) -> NDArray[np.int32] | NDArray[np.int16]:
    """Lanes as the signed numbers that they stand for, the memory shared."""
    return total.view(np.int16) if total.dtype.itemsize == 2 else total.view(np.int32)


def dequantise(total: Lanes, scale: Scale, total_weight: int) -> NDArray[np.float32]:
    """The weighted mean `(d,)` from the sum of the lanes: W·S / (s·Σw), in float64, then rounded to float32.

    Raises QuorumError where nobody had any weight; ValueError for lanes of other bits or an impossible weight.
    """
    if total.dtype != _LANES[scale.bits]:
        raise ValueError(f"{total.dtype} lanes where {scale.bits} bits were agreed on")
    if total_weight == 0:
        raise QuorumError("the clinics' weights sum up to 0, so that there is no mean: a clinic with cases must take part")
    step = step_of(scale, total_weight)
    whole, mean = centred(total), np.empty(total.shape, np.float32)
    for start in range(0, len(whole), BLOCK):
        mean[start : start + BLOCK] = np.multiply(whole[start : start + BLOCK], step, dtype=np.float64)
    return mean
