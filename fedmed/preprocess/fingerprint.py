"""What a site tells of its images before the first round: counts of cases, from which no single case can be read.

For every statistic a case falls into one bin, so it counts once per histogram however large it is. A patient counts once:
by the first of the cases. Bins of fewer than `MINIMUM` cases are sent as 0, the others rounded to `STEP`; a site with fewer
cases altogether says only that they are too few. There is no noise in it: that two versions of a data set do not differ
by one case only, and that each is told of once, is kept by the site's ledger, not here.

Beside spacing, orientation and intensity, which headers can show, there is what headers cannot: where images are bright,
on a map of `SIDE x SIDE` cells, and along which direction their edges change. Both turn with an image, so that one
that lies on its side, upside down or mirrored is seen as such.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import permutations, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

VERSION = 1
"""Of this definition; statistics of different versions are not compared."""
MINIMUM = 10
"""Cases below which a count is not told."""
STEP = 5
"""To whose multiples counts are rounded."""
SIDE = 5
"""Cells along each side of the map; odd, so that the middle column stays where it is in a mirror."""
DIRECTIONS = 4
"""Bins of edge directions over 180 degrees; bin 0 is centred on 0, a change from left to right."""
MAX_CASES, MAX_PLANES, COARSE = 4096, 16, 64
"""Cases looked at, evenly spread; planes of each; and pixels along a side once averaged down, which takes the noise out."""
MAX_COUNT = 10**9

Floats = NDArray[np.float64]

# Bins of lengths and deviations: four an octave, powers of two in the middle of a bin, from 2^-10 to 2^14.
OCTAVES = (-10, 14)
PER_OCTAVE = 4
LOG_EDGES = 2.0 ** (np.arange(OCTAVES[0] * PER_OCTAVE, OCTAVES[1] * PER_OCTAVE + 1) / PER_OCTAVE + 0.5 / PER_OCTAVE)
# Bins of mean intensities, for scales from 0..1 to Hounsfield units; no edge at 0 or 1, where many images lie exactly.
UPPER = (0.05, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 0.95, 1.05, 3, 10, 30, 100, 300, 1000, 3000)
MEAN_EDGES = np.array([*(-edge for edge in reversed(UPPER)), *UPPER])
# Patient directions of the axes (DICOM PS3.3 C.7.6.1.1.1): of three, or of the rows and columns of a single image.
_AXES = [list(order) for order in permutations(("LR", "PA", "HF"))]
ORIENTATIONS = (
    "?",
    *sorted({"".join(code) for axes in _AXES for code in product(*axes)}),
    *sorted({"".join(code) for axes in _AXES for code in product(*axes[:2])}),
)
BINS = {
    "spacing_slices": len(LOG_EDGES) + 1,
    "spacing_rows": len(LOG_EDGES) + 1,
    "spacing_columns": len(LOG_EDGES) + 1,
    "orientation": len(ORIENTATIONS),
    "mean": len(MEAN_EDGES) + 1,
    "deviation": len(LOG_EDGES) + 1,
    "edges": DIRECTIONS,
}
SPACINGS = ("spacing_slices", "spacing_rows", "spacing_columns")


@dataclass(frozen=True)
class Statistics:
    """Counts of cases; rounded, and 0 where they are too few to tell."""

    cases: int
    """0: too few to tell anything."""
    histograms: Mapping[str, NDArray[np.int64]]
    """By name of `BINS`; what the site does not know, such as the spacing of photographs, is left out."""
    brighter: NDArray[np.int64] | None
    """Of how many cases each cell of the map `(SIDE, SIDE)` is brighter than the cells' median; None below 2 x MINIMUM."""
    version: int = VERSION

    def record(self) -> dict[str, Any]:
        """As plain JSON values; of a histogram, the bins that are told."""
        return {
            "version": self.version,
            "cases": self.cases,
            "histograms": {
                name: {str(bin_): int(counts[bin_]) for bin_ in np.flatnonzero(counts)}
                for name, counts in self.histograms.items()
            },
            "brighter": None if self.brighter is None else self.brighter.ravel().tolist(),
        }


def statistics(
    images: NDArray[np.generic],
    spacing_mm: NDArray[np.floating] | None = None,
    orientation: NDArray[np.str_] | None = None,
    patient: NDArray[np.generic] | None = None,
) -> Statistics:
    """The statistics of prepared images `(N, ..., H, W)`; whole numbers count as shares of their type's range.

    `spacing_mm` is `(N, 3)` as the scanner had it, NaN where unknown; `orientation` `(N,)` one of `ORIENTATIONS`.
    """
    rows = np.arange(len(images)) if patient is None else np.sort(np.unique(patient, return_index=True)[1])
    if len(rows) < MINIMUM:
        return Statistics(0, {}, None)
    rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), MAX_CASES)).astype(np.int64)]
    seen = [_of_image(images[row]) for row in rows]
    mean, deviation, edges = (np.array([each[at] for each in seen]) for at in range(3))
    counts = {
        "mean": _counted("mean", np.searchsorted(MEAN_EDGES, mean)),
        "deviation": _counted("deviation", np.searchsorted(LOG_EDGES, deviation)),
        "edges": _counted("edges", edges),
    }
    if spacing_mm is not None:
        for name, lengths in zip(SPACINGS, np.asarray(spacing_mm, np.float64)[rows].T, strict=True):
            if np.isfinite(lengths).any():
                counts[name] = _counted(name, np.searchsorted(LOG_EDGES, lengths[np.isfinite(lengths)]))
    if orientation is not None:
        known = {code: bin_ for bin_, code in enumerate(ORIENTATIONS)}
        counts["orientation"] = _counted(
            "orientation", np.array([known.get(code, 0) for code in orientation[rows].tolist()])
        )
    brighter = np.sum([each[3] for each in seen], axis=0)
    return Statistics(_rounded(len(rows)), counts, _told_of_two(brighter, len(rows)))


