"""The order clip, then noise, at a clinic, and what each number that a round opens costs, in the three modes.

- `record-local`: every clinic trains with DP-SGD of its own; its update has its noise already, and gets no more.
- `record-distributed`: one step a round; patients' (or records') gradients are clipped and summed at the clinic, and every
  clinic adds a share of the noise, of which only the sum is opened.
- `clinic`: the whole update is clipped, and every clinic adds a share.

Updates are opened as sums of one fixed weight: were a clinic's weight its own number of cases, it would be opened without
noise, and a clinic could raise its sensitivity.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from fedmed.errors import ConfigError, UpdateRefused
from fedmed.privacy.dp.accountant import Release
from fedmed.privacy.dp.gaussian import rounded_sensitivity, share_sigma, smoothed, sum_divergence
from fedmed.wire.tensors import Tensors

RECORD_LOCAL, RECORD_DISTRIBUTED, CLINIC = MODES = ("record-local", "record-distributed", "clinic")
UPDATE = "update"
BETA = 2.0**-40
"""Of delta, a release: what stochastic rounding takes (`gaussian.rounded_sensitivity`)."""
WRAP = 2.0**-40
"""Probability, a round, that noise carries any lane over its end: that would cost accuracy, never privacy."""
_BLOCK = 2**20
_FITTINGS, _ROOM = 200, 1e-4
_SUMMED = 2.0**-30  # relative: what rounding may do to a sum of 2^20 squares in float64, and more


@dataclass(frozen=True)
class Opened:
    """One kind of number that a round opens."""

    what: str
    sensitivity: float
    """L2, in the numbers' own unit: the clip norm of an update, `histogram_sensitivity` of counts."""
    dimensions: int
    noise_multiplier: float
    sampling_rate: float = 1.0
    count: int = 1
    """Releases a round; the steps of local training in mode record-local."""
    whole: bool = False
    """Counts times a whole scale lie on the lattice: nothing is rounded."""


@dataclass(frozen=True)
class Mechanism:
    """What a clinic does to what it sends. `opened` lists all that may be sent; anything else is not sent under DP."""

    mode: str
    least_honest: int
    """Clinics that surely add noise to a sum that is opened: the fewest summed, less those who may collude."""
    opened: tuple[Opened, ...]
    beta: float = BETA

    def __post_init__(self) -> None:
        """Raises ConfigError, naming all faults."""
        names = [one.what for one in self.opened]
        faults = [f"mode {self.mode!r} (known: {', '.join(MODES)})"] if self.mode not in MODES else []
        faults += ["two of what is opened have one name"] if len(set(names)) < len(names) else []
        faults += [
            f"{one.what}: sensitivity {one.sensitivity}, {one.dimensions} dimensions (both must be above 0 and finite)"
            for one in self.opened
            if not (0 < one.sensitivity < math.inf and one.dimensions >= 1)
        ]
        if self.mode == CLINIC:
            # Where a whole clinic is the unit, it may change every count, by as much as it has cases.
            faults += [f"{one.what}: counts are not opened at clinic level" for one in self.opened if one.whole]
        if faults:
            raise ConfigError(f"no such mechanism: {'; '.join(faults)}")
        self.releases()

    def sensitivity(self, what: str, scale: float) -> float | None:
        """L2 on the lattice of `scale` units a number, rounding included; None where `what` is not sent."""
        one = self._find(what)
        return None if one is None else self._reach(one, scale)

    def share(self, what: str, scale: float) -> float | None:
        """Width of the noise that this clinic adds, in lattice units; 0 where it is in already, None where not sent.

        Raises ConfigError where the lattice is too coarse for it.
        """
        one = self._find(what)
        return None if one is None else self._share(one, scale)

    def fitted(self, what: str, bits: int, clinics: int, reach: float) -> tuple[float, float]:
        """The finest lattice on which the sum of all clinics fits, noise included, and the width of a share on it.

        `reach`: bound of each number of a clinic's vector. Each follows from the other: noise takes room, so the lattice
        must be coarser, and rounding to it asks for more noise. Raises ConfigError where no lattice does, or where `what`
        is not sent.
        """
        one = self._find(what)
        if one is None:
            raise ConfigError(f"{what} is not sent under this mechanism (sent: {', '.join(o.what for o in self.opened)})")
        needed = 0.0 if self._noised_before(one) else one.noise_multiplier * one.sensitivity / math.sqrt(self.least_honest)
        for _ in range(_FITTINGS):
            scale = largest_scale(bits, clinics, reach, needed, one.dimensions)
            scale = math.floor(scale) if one.whole else scale
            if scale <= 0:
                break
            share = self._share(one, scale)
            if share <= needed * scale:
                return scale, share
            needed = share / scale * (1 + _ROOM)
        raise ConfigError(
            f"{what}, {one.dimensions} numbers with their noise, does not fit into lanes of {bits} bits with {clinics} "
            "clinics: take lanes of 32 bits, or a larger epsilon"
        )

    def releases(self, unit: str = "patient") -> tuple[Release, ...]:
        """What a round costs, to be charged before anything is sent.

        In mode `clinic` the noise is made for a clinic that takes part or not. One patient (or record) more or less leaves
        it taking part, with another update: at most 2 clips away, hence half the multiplier, unless `unit` is `clinic`.
        """
        halved = self.mode == CLINIC and unit != CLINIC
        return tuple(self._release(one, one.noise_multiplier / (2 if halved else 1)) for one in self.opened)

    def _reach(self, one: Opened, scale: float) -> float:
        if not one.whole:
            return rounded_sensitivity(one.sensitivity * scale, one.dimensions, self.beta)
        if scale != int(scale):
            raise ConfigError(f"{one.what}: counts on a lattice of {scale} units a count; it must be a whole number")
        return one.sensitivity * scale

    def _share(self, one: Opened, scale: float) -> float:
        if self._noised_before(one):
            return 0.0
        share = share_sigma(smoothed(one.noise_multiplier * self._reach(one, scale)), self.least_honest)
        sum_divergence(share, self.least_honest, one.dimensions)  # further clinics' shares are noise on top of that sum
        return share

    def _release(self, one: Opened, noise: float) -> Release:
        kind = "gaussian" if self._noised_before(one) else "discrete gaussian"
        rounded = kind != "gaussian" and not one.whole
        return Release(one.what, kind, noise, one.sampling_rate, one.count, self.beta if rounded else 0.0)

    def _noised_before(self, one: Opened) -> bool:
        return self.mode == RECORD_LOCAL and one.what == UPDATE

    def _find(self, what: str) -> Opened | None:
        return next((one for one in self.opened if one.what == what), None)


