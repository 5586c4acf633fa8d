"""Named tensors as safetensors bytes, written without a copy of the weights.

The format: 8 bytes little-endian header length, a JSON header `{name: {dtype, shape, data_offsets}}`, then the data,
contiguous and little-endian. No pickle, hence no code, can travel in it.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from fedmed.errors import DataError

Tensors = dict[str, NDArray[np.generic]]

CODES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint64": "U64",
    "uint32": "U32",
    "uint16": "U16",
    "uint8": "U8",
    "bool": "BOOL",
}
DTYPES = {code: np.dtype(name) for name, code in CODES.items()}
MAX_HEADER_BYTES = 100_000_000  # the cap of the safetensors library itself
METADATA = "__metadata__"  # the format's own entry: texts, no tensor


def header_of(tensors: Mapping[str, NDArray[np.generic]]) -> bytes:
    """Length prefix and JSON header for `tensors`, padded so that the data starts on 8 bytes.

    Raises DataError for a dtype or a name that the format does not carry.
    """
    entries: dict[str, object] = {}
    offset = 0
    if METADATA in tensors:
        raise DataError(f"a tensor is named {METADATA!r}, which the safetensors format keeps for itself; rename it")
    for name, value in tensors.items():
        code = CODES.get(value.dtype.name)
        if code is None:
            raise DataError(f"tensor {name!r} has dtype {value.dtype}; allowed are {', '.join(CODES)}")
        entries[name] = {"dtype": code, "shape": list(value.shape), "data_offsets": [offset, offset + value.nbytes]}
        offset += value.nbytes
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def size_of(tensors: Mapping[str, NDArray[np.generic]]) -> int:
    """Bytes that `tensors` take in the format."""
    return len(header_of(tensors)) + sum(value.nbytes for value in tensors.values())


def raw(value: NDArray[np.generic]) -> bytes | memoryview:
    """The bytes of `value` in C order, without a copy where it is contiguous already."""
    return np.ascontiguousarray(value).reshape(-1).view(np.uint8).data


def put(tensors: Mapping[str, NDArray[np.generic]], buffer: memoryview) -> int:
    """Write `tensors` to the start of `buffer`; returns the bytes used."""
    header = header_of(tensors)
    buffer[: len(header)] = header
    offset = len(header)
    for value in tensors.values():
        target = np.frombuffer(buffer, value.dtype.newbyteorder("<"), value.size, offset).reshape(value.shape)
        np.copyto(target, value)
        offset += value.nbytes
    return offset


def write(tensors: Mapping[str, NDArray[np.generic]], file: BinaryIO) -> str:
    """Write `tensors` to `file`; returns the SHA-256 of what was written, as hex."""
    digest = hashlib.sha256()
    for chunk in (header_of(tensors), *(raw(_little_endian(value)) for value in tensors.values())):
        file.write(chunk)
        digest.update(chunk)
    return digest.hexdigest()


def _little_endian(value: NDArray[np.generic]) -> NDArray[np.generic]:
    return value.astype(value.dtype.newbyteorder("<"), copy=False)


def view(buffer: bytes | memoryview | object, source: str = "tensors") -> Tensors:
    """Named read-only views into `buffer`, without a copy.

    Raises DataError naming `source` where the bytes are not safetensors or the offsets leave the buffer.
    """
    data = memoryview(buffer)  # type: ignore[arg-type]
    entries, start = _read_header(data, source)
    tensors: Tensors = {}
    spans: list[tuple[int, int]] = []
    for name, entry in entries.items():
        if name == METADATA:
            continue
        try:
            dtype, shape, begin, end = _layout(entry)
            if end - begin != math.prod(shape) * dtype.itemsize or start + end > len(data):
                raise DataError(f"{source}: tensor {name!r} points outside the {len(data)} bytes given; the file is damaged")
            value = np.frombuffer(data, dtype, math.prod(shape), start + begin).reshape(shape)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise DataError(f"{source}: entry {name!r} of the safetensors header is malformed") from error
        value.flags.writeable = False
        tensors[name] = value
        spans.append((begin, end))
    _refuse_overlaps(spans, source)
    return tensors


def _layout(entry: dict[str, Any]) -> tuple[np.dtype[Any], tuple[int, ...], int, int]:
    dtype, shape, (begin, end) = DTYPES[entry["dtype"]], tuple(entry["shape"]), entry["data_offsets"]
    if not all(type(n) is int and n >= 0 for n in (*shape, begin, end)):
        raise ValueError("sizes and offsets are whole numbers from 0")
    return dtype, shape, begin, end


def _refuse_overlaps(spans: list[tuple[int, int]], source: str) -> None:
    spans.sort()
    if any(first[1] > second[0] for first, second in pairwise(spans)):
        raise DataError(f"{source}: one tensor overlaps another; the file is damaged")


def _read_header(data: memoryview, source: str) -> tuple[dict[str, dict[str, Any]], int]:
    length = int.from_bytes(data[:8], "little") if len(data) >= 8 else -1
    if not 2 <= length <= min(MAX_HEADER_BYTES, len(data) - 8):
        raise DataError(f"{source}: not a safetensors file ({len(data)} bytes, header length {length})")
    try:
        entries = json.loads(str(data[8 : 8 + length], "utf-8"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{source}: the safetensors header is not JSON; the file is damaged") from error
    if not isinstance(entries, dict) or not all(isinstance(entry, dict) for entry in entries.values()):
        raise DataError(f"{source}: the safetensors header is not an object of objects; the file is damaged")
    return entries, 8 + length


def sha256(data: bytes) -> str:
    """SHA-256 of bytes, as hex."""
    return hashlib.sha256(data).hexdigest()


def load(path: Path) -> Tensors:
    """The tensors of a safetensors file. Raises DataError where it is missing or damaged."""
    try:
        return view(path.read_bytes(), str(path))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); give a safetensors file") from error


def save(tensors: Mapping[str, NDArray[np.generic]], path: Path) -> str:
    """Write a safetensors file; returns its SHA-256 as hex."""
    with path.open("wb") as file:
        return write(tensors, file)
