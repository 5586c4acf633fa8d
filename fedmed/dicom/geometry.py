"""Where a stack of slices lies in the patient, or why that cannot be known. NumPy only; no file, no pixel.

Slices are ordered by where they lie, never by Instance Number, which no clause ties to a place (PS3.3 C.7.6.1.1.1): Image
Position (Patient) is projected on the normal of Image Orientation (Patient) (PS3.3 C.7.6.2.1.1). What differs by more than
`Tolerance` is refused, because a volume that is nearly right trains a model that is quietly wrong.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedmed.dicom.header import Plane
from fedmed.dicom.reasons import Reason, Untrusted

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Tolerance:
    """How far headers may stray from one even grid.

    The three real series of our tests need none of it (their slices lie within 0.0000001 mm): it is there for what rounding
    does to positions in a decimal string, and no more.
    """

    place_mm: float = 0.05
    """Of a slice along the normal from its place on the even grid between the first and the last, and in its own plane from
    the line through them: what one decimal of mm cuts off."""
    place_share_least: float = 0.01
    """Of the distance between slices: a slice may stray by that much even where it is more than `place_mm`."""
    place_share_most: float = 0.1
    """Of the distance between slices: no slice may stray by more, however thin the slices."""
    cosine: float = 1e-3
    """Of a row or column from unit length and from a right angle: cosines kept to three decimals are off by it."""
    turn: float = 1e-4
    """Between two slices' cosines: 0.05 mm at the edge of a field of 500 mm."""
    spacing_share: float = 1e-4
    """Between two slices' pixel spacings: a twentieth of a pixel over 512."""
    same_place_mm: float = 0.01
    """Between two slices along the normal: nearer ones show one place twice; no scanner of people cuts so thin."""
    lean_degrees: float = 45.0
    """Of the line through the slices from their normal: no gantry tilts by more than 30."""

    def place(self, gap_mm: float) -> float:
        """Millimetres that a slice may lie off its place when slices are `gap_mm` apart."""
        return max(self.place_share_least * gap_mm, min(self.place_mm, self.place_share_most * gap_mm))


TOLERANCE = Tolerance()
SMALLEST_MM = 1e-5
"""Of a pixel or a slice: ten times finer than light shows. Grids of smaller ones cannot be inverted in float64."""


@dataclass(frozen=True)
class Grid:
    """Where the voxels of one volume lie."""

    order: NDArray[np.intp]
    """`(D,)`: the given planes in ascending order along the normal."""
    affine: Floats
    """`(4, 4)`: index `(d, h, w, 1)` -> patient `(x, y, z, 1)` in mm, LPS+; a gantry tilt stays in it as shear."""
    spacing_mm: tuple[float, float, float]
    """Between slices along the normal, rows, columns; NaN where the file does not say, and then 1 in the affine."""
    located: bool = True
    """False: the affine only scales a picture; where in the patient it lies is unknown."""


def arrange(planes: Sequence[Plane], tolerance: Tolerance = TOLERANCE, overruled: Collection[Reason] = ()) -> Grid:
    """The grid of one or more slices, whatever order they come in.

    `overruled` are reasons that a person decided to let pass, of IRREGULAR_SPACING and SHIFTED_SLICES: the slices are then
    taken to lie on the even grid between the first and the last.

    The affine's first column is the step from slice to slice, (last - first) / (D - 1), so that slices which are shifted
    along themselves by a tilted gantry keep their shear. One slice gets the thickness that its header gives.
    Raises Untrusted: NO_GEOMETRY, BAD_ORIENTATION, MIXED_ORIENTATION, MIXED_SPACING, DUPLICATE_SLICES, MISSING_SLICES,
    IRREGULAR_SPACING, SHIFTED_SLICES; with lengths in mm in the detail.
    """
    positions, rows, columns, spacings = _numbers(planes)
    row, column = _directions(rows, columns, tolerance)
    spacing = _spacing(spacings, tolerance)
    normal = np.cross(row, column)
    normal /= np.linalg.norm(normal)
    along = positions @ normal
    order = np.argsort(along, kind="stable")
    first, gap_mm, step = positions[order[0]], math.nan, normal
    if len(planes) > 1:
        gap_mm = _even_gap(along[order], tolerance, overruled)
        step = (positions[order[-1]] - first) / (len(planes) - 1)
        if Reason.SHIFTED_SLICES not in overruled:
            _refuse_shifted(positions[order], along[order], step, gap_mm, tolerance)
    elif planes[0].thickness_mm is not None and planes[0].thickness_mm >= SMALLEST_MM:
        gap_mm = planes[0].thickness_mm
        step = normal * gap_mm
    affine = np.eye(4)
    affine[:3] = np.column_stack([step, column * spacing[0], row * spacing[1], first])
    return Grid(order, affine, (gap_mm, float(spacing[0]), float(spacing[1])))