def clip_l2(tensors: Mapping[str, NDArray[np.generic]], bound: float) -> tuple[Tensors, float, bool]:
    """`tensors` scaled to a joint L2 norm of at most `bound`; the norm before; whether that was more than `bound`.

    Of all tensors together, summed in float64. What is within the bound is returned as it is. Raises UpdateRefused for
    tensors that are not floats or hold a value that is not finite: their norm means nothing.
    """
    if not 0 < bound < math.inf:
        raise ConfigError(f"clip norm {bound}; it must be above 0 and finite")
    floats = {name: _floats(name, values) for name, values in tensors.items()}
    squares = sum(_squares(values) for values in floats.values())
    if not math.isfinite(squares):
        raise UpdateRefused("the update holds values that are not finite; train with a smaller learning rate")
    norm = math.sqrt(squares)
    if norm <= bound:
        return dict(tensors), norm, False
    # Sums and scaled values are rounded; the norm stays below the bound nevertheless.
    margin = 2 * max(_SUMMED, *(float(np.finfo(values.dtype).eps) for values in floats.values()))
    factor = bound / norm * (1 - margin)
    return {name: values * values.dtype.type(factor) for name, values in floats.items()}, norm, True


def _floats(name: str, values: NDArray[np.generic]) -> NDArray[np.floating[Any]]:
    if not np.issubdtype(values.dtype, np.floating):
        raise UpdateRefused(f"tensor {name!r} is {values.dtype}; only floats can be clipped: leave it out of the update")
    return cast("NDArray[np.floating[Any]]", values)


def _squares(values: NDArray[np.floating[Any]]) -> float:
    flat = values.reshape(-1)
    blocks = (flat[at : at + _BLOCK].astype(np.float64) for at in range(0, flat.size, _BLOCK))
    return sum(float(np.dot(block, block)) for block in blocks)


def histogram_sensitivity(entries: int, records: int = 1) -> float:
    """L2 sensitivity of counts to one unit that has up to `records` records, each adding 1 to up to `entries` bins.

    One record changes `entries` different bins by 1: sqrt(entries). In the worst case all of a patient's records fall into
    the same bins, so their changes add up: records * sqrt(entries).
    """
    if entries < 1 or records < 1:
        raise ConfigError(f"{records} records that change {entries} bins each; both must be at least 1")
    return records * math.sqrt(entries)


def largest_scale(bits: int, clinics: int, reach: float, share: float, dimensions: int) -> float:
    """Lattice units a unit, as many as fit: the sum of all clinics, noise included, stays within `bits` bits.

    Every clinic's value lies within `reach` (units) and takes at most one lattice unit more by rounding; its noise has width
    `share` (units). The sum of discrete Gaussians is subgaussian of its variance (Canonne, Kamath, Steinke 2020, lemma on
    the moment generating function), so that none of `dimensions` lanes is carried over its end, but with probability 2^-40.
    Raises ConfigError where nothing fits.
    """
    widths = math.sqrt(2 * math.log(2 * dimensions / WRAP))
    scale = (2.0 ** (bits - 1) - 1 - clinics) / (clinics * reach + widths * share * math.sqrt(clinics))
    if not 0 < scale < math.inf:
        raise ConfigError(
            f"{clinics} clinics with values up to {reach} and noise of width {share} do not fit into lanes of {bits} bits: "
            "take lanes of 32 bits, fewer clinics, or a smaller clip"
        )
    return scale
