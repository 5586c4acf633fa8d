"""NumPy arrays as Flower arrays, without the copies that Flower's own conversions make."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from flwr.supercore.inflatable.inflatable_object import InflatableObject
from numpy.lib import format as npy
from numpy.typing import NDArray

from fedmed.wire.tensors import Tensors, raw

NUMPY = "numpy.ndarray"


def npy_bytes(value: NDArray[np.generic]) -> bytes:
    """`value` in the .npy format that Flower sends, in one copy."""
    header, contiguous = io.BytesIO(), np.asarray(value, order="C")  # ascontiguousarray would give 0-d arrays an axis
    npy.write_array_header_1_0(header, npy.header_data_from_array_1_0(contiguous))
    return b"".join((header.getvalue(), raw(contiguous)))


class BorrowedArray(Array):
    """A Flower array over memory that it does not own; its bytes are made only where someone asks for them."""

    def __init__(self, value: NDArray[np.generic]) -> None:
        self.__dict__.update(dtype=str(value.dtype), shape=tuple(value.shape), stype=NUMPY, _value=value, _is_dirty=True)

    @property
    def data(self) -> bytes:  # type: ignore[override]
        """The array in the .npy format."""
        return npy_bytes(self.__dict__["_value"])

    def numpy(self) -> NDArray[np.generic]:
        """The borrowed memory itself."""
        return self.__dict__["_value"]  # type: ignore[no-any-return]

    def slice_array(self) -> list[tuple[str, InflatableObject]]:
        """The chunks that Flower sends."""
        return self._own().slice_array()

    def deflate(self) -> bytes:
        """What Flower sends beside the chunks; it names the class, and a receiver knows Flower's own alone."""
        return self._own().deflate()

    def _own(self) -> Array:
        return Array(self.dtype, self.shape, self.stype, self.data)


def view_of(array: Array) -> NDArray[np.generic]:
    """A read-only view of the numbers in `array`, without a copy. Raises ValueError for bytes that are not .npy."""
    if isinstance(array, BorrowedArray):
        return array.numpy()
    length_bytes = 2 if array.data[6:7] == b"\x01" else 4
    start = 8 + length_bytes + int.from_bytes(array.data[8 : 8 + length_bytes], "little")
    shape, fortran, dtype = _header(array.data[:start])
    value = np.frombuffer(array.data, dtype, math.prod(shape), start)
    return value.reshape(shape, order="F" if fortran else "C")


@lru_cache(maxsize=4096)
def _header(text: bytes) -> tuple[tuple[int, ...], bool, np.dtype[np.generic]]:
    """Shape, order and dtype of a .npy header; cached, since a round's headers repeat for every site."""
    stream = io.BytesIO(text)
    read = npy.read_array_header_1_0 if npy.read_magic(stream) == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = read(stream)
    if dtype.hasobject:
        raise ValueError("arrays of Python objects are not allowed")
    return shape, fortran, dtype


def borrow(tensors: Mapping[str, NDArray[np.generic]]) -> ArrayRecord:
    """A record over `tensors`; valid as long as their memory is."""
    record = ArrayRecord()
    for name, value in tensors.items():
        record[name] = BorrowedArray(value)
    return record


def own(tensors: Mapping[str, NDArray[np.generic]]) -> ArrayRecord:
    """A record with its own copy of `tensors`, as any Flower code expects it."""
    record = ArrayRecord()
    for name, value in tensors.items():
        record[name] = Array(str(value.dtype), tuple(value.shape), NUMPY, npy_bytes(value))
    return record


def views(record: Mapping[str, Array]) -> Tensors:
    """Views of all arrays of a record, in its order."""
    return {name: view_of(array) for name, array in record.items()}


def array_records(content: RecordDict) -> dict[str, ArrayRecord]:
    """The array records of a message. Flower's own view of them is a reference cycle, which keeps whole models alive."""
    return {key: record for key, record in content.items() if isinstance(record, ArrayRecord)}


def all_views(content: RecordDict) -> Tensors:
    """Views of every tensor of a message."""
    return {name: value for record in array_records(content).values() for name, value in views(record).items()}


def numbers(content: RecordDict, kind: type[MetricRecord] | type[ConfigRecord]) -> dict[str, Any]:
    """Every entry of a message's records of one kind."""
    return {k: v for record in content.values() if isinstance(record, kind) for k, v in record.items()}
