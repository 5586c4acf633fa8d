"""Deflated Image Frame Compression (PS3.5 annex A.4.13): each frame a raw deflate stream, by zlib."""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

from fedmed.dicom.decoders.samples import clear_unused_bits
from fedmed.dicom.header import Header
from fedmed.dicom.reasons import Reason, Untrusted

PACKAGE = "Python's zlib"
SYNTAXES = {"1.2.840.10008.1.2.8.1": "Deflated Image Frame"}


def is_available(syntax: str) -> bool:
    """Always."""
    return True


def decode_frame(data: bytes, header: Header, out: NDArray[np.generic]) -> bool:
    """One frame into `out` (rows, columns[, samples]); whether its samples are YBR_FULL."""
    packed = header.bits_allocated == 1
    length = -(-out.size // 8) if packed else out.nbytes
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        content = inflater.decompress(data, length + 2)
    except zlib.error as error:
        raise Untrusted(Reason.DECODE_FAILED, f"A deflated frame is damaged ({error}).") from error
    if not length <= len(content) <= length + length % 2:
        raise Untrusted(Reason.DECODE_FAILED, f"A frame inflates to {len(content)} bytes or more, not {length}.")
    if packed:
        out[...] = np.unpackbits(np.frombuffer(content, np.uint8), count=out.size, bitorder="little").reshape(out.shape)
        return False
    values = np.frombuffer(content[:length], out.dtype.newbyteorder("<"))
    if header.samples > 1 and header.planar == 1:
        out[...] = values.reshape(header.samples, header.rows, header.columns).transpose(1, 2, 0)
    else:
        out[...] = values.reshape(out.shape)
    clear_unused_bits(out, header.bits_allocated - header.bits_stored)
    return header.photometric == "YBR_FULL"
