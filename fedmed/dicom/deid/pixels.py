"""Pixels without text: blanked outside the declared regions, and no bytes beside the image."""

from __future__ import annotations

from math import ceil

import numpy as np
from numpy.typing import NDArray
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels import get_decoder
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from fedmed.dicom.deid.burned_in import Box, boxes_to_keep
from fedmed.dicom.deid.codestream import NotParsed, without_comments
from fedmed.dicom.faults import UNREADABLE
from fedmed.dicom.limits import Limits
from fedmed.dicom.reasons import Reason, Untrusted

PIXELS = 0x7FE00010
OFFSETS = (0x7FE00001, 0x7FE00002)
FLOATS = {0x7FE00008: 32, 0x7FE00009: 64}
RLE, JPEGS, VIDEO = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.", "1.2.840.10008.1.2.4.10"


def clean_pixels(source: Dataset, out: Dataset, transfer_syntax: str, limits: Limits) -> tuple[str, str]:
    """Puts cleaned pixels into `out`; what was done (`none`, `untouched`, `regions`) and the transfer syntax they now have.

    Raises Untrusted where text is likely and nothing says where, or where the pixels cannot be read.
    """
    if not any(tag in out for tag in (PIXELS, *FLOATS)):
        return "none", transfer_syntax
    boxes = boxes_to_keep(source)
    if boxes is None and not _overlay_in_pixels(source):
        _only_the_image(out, transfer_syntax)
        return "untouched", transfer_syntax
    syntax = _native(transfer_syntax)
    frames, photometric = _decoded(source, transfer_syntax, limits)
    if _overlay_in_pixels(source):
        frames = _without_foreign_bits(frames, source)
    if boxes is not None:
        _blank(frames, boxes, int(source.Rows), int(source.Columns), photometric, int(source.BitsStored))
    _store(out, frames, photometric, syntax)
    return "untouched" if boxes is None else "regions", syntax


def _decoded(source: Dataset, transfer_syntax: str, limits: Limits) -> tuple[NDArray[np.generic], str]:
    """All frames, colours as RGB, and their photometric interpretation. The one place that decodes."""
    _refuse_bombs(source, limits)
    if int(source.get("BitsAllocated", 0)) not in (8, 16, 32):
        raise Untrusted(Reason.DECODE_FAILED, f"{source.get('BitsAllocated')} bits allocated; 8, 16 or 32 can be cleaned")
    try:
        frames, described = get_decoder(UID(transfer_syntax)).as_array(source, raw=False)
    except UNREADABLE as error:
        raise Untrusted(Reason.DECODE_FAILED, f"text must be removed from its pixels ({type(error).__name__})") from error
    return np.array(frames), str(described["photometric_interpretation"])


def _refuse_bombs(source: Dataset, limits: Limits) -> None:
    rows, columns, samples = (int(source.get(name) or 0) for name in ("Rows", "Columns", "SamplesPerPixel"))
    frames = int(source.get("NumberOfFrames") or 1)
    size = rows * columns * max(samples, 1) * frames * ceil(int(source.get("BitsAllocated") or 0) / 8)
    if not 0 < rows * columns <= limits.pixels_per_frame or frames > limits.frames or size > limits.decoded_bytes:
        raise Untrusted(Reason.TOO_LARGE, f"{frames} frames of {rows} x {columns} pixels, {size} bytes decoded")


def _blank(
    frames: NDArray[np.generic], boxes: tuple[Box, ...], rows: int, columns: int, photometric: str, bits: int
) -> None:
    """Everything outside the boxes becomes black, in place."""
    shown = np.zeros((rows, columns), bool)
    for box in boxes:
        shown[box.top : box.bottom, box.left : box.right] = True
    colour = frames.ndim >= 3 and frames.shape[-1] in (3, 4) and frames.shape[-3:-1] == (rows, columns)
    planes = frames.reshape(-1, rows, columns, *(frames.shape[-1:] if colour else ()))
    black = (1 << bits) - 1 if photometric == "MONOCHROME1" and frames.dtype.kind == "u" else 0
    planes[:, ~shown] = black


