"""What intake must know of a file before it decodes a pixel, typed and checked."""

from __future__ import annotations

from dataclasses import dataclass

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Plane:
    """Where one frame lies in the patient (PS3.3 C.7.6.2.1.1); None where the file does not say."""

    position_mm: Triple | None
    """Image Position (Patient): centre of the first pixel, LPS+."""
    row: Triple | None
    """Direction of increasing column index: the first half of Image Orientation (Patient)."""
    column: Triple | None
    """Direction of increasing row index: the second half."""
    spacing_mm: tuple[float, float] | None
    """Between rows, between columns (PS3.3 10.7.1.3)."""
    thickness_mm: float | None = None
    """Slice Thickness: what a single slice stands for. It is not the distance between slices, which may overlap."""


@dataclass(frozen=True)
class Rescale:
    """Stored values -> modality units (PS3.3 C.11.1.1.2)."""

    slope: float = 1.0
    intercept: float = 0.0


@dataclass(frozen=True)
class Header:
    """One SOP instance; sizes and bit depths are within the limits and make sense together."""

    study: str
    series: str
    sop_instance: str
    sop_class: str
    transfer_syntax: str
    modality: str
    rows: int
    columns: int
    frames: int
    samples: int
    """Samples per pixel: 1, or 3 in colour."""
    planar: int
    """1: colour by plane; 0: colour by pixel."""
    photometric: str
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    padding: tuple[int, int] | None
    """Stored values, first to last, that are no image (PS3.3 C.7.5.1.1.2)."""
    planes: tuple[Plane, ...]
    """One a frame."""
    rescales: tuple[Rescale, ...]
    """One a frame."""
    instance_number: int | None
    kind: tuple[str, ...]
    """What must be equal for frames to be of one volume: image type, echo, temporal position, b-value, stack..."""
    accession: str
    patient: str
    burned_in: str
    """Burned In Annotation: YES, NO or empty."""
    acquisition: str = ""
    """Acquisition Number: parts one volume from another only where both have slices at the same places."""
    frame_kinds: tuple[tuple[str, ...], ...] = ()
    """One a frame, where frames of this file differ in `kind` (enhanced multi-frame); empty where they do not."""
    modality_table: bool = False
    """Stored values become modality units by a Modality LUT Sequence and not by `rescales`; see `luts`."""
    frame_of_reference: str = ""
    """Positions of two of them cannot be compared (PS3.3 C.7.4.1)."""
