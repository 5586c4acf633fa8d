from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fedmed.errors import DataError
from fedmed.wire import npy
from fedmed.wire.tensors import CODES

arrays = hnp.arrays(
    st.sampled_from([np.dtype(name) for name in CODES]), hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
)


def saved(array, **options) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


@given(arrays)
def test_what_is_encoded_is_what_numpy_writes_and_reads(array):
    data = npy.encode(array)
    assert data == saved(array)
    found = npy.decode(memoryview(data))
    assert (found.dtype, found.shape, found.tobytes()) == (array.dtype, array.shape, array.tobytes())


@given(arrays)
def test_other_orders_are_read_too(array):
    swapped = array.astype(array.dtype.newbyteorder(">"))
    for other in (array.copy(order="F"), swapped):
        found = npy.decode(memoryview(saved(other)))
        assert found.dtype.isnative
        assert np.array_equal(found, array, equal_nan=array.dtype.kind == "f")


def with_header(text: str, data: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + data


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x93NUMPY",
        b"\x93NUMPY\x09\x00\x10\x00" + b" " * 16,
        saved(np.zeros(3))[:-1],
        saved(np.zeros(3)) + b"\0",
        saved(np.array([None, 1], dtype=object), allow_pickle=True),
        saved(np.zeros(2, dtype=[("a", "f4")])),
        saved(np.array(["text"])),
        saved(np.zeros(2, np.complex64)),
        with_header("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 1000000)}"),
        with_header("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, -4)}", bytes(16)),
        with_header("{'descr': '<f4', 'fortran_order': False, 'shape': (True,)}", bytes(4)),
        with_header("{'descr': '<f4', 'fortran_order': False, 'shape': 4}", bytes(16)),
        with_header("{'descr': '<f4', 'fortran_order': False, 'shape': (1,) * 9}", bytes(4)),
        with_header("{'descr': '<f4', 'fortran_order': False}", bytes(4)),
        with_header("{'descr': 'nonsense', 'fortran_order': False, 'shape': (1,)}", bytes(4)),
        with_header("__import__('os')"),
        with_header("(" * 3000),
    ],
)
def test_what_is_no_array_is_refused(data):
    with pytest.raises(DataError):
        npy.decode(memoryview(data))


@given(st.binary(max_size=200))
@example(b"\x93NUMPY\x01\x00\x00\x00")
def test_no_bytes_do_more_than_be_refused(data):
    for content in (data, b"\x93NUMPY\x01\x00" + data):
        try:
            npy.decode(memoryview(content))
        except DataError:
            continue
