"""One SOP instance: its header, checked, and where its pixels lie; no pixel is touched here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedmed.dicom import elements, tags
from fedmed.dicom.attributes import Attributes
from fedmed.dicom.elements import BIG_ENDIAN, Skimmed, Span, skim
from fedmed.dicom.frames import Frames, frames_of
from fedmed.dicom.header import Header
from fedmed.dicom.limits import LIMITS, Limits
from fedmed.dicom.reasons import NoImage, Reason, Status, Untrusted
from fedmed.dicom.sources import Source
from fedmed.dicom.walking import DOUBLE_PIXELS, FLOAT_PIXELS

NATIVE = (*elements.IMPLICIT_SYNTAXES, elements.EXPLICIT, elements.DEFLATED, elements.BIG_ENDIAN)
"""Transfer syntaxes whose pixels are not compressed."""
FREE_EXPANSION = 64 * 1024**2
"""Decoded bytes that any file may have, however small it is: an empty slice compresses to almost nothing."""


@dataclass(frozen=True)
class Instance:
    """What `decode` and the lookup tables need; small, so that those of a whole series can be held."""

    source: Source
    header: Header
    pixels: Span
    attributes: Attributes
    """Elements that were read, for windows and lookup tables."""

    @property
    def frame_bytes(self) -> int:
        """Of one decoded frame."""
        header = self.header
        return header.rows * header.columns * header.samples * -(-header.bits_allocated // 8)


def pixel_dtype(instance: Instance) -> np.dtype[np.generic]:
    """Of the decoded samples, in this machine's byte order; bits of Bits Allocated 1 become bytes of 0 and 1."""
    if instance.pixels.tag in (FLOAT_PIXELS, DOUBLE_PIXELS):
        return np.dtype("f4" if instance.pixels.tag == FLOAT_PIXELS else "f8")
    header = instance.header
    if header.bits_allocated == 1:
        return np.dtype("u1")
    return np.dtype(f"{'i' if header.signed else 'u'}{header.bits_allocated // 8}")


def pixel_shape(header: Header) -> tuple[int, ...]:
    """(rows, columns), with frames before them if there are several and samples after them if there are three."""
    frame = (header.rows, header.columns) if header.samples == 1 else (header.rows, header.columns, header.samples)
    return frame if header.frames == 1 else (header.frames, *frame)


def read_instance(source: Source, limits: Limits = LIMITS) -> Instance:
    """The header of the DICOM image in `source`, read no further than its pixels.

    Raises NoImage for what is no DICOM or has no pixels, and Untrusted, with the reason, for whatever cannot be trusted:
    sizes over `limits`, image attributes that are missing or contradict each other (PS3.3 C.7.6.3), a cut-off file.
    """
    skimmed = skim(source, tags.WANTED, limits)
    if skimmed.pixels is None:
        raise NoImage(Status.NO_PIXELS, "It holds no pixels.")
    if not skimmed.transfer_syntax:
        raise Untrusted(Reason.NO_TRANSFER_SYNTAX, "(0002,0010) is absent or empty.")
    attributes = Attributes(skimmed.elements, skimmed.transfer_syntax == BIG_ENDIAN)
    header = _header(attributes, skimmed, limits)
    instance = Instance(source, header, skimmed.pixels, attributes)
    _refuse_size(instance, limits)
    return instance


def _header(attributes: Attributes, skimmed: Skimmed, limits: Limits) -> Header:
    text, integer = attributes.text, attributes.integer
    rows, columns = _needed(attributes, tags.ROWS), _needed(attributes, tags.COLUMNS)
    if not 0 < rows * columns <= limits.pixels_per_frame or rows < 0:
        raise _size_fault(rows, columns, limits)
    count = integer(tags.FRAMES)
    count = 1 if count is None else count
    if not 1 <= count <= limits.frames:
        reason = Reason.TOO_LARGE if count > 0 else Reason.BAD_ATTRIBUTE
        raise Untrusted(reason, f"It has {count} frames; 1 to {limits.frames} are read.")
    image = _image(attributes, skimmed)
    frames = frames_of(attributes, count)
    alike = frames.kinds.count(frames.kinds[0]) == count
    return Header(
        study=text(tags.STUDY),
        series=text(tags.SERIES),
        sop_instance=text(tags.SOP_INSTANCE),
        sop_class=text(tags.SOP_CLASS),
        transfer_syntax=skimmed.transfer_syntax,
        modality=text(tags.MODALITY),
        rows=rows,
        columns=columns,
        frames=count,
        samples=image.samples,
        planar=image.planar,
        photometric=image.photometric,
        bits_allocated=image.allocated,
        bits_stored=image.stored,
        high_bit=image.high_bit,
        signed=image.signed,
        padding=_padding(attributes, image.signed),
        planes=frames.planes,
        rescales=frames.rescales,
        instance_number=integer(tags.INSTANCE),
        kind=_shared_kind(frames),
        accession=text(tags.ACCESSION),
        patient=text(tags.PATIENT),
        burned_in=text(tags.BURNED_IN),
        acquisition=text(tags.ACQUISITION),
        frame_kinds=() if alike else frames.kinds,
        modality_table=tags.MODALITY_LUTS in attributes,
        frame_of_reference=text(tags.FRAME_OF_REFERENCE),
    )