def picture(plane: Plane) -> Grid:
    """The grid of one picture that lies nowhere in particular (a radiograph): its affine only scales it."""
    down, across = plane.spacing_mm or (math.nan, math.nan)
    scale = [1.0, *(1.0 if math.isnan(length) else length for length in (down, across)), 1.0]
    # (d, h, w) -> (z, y, x), as an axial slice would lie.
    affine = np.diag(scale)[[2, 1, 0, 3]]
    return Grid(np.zeros(1, np.intp), affine, (math.nan, down, across), located=False)


def _numbers(planes: Sequence[Plane]) -> tuple[Floats, Floats, Floats, Floats]:
    """Positions `(D, 3)`, rows `(D, 3)`, columns `(D, 3)`, spacings `(D, 2)`, all finite and all there."""
    if not planes:
        raise Untrusted(Reason.NO_GEOMETRY, "There is no slice.")
    wanted: dict[str, list[tuple[float, ...] | None]] = {
        "Image Position (Patient)": [plane.position_mm for plane in planes],
        "Image Orientation (Patient)": [plane.row for plane in planes],
        "its second half": [plane.column for plane in planes],
        "Pixel Spacing": [plane.spacing_mm for plane in planes],
    }
    found = []
    for name, values in wanted.items():
        lacking = sum(value is None for value in values)
        if lacking:
            raise Untrusted(Reason.NO_GEOMETRY, f"{lacking} of {len(planes)} slices have no {name}.")
        found.append(np.array(values, dtype=np.float64))
        # Squares of larger numbers overflow below; no patient is a kilometre tall.
        if not (np.abs(found[-1]) < 1e6).all():
            raise Untrusted(Reason.NO_GEOMETRY, f"A slice's {name} is not a number of mm below 1,000,000.")
    positions, rows, columns, spacings = found
    if not (spacings >= SMALLEST_MM).all():
        raise Untrusted(Reason.NO_GEOMETRY, f"A pixel spacing is {spacings.min():g} mm; at least {SMALLEST_MM:g}.")
    return positions, rows, columns, spacings


def _directions(rows: Floats, columns: Floats, tolerance: Tolerance) -> tuple[Floats, Floats]:
    """The one row and column direction of all slices, at unit length."""
    lengths = np.concatenate([np.linalg.norm(rows, axis=1), np.linalg.norm(columns, axis=1)])
    worst = float(np.abs(lengths - 1).max())
    if worst > tolerance.cosine:
        raise Untrusted(Reason.BAD_ORIENTATION, f"A length differs from 1 by {worst:g}; at most {tolerance.cosine:g}.")
    skew = float(np.abs((rows * columns).sum(axis=1)).max())
    if skew > tolerance.cosine:
        raise Untrusted(Reason.BAD_ORIENTATION, f"Row times column is {skew:g}; at most {tolerance.cosine:g}.")
    turned = np.maximum(np.ptp(rows, axis=0).max(), np.ptp(columns, axis=0).max())
    if turned > tolerance.turn:
        raise Untrusted(
            Reason.MIXED_ORIENTATION, f"Direction cosines differ by up to {turned:.6f}; at most {tolerance.turn:g}."
        )
    row, column = rows[0], columns[0]
    return row / np.linalg.norm(row), column / np.linalg.norm(column)


