"""What a header says of each frame: where it lies, how its values scale, what it shows (PS3.3 C.7.6.16)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fedmed.dicom import tags
from fedmed.dicom.attributes import Attributes
from fedmed.dicom.header import Plane, Rescale, Triple
from fedmed.dicom.reasons import Reason, Untrusted

Kind = tuple[str, ...]


@dataclass(frozen=True)
class Frames:
    """One entry a frame in each."""

    planes: tuple[Plane, ...]
    rescales: tuple[Rescale, ...]
    kinds: tuple[Kind, ...]


def frames_of(attributes: Attributes, count: int) -> Frames:
    """Of a data set with `count` frames; Untrusted where it contradicts itself."""
    groups = attributes.items(tags.PER_FRAME)
    shared = attributes.first(tags.SHARED)
    if groups and len(groups) < count:
        raise Untrusted(Reason.BAD_ATTRIBUTE, f"It has {count} frames and functional groups of {len(groups)}.")
    if groups or shared.elements:
        each = [_Groups(frame, shared, attributes) for frame in groups[:count] or [shared] * count]
        return Frames(
            tuple([_enhanced_plane(one) for one in each]),
            tuple([_rescale(one.group(tags.TRANSFORMATION, tags.SLOPE)) for one in each]),
            tuple([_enhanced_kind(one) for one in each]),
        )
    kind = (*_kind(attributes, attributes.texts(tags.IMAGE_TYPE)),)
    return Frames(_planes(attributes, count), (_rescale(attributes),) * count, (kind,) * count)


@dataclass(frozen=True)
class _Groups:
    """Functional groups of one frame: its own before the shared ones, then the data set's own attributes."""

    frame: Attributes
    shared: Attributes
    whole: Attributes

    def group(self, sequence: int, tag: int) -> Attributes:
        """What holds `tag` for this frame."""
        for groups in (self.frame, self.shared):
            if sequence in groups:
                return groups.first(sequence)
        return self.whole if tag in self.whole else Attributes({})


def _enhanced_plane(groups: _Groups) -> Plane:
    position = groups.group(tags.PLANE_POSITION, tags.POSITION)
    orientation = groups.group(tags.PLANE_ORIENTATION, tags.ORIENTATION)
    return _plane(position, orientation, groups.group(tags.MEASURES, tags.SPACING))


def _planes(attributes: Attributes, count: int) -> tuple[Plane, ...]:
    """Without functional groups: one position, and for RT Dose and NM the way from it to the other frames."""
    place = attributes
    if tags.POSITION not in attributes and tags.DETECTORS in attributes:  # PS3.3 C.8.4.11
        place = attributes.first(tags.DETECTORS)
    first = _plane(place, place if tags.ORIENTATION in place else attributes, attributes)
    if count == 1:
        return (first,)
    if first.position_mm is not None and first.row and first.column:
        normal = _cross(first.row, first.column)
        if tags.DOSE_OFFSETS in attributes:
            return _dose_planes(first, normal, attributes.numbers(tags.DOSE_OFFSETS), count)
        if tags.SLICE_VECTOR in attributes and (step := attributes.number(tags.SPACING_BETWEEN)):
            return _slice_planes(first, normal, attributes.numbers(tags.SLICE_VECTOR), step, count)
    # Frames of a cine, say: where each lies is not told.
    return (Plane(None, first.row, first.column, first.spacing_mm),) * count


def _dose_planes(first: Plane, normal: Triple, offsets: tuple[float, ...], count: int) -> tuple[Plane, ...]:
    """Grid Frame Offset Vector, PS3.3 C.8.8.3.2: relative if it begins with 0, else z coordinates of axial planes."""
    if len(offsets) != count or first.position_mm is None:
        raise Untrusted(Reason.BAD_ATTRIBUTE, f"It has {count} frames and a Grid Frame Offset Vector of {len(offsets)}.")
    if offsets[0] == 0:
        return tuple([_moved(first, normal, offset) for offset in offsets])
    x, y, z = first.position_mm
    if abs(abs(normal[2]) - 1) > 1e-4 or abs(offsets[0] - z) > 1e-2:
        raise Untrusted(
            Reason.BAD_ATTRIBUTE,
            f"Its Grid Frame Offset Vector begins with {offsets[0]}; 0, or its position {z} if axial, may stand there.",
        )
    return tuple([Plane((x, y, offset), first.row, first.column, first.spacing_mm) for offset in offsets])


def _slice_planes(first: Plane, normal: Triple, slices: tuple[float, ...], step: float, count: int) -> tuple[Plane, ...]:
    """Slice Vector, PS3.3 C.8.4.8, counted from 1; a negative spacing goes against the normal (C.8.4.15)."""
    if len(slices) != count:
        raise Untrusted(Reason.BAD_ATTRIBUTE, f"It has {count} frames and a Slice Vector of {len(slices)}.")
    return tuple([_moved(first, normal, step * (number - 1)) for number in slices])


def _moved(plane: Plane, normal: Triple, by: float) -> Plane:
    x, y, z = plane.position_mm or (0.0, 0.0, 0.0)
    return Plane((x + by * normal[0], y + by * normal[1], z + by * normal[2]), plane.row, plane.column, plane.spacing_mm)