@dataclass(frozen=True)
class _Image:
    """The Image Pixel module (PS3.3 C.7.6.3) without its sizes."""

    samples: int
    photometric: str
    planar: int
    allocated: int
    stored: int
    high_bit: int
    signed: bool


def _image(attributes: Attributes, skimmed: Skimmed) -> _Image:
    samples = attributes.integer(tags.SAMPLES)
    samples = 1 if samples is None else samples
    photometric = attributes.text(tags.PHOTOMETRIC)
    allocated = _needed(attributes, tags.ALLOCATED)
    is_float = skimmed.pixels is not None and skimmed.pixels.tag in (FLOAT_PIXELS, DOUBLE_PIXELS)
    stored, signed = allocated, 0
    if not is_float:
        stored = _needed(attributes, tags.STORED)
        signed = _needed(attributes, tags.SIGNED)
    high_bit = attributes.integer(tags.HIGH_BIT)
    high_bit = stored - 1 if high_bit is None else high_bit
    planar = attributes.integer(tags.PLANAR) or 0
    widths = ((32,) if skimmed.pixels.tag == FLOAT_PIXELS else (64,)) if is_float and skimmed.pixels else (1, 8, 16, 32)
    for name, value, allowed in (
        ("Samples per Pixel", samples, (1, 3)),
        ("Planar Configuration", planar, (0, 1)),
        ("Bits Allocated", allocated, widths),
        ("Pixel Representation", signed, (0, 1)),
    ):
        if value not in allowed:
            raise Untrusted(Reason.BAD_ATTRIBUTE, f"{name} is {value}; {' or '.join(map(str, allowed))} may stand there.")
    if not 1 <= stored <= allocated or high_bit != stored - 1:
        raise Untrusted(
            Reason.BAD_ATTRIBUTE,
            f"High Bit {high_bit} must be Bits Stored {stored} less one, within {allocated} bits (PS3.5 section 8.1.1).",
        )
    if not photometric or (samples == 1) != photometric.startswith(("MONOCHROME", "PALETTE")):
        raise Untrusted(
            Reason.BAD_ATTRIBUTE, f"Photometric Interpretation {photometric!r} with {samples} samples per pixel."
        )
    return _Image(samples, photometric, planar, allocated, stored, high_bit, signed == 1)


def _needed(attributes: Attributes, tag: int) -> int:
    value = attributes.integer(tag)
    if value is None:
        raise Untrusted(Reason.BAD_ATTRIBUTE, f"Attribute {tag:08X}, which its pixels need, is missing.")
    return value


def _size_fault(rows: int, columns: int, limits: Limits) -> Untrusted:
    reason = Reason.TOO_LARGE if rows > 0 and columns > 0 else Reason.BAD_ATTRIBUTE
    return Untrusted(reason, f"It has {rows} x {columns} pixels; between 1 and {limits.pixels_per_frame} are read.")


def _padding(attributes: Attributes, signed: bool) -> tuple[int, int] | None:
    """PS3.3 C.7.5.1.1.2; the words are signed as the pixels are, whatever VR the writer chose."""
    ends = []
    for tag in (tags.PADDING, tags.PADDING_LIMIT):
        value = attributes.integer(tag)
        if value is not None:
            ends.append(value - 0x10000 if signed and 0x8000 <= value <= 0xFFFF else value & 0xFFFF if not signed else value)
    return (min(ends), max(ends)) if ends and tags.PADDING in attributes else None


def _shared_kind(frames: Frames) -> tuple[str, ...]:
    first = frames.kinds[0]
    return tuple(part for part in first if all(part in kind for kind in frames.kinds))


def _refuse_size(instance: Instance, limits: Limits) -> None:
    """What decoding would allocate, against the limits and against what is there to be decoded."""
    decoded = instance.frame_bytes * instance.header.frames
    if decoded > limits.decoded_bytes:
        raise Untrusted(Reason.TOO_LARGE, f"It decodes to {decoded} bytes; at most {limits.decoded_bytes} are decoded.")
    there = instance.pixels.source.size - instance.pixels.offset
    if instance.header.transfer_syntax in NATIVE:
        _refuse_length(instance, there)
    elif decoded > FREE_EXPANSION + limits.expansion * there:
        raise Untrusted(Reason.TOO_LARGE, f"{there} bytes decode to {decoded}: a bomb.")


def _refuse_length(instance: Instance, there: int) -> None:
    """Uncompressed pixels: too short is cut off; a short tail is padding; whole frames more contradict the header."""
    header, length = instance.header, instance.pixels.length
    bits = header.rows * header.columns * header.samples * header.frames * header.bits_allocated
    subsampled = header.photometric == "YBR_FULL_422"
    expected = -(-(bits // 3 * 2 if subsampled else bits) // 8)
    claimed = there if length is None else min(length, there)
    if claimed < expected:
        raise Untrusted(Reason.TRUNCATED, f"{claimed} bytes of pixels are there; {expected} were expected.")
    if subsampled and claimed >= expected // 2 * 3:
        raise Untrusted(Reason.BAD_ATTRIBUTE, f"{claimed} bytes are too many for YBR_FULL_422, which has {expected}.")
    frames = claimed * header.frames // expected
    if length is not None and claimed > expected + expected % 2 and frames > header.frames:
        raise Untrusted(Reason.BAD_ATTRIBUTE, f"Its pixels are those of {frames} frames; its header says {header.frames}.")