def _store(out: Dataset, frames: NDArray[np.generic], photometric: str, syntax: str) -> None:
    dtype = frames.dtype.newbyteorder(">") if syntax == ExplicitVRBigEndian else frames.dtype.newbyteorder("<")
    raw = frames.astype(dtype, copy=False).tobytes()
    out.PhotometricInterpretation = photometric
    if int(out.get("SamplesPerPixel") or 1) > 1:
        out.PlanarConfiguration = 0
    wide = frames.dtype.itemsize > 1 or syntax == ImplicitVRLittleEndian
    out[PIXELS] = DataElement(PIXELS, "OW" if wide else "OB", _even(raw))
    for tag in OFFSETS:
        if tag in out:
            del out[tag]


def _native(transfer_syntax: str) -> str:
    """Uncompressed, with the byte order and the explicitness that the other elements have in the file."""
    kept = (ImplicitVRLittleEndian, ExplicitVRBigEndian)
    return transfer_syntax if transfer_syntax in kept else str(ExplicitVRLittleEndian)


def _overlay_in_pixels(source: Dataset) -> bool:
    """Whether an overlay lies in unused bits of the pixels (PS3.5 8.1.2, retired): its group then has no data of its own."""
    groups = range(0x6000, 0x6020, 2)
    return any((group << 16 | 0x102) in source and (group << 16 | 0x3000) not in source for group in groups)


def _without_foreign_bits(frames: NDArray[np.generic], source: Dataset) -> NDArray[np.generic]:
    """Clears all bits outside Bits Stored and extends the sign."""
    width, bits = frames.dtype.itemsize * 8, int(source.BitsStored)
    if frames.dtype.kind not in "iu" or not 1 <= bits <= width or int(source.get("HighBit", bits - 1)) != bits - 1:
        raise Untrusted(Reason.BAD_ATTRIBUTE, "an overlay lies in its pixels, and its High Bit is not Bits Stored less one")
    cleared: NDArray[np.generic] = np.right_shift(np.left_shift(frames, width - bits), width - bits)
    return cleared


def _only_the_image(out: Dataset, transfer_syntax: str) -> None:
    """Drops bytes that are no pixels: after native ones, and in comments and behind the end of compressed ones."""
    for tag in (PIXELS, *FLOATS):
        if tag not in out:
            continue
        value = out.get_item(tag).value or b""
        if not UID(transfer_syntax).is_compressed or UID(transfer_syntax).is_deflated:
            expected = _native_bytes(out, FLOATS.get(tag))
            if expected is not None and len(value) > expected:
                _replace(out, tag, _even(value[:expected]))
        elif transfer_syntax.startswith((RLE, JPEGS)) and not transfer_syntax.startswith(VIDEO):
            _replace(out, tag, _rebuilt(out, value, transfer_syntax != RLE))


def _rebuilt(out: Dataset, value: bytes, jpeg: bool) -> bytes:
    """The frames in new fragments with a new offset table, so that nothing of the old wrapping remains."""
    count = int(out.get("NumberOfFrames") or 1)
    try:
        frames = list(generate_frames(value, number_of_frames=count))
        stripped = [without_comments(frame) if jpeg else frame for frame in frames]
        if len(frames) != count:
            raise NotParsed(f"{len(frames)} frames, {count} expected")
        for tag in OFFSETS:
            if tag in out:
                del out[tag]
        return bytes(encapsulate(stripped, has_bot=True))
    except UNREADABLE as error:
        raise Untrusted(Reason.DECODE_FAILED, f"its compressed frames cannot be told apart ({error})") from error


def _replace(out: Dataset, tag: int, value: bytes) -> None:
    item = out[tag]
    element = DataElement(tag, item.VR, value)
    element.is_undefined_length = item.is_undefined_length
    out[tag] = element


def _native_bytes(out: Dataset, bits: int | None) -> int | None:
    """Bytes of all frames; None where an attribute that decides about it is missing or strange."""
    try:
        rows, columns = int(out.Rows), int(out.Columns)
        samples, frames = int(out.get("SamplesPerPixel") or 1), int(out.get("NumberOfFrames") or 1)
        width = bits or int(out.BitsAllocated)
    except UNREADABLE:
        return None
    if "422" in str(out.get("PhotometricInterpretation", "")):
        samples = 2
    return ceil(rows * columns * samples * frames * width / 8)


def _even(value: bytes) -> bytes:
    return value if len(value) % 2 == 0 else value + b"\0"
