"""Pixels of one SOP instance: stored values as an array, decoded into memory that is allocated once."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from fedmed.dicom.decoders import compressed, native
from fedmed.dicom.elements import BIG_ENDIAN
from fedmed.dicom.instance import NATIVE, Instance, pixel_dtype, pixel_shape

Pixels = NDArray[np.generic]


def decode(instance: Instance, *, workers: int = 1) -> Pixels:
    """Stored values of all frames, shaped as `pixel_shape` says, as pydicom 3's `pixel_array` gives them.

    Samples of a colour pixel lie together; YBR_FULL and YBR_FULL_422 are turned into RGB; bits outside Bits Stored are
    cleared and the sign extended. The array is in this machine's byte order. `workers` threads decode compressed frames.

    Raises Untrusted: TRUNCATED for pixels that are too short, DECODE_FAILED for those that are damaged or of another
    size than the header says, NO_DECODER and UNKNOWN_TRANSFER_SYNTAX.
    """
    out = np.empty(pixel_shape(instance.header), pixel_dtype(instance))
    decode_into(instance, out, workers=workers)
    return out


def decode_into(instance: Instance, out: Pixels, *, workers: int = 1) -> None:
    """Decodes into `out`: of `pixel_shape`, with or without an axis of one frame, and of a dtype that loses nothing.

    Where `out` is contiguous and of `pixel_dtype`, uncompressed pixels are read from the disk straight into it, and of
    compressed ones no more than a frame a thread is held beside it; else the whole is decoded first and copied.

    Raises Untrusted as `decode` does; `out` then holds anything.
    """
    header = instance.header
    shape = pixel_shape(header)
    if out.shape not in (shape, (1, *shape)) or (out.ndim > len(shape) and header.frames != 1):
        raise ValueError(f"pixels of shape {shape} cannot be decoded into an array of shape {out.shape}")
    if not np.can_cast(pixel_dtype(instance), out.dtype, "safe"):
        raise ValueError(f"pixels of type {pixel_dtype(instance)} do not fit into {out.dtype}")
    frames = out.reshape(header.frames, *shape[-2 if header.samples == 1 else -3 :])
    decoder = native.decode if header.transfer_syntax in NATIVE else compressed.decode
    if np.shares_memory(frames, out) and frames.dtype == pixel_dtype(instance) and frames.flags.c_contiguous:
        decoder(instance, frames, workers)
        return
    whole = np.empty(frames.shape, pixel_dtype(instance))
    decoder(instance, whole, workers)
    out[...] = whole.reshape(out.shape)


def pixel_sha256(instance: Instance, pixels: Pixels) -> str:
    """SHA-256 over the samples in C order and in the byte order that pydicom's `pixel_array` has: the file's own."""
    if instance.header.transfer_syntax == BIG_ENDIAN:
        pixels = pixels.astype(pixels.dtype.newbyteorder(">"))
    return hashlib.sha256(np.ascontiguousarray(pixels).data).hexdigest()