def _of_image(image: NDArray[np.generic]) -> tuple[float, float, int, NDArray[np.bool_]]:
    """Mean, deviation, bin of the main edge direction, and the cells brighter than their median."""
    plane = _coarse(image)
    down, across = plane[2:, 1:-1] - plane[:-2, 1:-1], plane[1:-1, 2:] - plane[1:-1, :-2]
    # The direction of a change, not of a line: taken twice, 0 and 180 degrees are one (Bigun and Granlund, ICCV 1987).
    twice = math.atan2(2 * float((down * across).sum()), float((across**2).sum() - (down**2).sum()))
    direction = round(twice / 2 / math.pi * DIRECTIONS) % DIRECTIONS
    cells = _cells(_cells(plane, 0), 1)
    return float(plane.mean()), float(plane.std()), direction, cells > np.median(cells)


def _cells(plane: Floats, axis: int) -> Floats:
    """Means of `SIDE` strips along an axis; their bounds lie alike from both ends, so that a mirror turns the map too."""
    if plane.shape[axis] < SIDE:
        plane = np.repeat(plane, SIDE, axis)
    bounds = np.rint(np.arange(SIDE + 1) * plane.shape[axis] / SIDE).astype(np.int64)
    widths = np.expand_dims(np.diff(bounds), 1 - axis)
    return np.asarray(np.add.reduceat(plane, bounds[:-1], axis) / widths)


def _coarse(image: NDArray[np.generic]) -> Floats:
    """`(..., H, W)` as one plane, averaged over channels or slices and down to about `COARSE` pixels on a side."""
    planes = image.reshape(-1, *image.shape[-2:])
    planes = planes[np.linspace(0, len(planes) - 1, min(len(planes), MAX_PLANES)).astype(np.int64)]
    top = float(np.iinfo(image.dtype.name).max) if image.dtype.kind in "iu" else 1.0
    plane = np.nan_to_num(planes.astype(np.float64) / top, posinf=0.0, neginf=0.0).mean(axis=0)
    for axis in (0, 1):
        step = max(1, plane.shape[axis] // COARSE)
        count = plane.shape[axis] // step
        margin = (plane.shape[axis] - count * step) // 2
        whole = plane.take(np.arange(margin, margin + count * step), axis)
        plane = np.add.reduceat(whole, np.arange(0, count * step, step), axis) / step
    return np.asarray(plane)


def _counted(name: str, bins: NDArray[np.integer]) -> NDArray[np.int64]:
    counts = np.bincount(bins, minlength=BINS[name])
    return np.where(counts < MINIMUM, 0, _rounded(counts)).astype(np.int64)


def _rounded(counts: Any) -> Any:
    return (counts + STEP // 2) // STEP * STEP


def _told_of_two(counts: NDArray[np.int64], total: int) -> NDArray[np.int64] | None:
    """Each cell is a histogram of two bins, brighter and not: neither is told where it is below the minimum."""
    if total < 2 * MINIMUM:
        return None
    whole = _rounded(total)
    told = np.where(counts < MINIMUM, 0, np.where(total - counts < MINIMUM, whole, np.minimum(_rounded(counts), whole)))
    return told.astype(np.int64)


def parse(record: object) -> Statistics:
    """The statistics that a site sent. Raises ValueError for what is none: other bins, counts that cannot be."""
    if not isinstance(record, dict) or record.keys() != {"version", "cases", "histograms", "brighter"}:
        raise ValueError("statistics have a version, cases, histograms and a map")
    cases, brighter, found = record["cases"], record["brighter"], record["histograms"]
    if type(record["version"]) is not int or not _is_count(cases) or not isinstance(found, dict) or len(found) > len(BINS):
        raise ValueError("statistics hold whole numbers from 0")
    counts = {}
    for name, told in found.items():
        if name not in BINS or not isinstance(told, dict) or len(told) > BINS[name]:
            raise ValueError(f"histograms are {', '.join(BINS)}")
        counts[name] = np.zeros(BINS[name], np.int64)
        for bin_, count in told.items():
            if not str(bin_).isdecimal() or len(bin_) > 4 or int(bin_) >= BINS[name] or not _is_count(count):
                raise ValueError(f"{name} has {BINS[name]} bins of whole numbers from 0")
            counts[name][int(bin_)] = count
    if brighter is None:
        return Statistics(cases, counts, None, record["version"])
    if not isinstance(brighter, list) or len(brighter) != SIDE**2 or not all(_is_count(n) and n <= cases for n in brighter):
        raise ValueError(f"the map has {SIDE**2} counts of at most all cases")
    return Statistics(cases, counts, np.array(brighter, np.int64).reshape(SIDE, SIDE), record["version"])


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value <= MAX_COUNT


def orientation_code(affine: NDArray[np.floating]) -> str:
    """Patient directions (L, P, H and their opposites) in which the axes of `affine` `(4, 4)`, LPS+, run mostly."""
    axes, left = np.asarray(affine, np.float64)[:3, :3], [0, 1, 2]
    code = ""
    for column in axes.T:
        main = max(left, key=lambda axis: abs(float(column[axis])))
        left.remove(main)
        code += ("LPH" if column[main] >= 0 else "RAF")[main]
    return code
