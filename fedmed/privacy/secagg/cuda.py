"""Masks on a GPU: kernels/aes_ctr.cu through CuPy, the same bytes as on the CPU."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fedmed.errors import FederationError, MissingPart, first_line
from fedmed.privacy import keystream
from fedmed.privacy.keystream import SEGMENT_BYTES, SPARE_BYTES
from fedmed.privacy.secagg import sliced

if TYPE_CHECKING:
    from fedmed.privacy.secagg.masks import Stream
    from fedmed.privacy.secagg.rounding import Lanes

PROBED = ((bytes(range(24)), 1), (bytes(range(90, 114)), -1))
TAIL_BYTES = 60


@functools.cache
def why_not() -> str | None:
    """Why no masks are made on a GPU here, or None once the kernel was compiled, run, and equal to the CPU's cipher."""
    try:
        import cupy
        from cupy.cuda.compiler import CompileException
    except ImportError as error:
        return f"CuPy cannot be imported ({first_line(error)}); install fedmed[gpu]"
    try:
        if cupy.cuda.runtime.getDeviceCount() == 0:
            return "CuPy finds no GPU"
        return _probe()
    except (RuntimeError, OSError, ImportError, MemoryError, CompileException) as error:
        return f"the kernel does not run on a GPU here ({type(error).__name__}: {first_line(error)})"


def _probe() -> str | None:
    """Two streams, one taken off, over the border of two segments, in lanes of both widths."""
    rows, (added, off) = sliced.rows_of(PROBED), (_keystream(seed) for seed, _ in PROBED)
    for dtype in (np.uint16, np.uint32):
        wanted = added.view(dtype) - off.view(dtype)
        lanes = np.zeros_like(wanted)
        if not _run(lanes, rows):
            return "the GPU's memory is full"
        if not np.array_equal(lanes, wanted):
            return "the kernel ran on the GPU, but its masks are wrong"
    return None


def _keystream(seed: bytes) -> NDArray[np.uint8]:
    """Of a whole segment and the beginning of the next."""
    made = b""
    for number, size in enumerate((SEGMENT_BYTES, TAIL_BYTES)):
        octets = bytearray(size + SPARE_BYTES)
        keystream.segment(seed, number, "ctr")(bytes(size), memoryview(octets))
        made += octets[:size]
    return np.frombuffer(made, np.uint8)


def apply(lanes: Lanes, streams: Sequence[Stream]) -> bool:
    """Add all masks to `lanes` in place, as masks.apply defines, on CuPy's current GPU and stream; waits for the result.

    False, with the lanes untouched, where the GPU's memory is full (training holds it) or the lanes do not lie in one piece
    in the machine's byte order. Raises MissingPart where the kernel does not run, FederationError where the GPU fails in the
    middle: the lanes are lost then, and nothing may leave.
    """
    if reason := why_not():
        raise MissingPart(reason)
    if not (lanes.flags.c_contiguous and lanes.dtype.isnative):
        return False
    try:
        return _run(lanes, sliced.rows_of([(each.seed, each.sign) for each in streams]))
    except RuntimeError as error:  # CUDA's own errors are of this kind
        raise FederationError(
            f"the GPU failed while it made masks ({first_line(error)}); set FEDMED_MASKS=cpu to go on without it"
        ) from error


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
