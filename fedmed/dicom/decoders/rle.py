"""RLE Lossless (PS3.5 annex G) by imagecodecs."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from fedmed.dicom.decoders.samples import clear_unused_bits
from fedmed.dicom.header import Header
from fedmed.dicom.reasons import Reason, Untrusted

PACKAGE = "imagecodecs (fedmed[imaging])"
SYNTAXES = {"1.2.840.10008.1.2.5": "RLE Lossless"}


def is_available(syntax: str) -> bool:
    """Whether imagecodecs is installed with its DICOM RLE codec."""
    if find_spec("imagecodecs") is None:
        return False
    import imagecodecs

    return bool(imagecodecs.DICOMRLE.available)


def decode_frame(data: bytes, header: Header, out: NDArray[np.generic]) -> bool:
    """One frame into `out` (rows, columns[, samples]); whether its samples are YBR_FULL."""
    import imagecodecs

    packed = header.bits_allocated == 1
    length = -(-out.size // 8) if packed else out.nbytes
    _refuse_segments(data, header)
    try:
        content = imagecodecs.dicomrle_decode(data, f"<u{out.itemsize}")
    except (RuntimeError, ValueError, MemoryError) as error:
        raise Untrusted(Reason.DECODE_FAILED, f"imagecodecs dicomrle: {error}.") from error
    if len(content) != length:
        raise Untrusted(Reason.DECODE_FAILED, f"A frame decodes to {len(content)} bytes, not {length}.")
    if packed:
        out[...] = np.unpackbits(np.frombuffer(content, np.uint8), count=out.size, bitorder="little").reshape(out.shape)
        return False
    # Samples of a colour pixel are segments of their own, whatever Planar Configuration says.
    planes = np.frombuffer(content, np.dtype(f"<{out.dtype.kind}{out.itemsize}"))
    out[...] = planes.reshape(header.samples, header.rows, header.columns).transpose(1, 2, 0).reshape(out.shape)
    clear_unused_bits(out, header.bits_allocated - header.bits_stored)
    return header.photometric.startswith("YBR_FULL")


def _refuse_segments(data: bytes, header: Header) -> None:
    """PS3.5 section G.5: a segment for each byte of each sample, in order, within the frame."""
    expected = header.samples * max(1, header.bits_allocated // 8)
    words = np.frombuffer(data[:64], "<u4") if len(data) >= 64 else np.zeros(16, "<u4")
    places = words[1 : 1 + expected].tolist()
    if words[0] != expected or sorted(places) != places or not places or places[0] < 64 or places[-1] > len(data):
        raise Untrusted(
            Reason.DECODE_FAILED, f"An RLE frame tells of {words[0]} segments at {places}; {expected} must be there."
        )
