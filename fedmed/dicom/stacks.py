"""Which frames make one volume, and which cannot: headers in, stacks out. No file, no pixel.

What a series *declares* to differ is parted: objects of another class, frames of reference, localisers among axial slices
(Image Type), echoes, temporal positions, b-values (`Header.kind`), repeated acquisitions. Each part is a stack that is
judged alone. What differs *undeclared* within a stack (shape, orientation, spacing, how values are stored) is refused:
nothing says which is right. Segmentations make no stack: they hold the slices that they mark, and no others.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from fedmed.dicom.geometry import TOLERANCE, Grid, Tolerance, arrange, picture
from fedmed.dicom.header import Header
from fedmed.dicom.reasons import Reason, Untrusted

GREY = ("MONOCHROME1", "MONOCHROME2")
SECTIONS = ("CT", "MR", "PT")
"""Modalities whose images are sections: one without a place is refused. Of others (CR, DX) it is a picture on its own."""
SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
Frame = tuple[int, int]
"""Index of the header, and of the frame in it."""


@dataclass(frozen=True)
class Stack:
    """Frames of one series that make one volume, or why they do not."""

    study: str
    series: str
    number: int
    """Of the stacks of this series, from 0."""
    kind: tuple[str, ...]
    """What its frames share and other stacks' do not, as their headers declare it."""
    frames: tuple[Frame, ...]
    """In ascending order along the normal; as they came, where the stack is refused."""
    grid: Grid | None
    refusal: Untrusted | None
    """None exactly where there is a grid."""

    @property
    def subject(self) -> str:
        """Its name, the same at every scan: the series, and the number of further stacks of it."""
        return f"{self.series}/{self.number}" if self.number else self.series


Series = tuple[str, str]
"""UIDs of a study and of a series in it."""
_Parts = dict[tuple[str, ...], list[Frame]]


def stacks(
    headers: Sequence[Header],
    *,
    refusals: Mapping[int, Untrusted] | None = None,
    poisoned: Mapping[Series, Untrusted] | None = None,
    tolerance: Tolerance = TOLERANCE,
    overruled: Mapping[str, Collection[Reason]] | None = None,
) -> list[Stack]:
    """The stacks of any number of series, in the order of their UIDs.

    `refusals` say of headers, by index, what is wrong with their pixels: that refuses the stacks they are in.
    `poisoned` names series that have a file without a readable header, which may be a slice of any of their stacks.
    `overruled` names, by `Stack.subject`, what a person let pass. Never raises for what is in a header.
    """
    found: list[Stack] = []
    poisoned = poisoned or {}
    for series, parts in sorted({**dict.fromkeys(poisoned, _Parts()), **_parts(headers)}.items()):
        count = 0
        for kind, frames in sorted(parts.items()) if parts else [((), [])]:
            for part in _phases(headers, frames):
                stack = Stack(*series, count, kind, tuple(part), None, poisoned.get(series))
                count += 1
                if stack.refusal is None:
                    allowed = (overruled or {}).get(stack.subject, ())
                    stack = _judged(headers, stack, refusals or {}, tolerance, allowed)
                found.append(stack)
    return found


def _parts(headers: Sequence[Header]) -> dict[Series, _Parts]:
    found: dict[Series, _Parts] = defaultdict(lambda: defaultdict(list))
    for index, header in enumerate(headers):
        if header.sop_class == SEGMENTATION:
            continue
        for frame, kind in enumerate(header.frame_kinds or (header.kind,) * header.frames):
            whole = (header.modality, header.sop_class, header.frame_of_reference, *kind, *_alone(header))
            # Without a series nothing says what belongs together: each file is one of its own.
            series = header.series or f"of no series: {header.sop_instance or index}"
            found[header.study, series][whole].append((index, frame))
    return found


def _alone(header: Header) -> tuple[str, ...]:
    """Something that no other file has, for a picture that lies nowhere: it makes no volume with others."""
    return (header.sop_instance,) if _is_picture(header) else ()


