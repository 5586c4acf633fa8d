"""Uncompressed pixels (PS3.5 section 8.1.1, annex A.1 to A.3, A.5), by NumPy."""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import NDArray

from fedmed.dicom.decoders.samples import clear_unused_bits, to_rgb
from fedmed.dicom.elements import BIG_ENDIAN, GE_BIG_ENDIAN_PIXELS
from fedmed.dicom.instance import Instance, pixel_dtype
from fedmed.dicom.walking import PIXELS


def decode(instance: Instance, out: NDArray[np.generic], workers: int = 1) -> None:
    """All frames into `out` `(frames, rows, columns[, samples])`, contiguous, of the dtype of the pixels."""
    header, span = instance.header, instance.pixels
    subsampled = header.photometric == "YBR_FULL_422"
    samples = out.size // 3 * 2 if subsampled else out.size
    if header.bits_allocated == 1:
        packed = np.frombuffer(span.source.span(span.offset, -(-samples // 8)), np.uint8)
        out[...] = np.unpackbits(packed, count=out.size, bitorder="little").reshape(out.shape)
        return
    if subsampled:
        _expand_422(_stored(instance, samples), out)
        to_rgb(out)
        return
    if header.samples > 1 and header.planar == 1:
        planes = _stored(instance, samples).reshape(header.frames, header.samples, header.rows, header.columns)
        out[...] = planes.transpose(0, 2, 3, 1)
    else:
        _read(instance, out.reshape(-1))
    if header.photometric == "YBR_FULL":
        to_rgb(out)
    if span.tag == PIXELS:
        clear_unused_bits(out, header.bits_allocated - header.bits_stored)


def _stored(instance: Instance, count: int) -> NDArray[np.generic]:
    values = np.empty(count, pixel_dtype(instance))
    _read(instance, values)
    return values


def _read(instance: Instance, values: NDArray[np.generic]) -> None:
    """From the source into `values`, then into this machine's byte order."""
    span, header = instance.pixels, instance.header
    if header.transfer_syntax == BIG_ENDIAN and span.vr == "OW" and values.itemsize == 1:
        # Bytes were written as words of 16 bits, so each pair stands the wrong way round.
        words = span.source.span(span.offset, min(values.size + values.size % 2, span.source.size - span.offset))
        swapped = np.frombuffer(bytes(words) + b"\0" * (len(words) % 2), "u2").byteswap().view(values.dtype)
        values[...] = swapped[: values.size]
        return
    span.source.read_into(span.offset, memoryview(values.view(np.uint8)))  # type: ignore[arg-type]
    big_endian = header.transfer_syntax in (BIG_ENDIAN, GE_BIG_ENDIAN_PIXELS)
    if values.itemsize > 1 and big_endian != (sys.byteorder == "big"):
        values.byteswap(inplace=True)


def _expand_422(packed: NDArray[np.generic], out: NDArray[np.generic]) -> None:
    """PS3.3 C.7.6.3.1.2: two pixels of Y, then the colour that they share."""
    quads, pixels = packed.reshape(-1, 4), out.reshape(-1, 6)
    pixels[:, 0], pixels[:, 3] = quads[:, 0], quads[:, 1]
    pixels[:, 1] = pixels[:, 4] = quads[:, 2]
    pixels[:, 2] = pixels[:, 5] = quads[:, 3]