def _spacing(spacings: Floats, tolerance: Tolerance) -> Floats:
    low, high = spacings.min(axis=0), spacings.max(axis=0)
    if (high - low > tolerance.spacing_share * low).any():
        raise Untrusted(
            Reason.MIXED_SPACING,
            f"Pixel spacings run from {low[0]:g} x {low[1]:g} to {high[0]:g} x {high[1]:g} mm (rows x columns).",
        )
    return np.asarray(spacings[0], dtype=np.float64)


def _even_gap(along: Floats, tolerance: Tolerance, overruled: Collection[Reason]) -> float:
    """The distance between slices, of their ascending places `(D,)` on the normal."""
    gaps = np.diff(along)
    near = gaps <= tolerance.same_place_mm
    if near.any():
        at = along[int(np.argmax(near))]
        raise Untrusted(Reason.DUPLICATE_SLICES, f"{_number(int(near.sum()), 'slice')} too many; the first at {at:.2f} mm.")
    gap = float(along[-1] - along[0]) / len(gaps)
    strayed = np.abs(along - (along[0] + gap * np.arange(len(along))))
    if (strayed <= tolerance.place(gap)).all():
        return gap
    refusal = _uneven(along, gaps, tolerance)
    if refusal.reason is Reason.IRREGULAR_SPACING and refusal.reason in overruled:
        return gap
    raise refusal


def _uneven(along: Floats, gaps: Floats, tolerance: Tolerance) -> Untrusted:
    """Missing slices, if every gap is a whole multiple of the usual one; else an irregular distance."""
    smallest = float(gaps.min())
    usual = float(np.median(gaps[gaps <= smallest + 2 * tolerance.place(smallest)]))
    times = np.rint(gaps / usual)
    whole = np.abs(gaps - times * usual) <= tolerance.place(usual) * np.minimum(times, 4)
    if whole.all() and times.max() >= 2:
        holes = np.flatnonzero(times >= 2)
        places = ", ".join(f"{along[k]:.2f} to {along[k + 1]:.2f} mm" for k in holes[:4].tolist())
        more = f" and {len(holes) - 4} more" if len(holes) > 4 else ""
        lacking = _number(int(times.sum()) - len(times), "slice")
        return Untrusted(
            Reason.MISSING_SLICES, f"{lacking} missing along the normal at {places}{more}; usual gap {usual:.3f} mm."
        )
    usual = float(np.median(gaps))
    worst = int(np.argmax(np.abs(gaps - usual)))
    return Untrusted(
        Reason.IRREGULAR_SPACING,
        f"Gaps run from {gaps.min():.3f} to {gaps.max():.3f} mm, the oddest at {along[worst]:.2f} mm along the normal; "
        f"a slice may lie {tolerance.place(usual):.3f} mm off an even grid.",
    )


def _refuse_shifted(positions: Floats, along: Floats, step: Floats, gap: float, tolerance: Tolerance) -> None:
    """Positions `(D, 3)`, `along` `(D,)` on the normal, must lie on the line that goes by `step` from each to the next."""
    line = positions[0] + ((along - along[0]) / gap)[:, None] * step
    off = np.linalg.norm(positions - line, axis=1)
    allowed = tolerance.place(gap)
    if off.max() > allowed:
        raise Untrusted(
            Reason.SHIFTED_SLICES, f"One lies {off.max():.3f} mm off the line through them; at most {allowed:.3f} mm."
        )
    lean = math.degrees(math.acos(min(1.0, gap / float(np.linalg.norm(step)))))
    if lean > tolerance.lean_degrees:
        raise Untrusted(
            Reason.SHIFTED_SLICES, f"Their line leans {lean:.1f} degrees off the normal; at most {tolerance.lean_degrees:g}."
        )


def _number(count: int, what: str) -> str:
    return f"{count} {what}" + ("s" if count != 1 else "")