def _is_picture(header: Header) -> bool:
    nowhere = header.planes[0].position_mm is None and header.planes[0].row is None
    return header.frames == 1 and nowhere and header.modality not in SECTIONS


def _phases(headers: Sequence[Header], frames: list[Frame]) -> list[list[Frame]]:
    """By acquisition, where several have slices at the same places; else as one, for scanners also count while they move."""
    parts: dict[str, list[Frame]] = defaultdict(list)
    for index, frame in frames:
        parts[headers[index].acquisition].append((index, frame))
    if len(parts) < 2:
        return [frames]
    places = [{headers[index].planes[frame].position_mm for index, frame in part} for part in parts.values()]
    if len(set().union(*places)) == sum(map(len, places)):
        return [frames]
    return [part for _, part in sorted(parts.items())]


def _judged(
    headers: Sequence[Header],
    stack: Stack,
    refusals: Mapping[int, Untrusted],
    tolerance: Tolerance,
    overruled: Collection[Reason],
) -> Stack:
    members = [headers[index] for index in dict.fromkeys(index for index, _ in stack.frames)]
    try:
        for index, _ in stack.frames:
            if index in refusals:
                raise refusals[index]
        _refuse_mixed(members)
        if Reason.BURNED_IN_TEXT not in overruled:
            _refuse_burned_in(members)
        planes = [headers[index].planes[frame] for index, frame in stack.frames]
        alone = len(planes) == 1 and _is_picture(members[0])
        grid = picture(planes[0]) if alone else arrange(planes, tolerance, overruled)
    except Untrusted as error:
        return replace(stack, refusal=error)
    return replace(stack, grid=grid, frames=tuple(stack.frames[int(k)] for k in grid.order))


def _refuse_mixed(members: list[Header]) -> None:
    """What must be equal over all files for their stored values to be of one kind and one size."""
    first, storage = members[0], _storage(members[0])
    patients = len({header.patient for header in members})
    if patients > 1:
        raise Untrusted(Reason.MIXED_PATIENTS, f"{patients} patient IDs stand in its {len(members)} files.")
    sizes = sorted({(header.rows, header.columns) for header in members})
    if len(sizes) > 1:
        shown = ", ".join(f"{rows} x {columns}" for rows, columns in sizes[:4])
        raise Untrusted(Reason.MIXED_SHAPE, f"There are {len(sizes)} sizes (rows x columns): {shown}.")
    for header in members:
        if header.samples != 1 or header.photometric not in GREY:
            raise Untrusted(
                Reason.COLOUR,
                f"One is {header.photometric} with {header.samples} samples a pixel; volumes are of {' or '.join(GREY)}.",
            )
        if _storage(header) != storage:
            raise Untrusted(Reason.MIXED_MEANING, f"Values are stored in two ways: {_stored(first)}; {_stored(header)}.")
    ranges = {header.padding for header in members if header.padding is not None}
    if len(ranges) > 1:
        raise Untrusted(Reason.MIXED_MEANING, f"Pixel padding is given in {len(ranges)} ways: {sorted(ranges)[:4]}.")


def _storage(header: Header) -> tuple[object, ...]:
    """What must be equal; Bits Stored only where it sets the white end, else it just fills words more or less."""
    bits = header.bits_stored if header.photometric == GREY[0] else 0
    return header.photometric, header.signed, header.bits_allocated, bits, header.modality_table


def _stored(header: Header) -> str:
    sign = "signed" if header.signed else "unsigned"
    return f"{header.photometric}, {sign}, {header.bits_stored} of {header.bits_allocated} bits"


def _refuse_burned_in(members: list[Header]) -> None:
    marked = sum(header.burned_in == "YES" for header in members)
    if marked:
        raise Untrusted(Reason.BURNED_IN_TEXT, f"{marked} of its {len(members)} files say YES in Burned In Annotation.")
