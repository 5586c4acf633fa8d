"""One array in NumPy's own format, read without trusting its header: no pickle, nothing allocated that is not there."""

from __future__ import annotations

import ast
import io
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmed.errors import DataError
from fedmed.wire.tensors import CODES

MAGIC = b"\x93NUMPY"
MAX_HEADER, MAX_AXES = 4096, 8


def encode(array: NDArray[np.generic]) -> bytes:
    """`array` as npy bytes in C order, little-endian: the same bytes for the same values."""
    if array.dtype.name not in CODES:
        raise DataError(f"an array has type {array.dtype}; allowed are {', '.join(CODES)}")
    file = io.BytesIO()
    plain = np.ascontiguousarray(array).reshape(array.shape)
    np.lib.format.write_array(file, plain.astype(array.dtype.newbyteorder("<"), copy=False), allow_pickle=False)
    return file.getvalue()


def decode(data: memoryview) -> NDArray[Any]:
    """A view of npy bytes. Raises DataError for what is none, for objects, and where shape and length disagree."""
    start, length = bytes(data[:12]), 0
    if start[:6] == MAGIC and start[6:7] in (b"\x01", b"\x02", b"\x03"):
        wide = start[6] > 1
        begin = 12 if wide else 10
        length = int.from_bytes(start[8:begin], "little")
    if not 0 < length <= MAX_HEADER:
        raise DataError("it is not an array in npy format")
    try:
        header = ast.literal_eval(bytes(data[begin : begin + length]).decode("utf-8"))
        descr, order, shape = header["descr"], header["fortran_order"], header["shape"]
        dtype = np.dtype(descr) if isinstance(descr, str) else np.dtype(object)
    except (ValueError, SyntaxError, LookupError, TypeError, MemoryError, RecursionError) as error:
        raise DataError(f"its npy header cannot be read ({type(error).__name__})") from error
    if dtype.name not in CODES:
        raise DataError(f"it holds {dtype}; allowed are {', '.join(CODES)}")
    sound = isinstance(shape, tuple) and len(shape) <= MAX_AXES and all(type(n) is int and n >= 0 for n in shape)
    if not sound or math.prod(shape) * dtype.itemsize != len(data) - begin - length:
        raise DataError(f"its npy header says {str(shape)[:100]} of {dtype}; it has {len(data) - begin - length} bytes")
    values = np.frombuffer(data, dtype, math.prod(shape), begin + length) if math.prod(shape) else np.zeros(0, dtype)
    return values.reshape(shape, order="F" if order is True else "C").astype(dtype.newbyteorder("="), copy=False)
