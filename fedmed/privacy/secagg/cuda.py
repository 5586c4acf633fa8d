"""Masks on a GPU: kernels/aes_ctr.cu through CuPy, the same bytes as on the CPU."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fedmed.errors import MissingPart, first_line
from fedmed.privacy import keystream
from fedmed.privacy.keystream import SEGMENT_BYTES, SPARE_BYTES
from fedmed.privacy.secagg import sliced

if TYPE_CHECKING:
    from fedmed.privacy.secagg.masks import Lanes, Stream

PROBED = ((bytes(range(24)), 1), (bytes(range(90, 114)), -1))


@functools.cache
def why_not() -> str | None:
    """Why no masks are made on a GPU here, or None once the kernel was compiled, run, and found equal to the CPU's cipher."""
    try:
        import cupy
        from cupy.cuda.compiler import CompileException
    except ImportError as error:
        return f"CuPy cannot be imported ({first_line(error)}); install fedmed[gpu]"
    try:
        if cupy.cuda.runtime.getDeviceCount() == 0:
            return "CuPy finds no GPU"
        return None if _is_right() else "the kernel ran on the GPU, but its masks are wrong"
    except (RuntimeError, OSError, ImportError, MemoryError, CompileException) as error:
        return f"the kernel does not run on a GPU here ({type(error).__name__}: {first_line(error)})"


def _is_right() -> bool:
    """Two streams, one taken off, over the border of two segments, in lanes of both widths."""
    tail, wanted = 62, []
    for seed, _ in PROBED:
        octets = bytearray(SEGMENT_BYTES + SPARE_BYTES)
        keystream.segment(seed, 0, "ctr")(bytes(SEGMENT_BYTES), memoryview(octets))
        after = bytearray(tail + SPARE_BYTES)
        keystream.segment(seed, 1, "ctr")(bytes(tail), memoryview(after))
        wanted.append(np.frombuffer(octets[:SEGMENT_BYTES] + after[:tail], np.uint8))
    rows = sliced.rows_of(PROBED)
    for dtype in (np.uint16, np.uint32):
        size = len(wanted[0]) // np.dtype(dtype).itemsize
        added, off = (each[: size * np.dtype(dtype).itemsize].view(dtype) for each in wanted)
        lanes = np.zeros(size, dtype)
        _run(lanes, rows)
        if not np.array_equal(lanes, added - off):
            return False
    return True


def apply(lanes: Lanes, streams: Sequence[Stream]) -> bool:
    """Add all masks to `lanes` in place, as masks.apply defines, on CuPy's current GPU and stream; waits for the result.

    False, with the lanes untouched, where the GPU's memory is full (training holds it) or the lanes do not lie in one piece
    in the machine's byte order. Raises MissingPart where the kernel does not run.
    """
    if reason := why_not():
        raise MissingPart(reason)
    if not (lanes.flags.c_contiguous and lanes.dtype.isnative):
        return False
    return _run(lanes, sliced.rows_of([(each.seed, each.sign) for each in streams]))


def _run(lanes: Lanes, rows: NDArray[np.uint32]) -> bool:
    import cupy

    octets = lanes.view(np.uint8)
    try:
        keys = cupy.asarray(rows)
        room = cupy.zeros(sliced.PIECE_BYTES * sliced.pieces(min(len(octets), sliced.PART_BYTES)), np.uint8)
    except cupy.cuda.memory.OutOfMemoryError:
        return False
    try:
        for part in sliced.parts(len(octets)):
            there = room[: part.stop - part.start]
            there.set(octets[part])
            for call in sliced.launches(part, lanes.itemsize, keys):
                _kernel(call.entry, cupy.cuda.Device().id)((call.blocks,), sliced.BLOCK, (*call.inputs, room, *call.scalars))
            there.get(out=octets[part])
    finally:
        keys.fill(0)  # CuPy keeps freed memory and hands it out again
    return True


@functools.cache
def _kernel(entry: str, device: int) -> Any:
    import cupy

    return cupy.RawModule(code=sliced.source()).get_function(entry)