def _cross(row: Triple, column: Triple) -> Triple:
    return (
        row[1] * column[2] - row[2] * column[1],
        row[2] * column[0] - row[0] * column[2],
        row[0] * column[1] - row[1] * column[0],
    )


def _plane(position: Attributes, orientation: Attributes, measures: Attributes) -> Plane:
    place = position.numbers(tags.POSITION)
    axes = orientation.numbers(tags.ORIENTATION)
    spacing = measures.numbers(tags.SPACING) or measures.numbers(tags.DETECTOR_SPACING)
    for tag, values, lengths in (
        (tags.POSITION, place, (0, 3)),
        (tags.ORIENTATION, axes, (0, 6)),
        (tags.SPACING, spacing, (0, 2)),
    ):
        if len(values) not in lengths:
            raise Untrusted(
                Reason.BAD_ATTRIBUTE, f"Attribute {tag:08X} has {len(values)} values; it must have {lengths[1]}."
            )
    if spacing and min(spacing) <= 0:
        raise Untrusted(Reason.BAD_ATTRIBUTE, f"Its pixel spacing is {spacing[0]} x {spacing[1]} mm.")
    return Plane(
        (place[0], place[1], place[2]) if place else None,
        (axes[0], axes[1], axes[2]) if axes else None,
        (axes[3], axes[4], axes[5]) if axes else None,
        (spacing[0], spacing[1]) if spacing else None,
        _thickness(measures),
    )


def _thickness(measures: Attributes) -> float | None:
    """Only a slice that is alone needs it, so nothing is refused for it."""
    try:
        thickness = measures.number(tags.THICKNESS)
    except Untrusted:
        return None
    return thickness if thickness is not None and 0 < thickness < 1e6 else None


LARGEST_UNITS, SMALLEST_SLOPE = 1e30, 1e-30


def _rescale(attributes: Attributes) -> Rescale:
    """Rescale Slope and Intercept (PS3.3 C.11.1), for RT Dose its Dose Grid Scaling (C.8.8.3)."""
    slope, intercept = attributes.number(tags.SLOPE), attributes.number(tags.INTERCEPT)
    if slope is None:
        slope = attributes.number(tags.DOSE_SCALING)
    slope, intercept = 1.0 if slope is None else slope, 0.0 if intercept is None else intercept
    # Volumes keep both in float32, where the units of any stored value must be a number, and a slope more than rounding.
    if not SMALLEST_SLOPE <= abs(slope) < math.inf or not abs(slope) * 2.0**32 + abs(intercept) <= LARGEST_UNITS:
        raise Untrusted(
            Reason.BAD_ATTRIBUTE,
            f"Its rescale slope {slope} and intercept {intercept} give no numbers up to {LARGEST_UNITS:g}.",
        )
    return Rescale(slope, intercept)


# Attributes in which frames of one volume are equal, by the name that they have in `kind`.
NAMES = {
    tags.ECHO_NUMBER: "echo-number",
    tags.ECHO_TIME: "echo-time",
    tags.TEMPORAL_POSITION: "temporal-position",
    tags.B_VALUE: "b-value",
    tags.GRADIENT: "gradient",
    tags.UNITS: "units",
}


def _kind(attributes: Attributes, image_type: tuple[str, ...]) -> Kind:
    """Image Type from its third value on (the first two say original or derived), and what is there of NAMES."""
    kind = [f"image-type={value}" for value in image_type[2:] if value]
    for tag, name in NAMES.items():
        if tag in attributes.elements:
            vr = attributes.elements[tag][0]
            values = attributes.numbers(tag) if vr in ("FD", "UL", "US") else attributes.texts(tag)
            if values:
                kind.append(f"{name}={'/'.join(map(str, values))}")
    return tuple(kind)


def _enhanced_kind(groups: _Groups) -> Kind:
    image_type = groups.whole.texts(tags.IMAGE_TYPE)
    for sequence in tags.FRAME_TYPES:
        image_type = groups.group(sequence, tags.FRAME_TYPE).texts(tags.FRAME_TYPE) or image_type
    kind = list(_kind(groups.whole, image_type))
    content = groups.group(tags.FRAME_CONTENT, tags.STACK)
    diffusion = groups.group(tags.DIFFUSION, tags.B_VALUE)
    found: tuple[tuple[str, object], ...] = (
        ("stack", content.text(tags.STACK)),
        ("temporal-position", content.integer(tags.TEMPORAL_INDEX)),
        ("echo-time", groups.group(tags.ECHO, tags.EFFECTIVE_ECHO).number(tags.EFFECTIVE_ECHO)),
        ("b-value", diffusion.number(tags.B_VALUE)),
        ("gradient", "/".join(map(str, diffusion.first(tags.GRADIENT_SEQUENCE).numbers(tags.GRADIENT)))),
        ("segment", groups.group(tags.SEGMENT, tags.SEGMENT_NUMBER).integer(tags.SEGMENT_NUMBER)),
    )
    return (*kind, *(f"{name}={value}" for name, value in found if value not in (None, "")))
