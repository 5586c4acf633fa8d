"""Lookup tables and windows of a grey image, from stored values to modality units and to a display's range.

The order is that of PS3.3 C.11: modality, then values of interest, then presentation. Nothing here needs pydicom.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedmed.dicom import tags
from fedmed.dicom.attributes import Attributes
from fedmed.dicom.instance import Instance
from fedmed.dicom.reasons import Reason, Untrusted

Values = NDArray[np.generic]
MAX_ENTRIES = 1 << 16


@dataclass(frozen=True)
class Table:
    """A lookup table: `entries[0]` for inputs up to `first`, the last entry for those beyond (PS3.3 C.11.1.1)."""

    first: int
    entries: NDArray[np.unsignedinteger]
    bits: int
    """Of an entry: its largest value is 2**bits - 1."""

    def __call__(self, values: Values) -> NDArray[np.unsignedinteger]:
        """`values` of any shape, mapped; what is not whole is rounded."""
        whole = values if values.dtype.kind in "iu" else np.rint(values)
        inputs = np.clip(whole.astype(np.int64), self.first, self.first + len(self.entries) - 1)
        found: NDArray[np.unsignedinteger] = self.entries[inputs - self.first]
        return found


@dataclass(frozen=True)
class Window:
    """Window Center and Width in modality units, and VOI LUT Function (PS3.3 C.11.2.1.2, C.11.2.1.3)."""

    center: float
    width: float
    function: str = "LINEAR"

    def __call__(self, values: Values) -> NDArray[np.float64]:
        """`values` in modality units -> 0 to 1."""
        centred = np.asarray(values, np.float64) - self.center
        if self.function == "SIGMOID":
            with np.errstate(over="ignore"):
                return np.asarray(1 / (1 + np.exp(-4 * centred / self.width)))
        if self.function == "LINEAR_EXACT":
            return np.clip(centred / self.width + 0.5, 0, 1)
        if self.width == 1:  # a threshold: the formula's denominator is 0 and its ends still hold
            return np.where(centred > -0.5, 1.0, 0.0)
        return np.clip((centred + 0.5) / (self.width - 1) + 0.5, 0, 1)


def modality_values(instance: Instance, stored: Values) -> NDArray[np.float32]:
    """Stored values of all frames, shaped as `decode` gives them, in modality units (PS3.3 C.11.1): float32."""
    header = instance.header
    if header.modality_table:
        return modality_table(instance)(stored).astype(np.float32)
    tail = (1,) * (stored.ndim - 1)
    each = header.rescales if header.rescales.count(header.rescales[0]) < header.frames else header.rescales[:1]
    slope = np.array([one.slope for one in each]).reshape(-1, *tail)
    intercept = np.array([one.intercept for one in each]).reshape(-1, *tail)
    with np.errstate(over="ignore"):
        return np.asarray(np.asarray(stored, np.float64) * slope + intercept, np.float32)


def bright_values(instance: Instance, stored: Values) -> NDArray[np.float32]:
    """As `modality_values`, MONOCHROME1 turned so that bright is bright.

    Mirrored at the middle of what the bits can hold, not of this image: equal values stay equal across images.
    """
    values = modality_values(instance, stored)
    header = instance.header
    if header.photometric != "MONOCHROME1":
        return values
    low, high = (_constant(instance, end, stored.ndim) for end in stored_range(instance))
    return np.asarray(low + high - values, np.float32)


def _constant(instance: Instance, value: int, axes: int) -> NDArray[np.float64]:
    """A stored value in modality units, in each frame, to be broadcast against all of `axes` axes."""
    count = instance.header.frames if axes > 2 else 1
    return modality_values(instance, np.full((count, *(1,) * (axes - 1)), value)).astype(np.float64)


def stored_range(instance: Instance) -> tuple[int, int]:
    """Smallest and largest value that Bits Stored can hold."""
    header = instance.header
    if header.signed:
        return -(1 << header.bits_stored - 1), (1 << header.bits_stored - 1) - 1
    return 0, (1 << header.bits_stored) - 1


def modality_table(instance: Instance) -> Table:
    """Modality LUT Sequence (PS3.3 C.11.1.1)."""
    return _table(instance.attributes.first(tags.MODALITY_LUTS), instance.header.signed)


def voi_tables(instance: Instance) -> tuple[Table, ...]:
    """The alternatives of the VOI LUT Sequence (PS3.3 C.11.2.1.1), whose inputs are modality units."""
    return tuple([_table(item, instance.header.signed) for item in instance.attributes.items(tags.VOI_LUTS)])


def windows(instance: Instance, frame: int = 0) -> tuple[Window, ...]:
    """The alternatives of Window Center and Width, for enhanced objects those of one frame."""
    attributes = instance.attributes
    groups = attributes.items(tags.PER_FRAME)[frame : frame + 1] + attributes.items(tags.SHARED)[:1]
    for group in groups:
        if tags.VOI_WINDOW in group:
            attributes = group.first(tags.VOI_WINDOW)
            break
    function = attributes.text(tags.FUNCTION) or "LINEAR"
    centers, widths = attributes.numbers(tags.CENTER), attributes.numbers(tags.WIDTH)
    lowest = 1.0 if function == "LINEAR" else 0.0
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID") or len(centers) != len(widths):
        raise Untrusted(
            Reason.BAD_ATTRIBUTE, f"VOI LUT Function {function[:16]!r}, {len(centers)} centres, {len(widths)} widths."
        )
    if any(width < lowest or width == 0 for width in widths):
        raise Untrusted(
            Reason.BAD_ATTRIBUTE, f"A window is {min(widths)} wide; at least {lowest:g} is allowed ({function})."
        )
    return tuple([Window(*pair, function) for pair in zip(centers, widths, strict=True)])


def display_values(instance: Instance, stored: Values) -> NDArray[np.float64]:
    """Stored values of a grey image -> 0 (black) to 1 (white): modality, then the first VOI table or window, then shape.

    Without either, the range that Bits Stored can hold. MONOCHROME1, and Presentation LUT Shape INVERSE of For
    Presentation images, are turned (PS3.3 C.7.6.3.1.2, C.11.6.1.2); a file that says both says the same thing twice.
    """
    values = modality_values(instance, stored)
    tables, frame_windows = voi_tables(instance), windows(instance)
    if tables:
        shown = tables[0](values) / ((1 << tables[0].bits) - 1)
    elif frame_windows:
        several = instance.header.frames > 1 and values.ndim > 2
        parts = [windows(instance, frame)[0](values[frame]) for frame in range(len(values))] if several else []
        shown = np.stack(parts) if several else frame_windows[0](values)
    else:
        ends = np.stack([_constant(instance, end, values.ndim) for end in stored_range(instance)])
        low, high = ends.min(axis=0), ends.max(axis=0)
        shown = (values - low) / (high - low)
    inverse = instance.attributes.text(tags.PRESENTATION_SHAPE) == "INVERSE"
    turned = instance.header.photometric == "MONOCHROME1" or inverse
    return np.asarray(1 - shown if turned else shown, np.float64)


def described(attributes: Attributes, tag: int, signed: bool) -> tuple[int, int, int]:
    """Entries, first value mapped, bits an entry (PS3.3 C.11.1.1.1); the second is signed as the pixels are."""
    numbers = [int(number) & 0xFFFF for number in attributes.numbers(tag)]
    if len(numbers) != 3 or not 1 <= numbers[2] <= 16:
        raise Untrusted(Reason.BAD_ATTRIBUTE, f"Attribute {tag:08X} describes no lookup table: {numbers[:4]}.")
    count, first, bits = numbers
    signed = signed or attributes.elements[tag][0] == "SS"
    return count or MAX_ENTRIES, first - 0x10000 if signed and first > 0x7FFF else first, bits


def _table(item: Attributes, signed: bool) -> Table:
    count, first, bits = described(item, tags.LUT_DESCRIPTOR, signed)
    return Table(first, entries_of(item, tags.LUT_DATA, count), bits)


def entries_of(item: Attributes, tag: int, count: int) -> NDArray[np.unsignedinteger]:
    """Words, or bytes where there is one a table entry (PS3.3 C.7.6.3.1.6)."""
    data = item.raw(tag)
    if len(data) >= 2 * count:
        return np.frombuffer(data, ">u2" if item.big_endian else "<u2", count).astype(np.uint16)
    if len(data) < count:
        raise Untrusted(Reason.BAD_ATTRIBUTE, f"Attribute {tag:08X} has {len(data)} bytes for {count} entries.")
    values = np.frombuffer(data, np.uint8)
    if item.big_endian and len(data) % 2 == 0:
        values = values.reshape(-1, 2)[:, ::-1].reshape(-1)
    return values[:count].copy()
