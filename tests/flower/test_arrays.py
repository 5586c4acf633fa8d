from __future__ import annotations

import io

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.lib import format as npy

from fedmed.flower import arrays
from fedmed.flower.arrays import BorrowedArray, npy_bytes, view_of
from fedmed.wire.tensors import DTYPES

VALUES = {
    "float32": np.arange(12, dtype=np.float32).reshape(3, 4),
    "float64": np.linspace(0, 1, 5),
    "float16": np.ones((2, 2), np.float16),
    "int64": np.arange(-3, 3),
    "uint8": np.arange(256, dtype=np.uint8),
    "bool": np.array([[True, False], [False, True]]),
    "0-d float": np.array(2.5, np.float32),
    "0-d int": np.array(7),
    "empty": np.zeros((0, 3), np.float32),
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_the_bytes_are_those_that_flower_makes(value):
    ours, flowers = arrays.own({"a": value})["a"], Array(value)
    assert npy_bytes(value) == flowers.data
    assert (ours.dtype, ours.shape, ours.stype, ours.data) == (flowers.dtype, flowers.shape, flowers.stype, flowers.data)
    assert BorrowedArray(value).object_id == flowers.object_id


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_flower_reads_ours_and_we_read_flowers(value):
    for read in (arrays.own({"a": value})["a"].numpy(), BorrowedArray(value).numpy(), view_of(Array(value))):
        assert read.dtype == value.dtype
        assert read.shape == value.shape
        np.testing.assert_array_equal(read, value)


@pytest.mark.parametrize(
    "value",
    [np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)), np.arange(24.0).reshape(4, 6)[::2, ::-3]],
    ids=["Fortran", "strided"],
)
def test_another_memory_order_keeps_its_values(value):
    np.testing.assert_array_equal(view_of(Array(value)), value)
    np.testing.assert_array_equal(arrays.own({"a": value})["a"].numpy(), value)
    np.testing.assert_array_equal(np.load(io.BytesIO(npy_bytes(value))), value)


@given(hnp.arrays(st.sampled_from(sorted(DTYPES.values(), key=str)), hnp.array_shapes(min_dims=0, max_dims=4, min_side=0)))
@settings(max_examples=60, deadline=None)
def test_any_array_goes_both_ways(value):
    assert npy_bytes(value) == Array(value).data
    assert view_of(arrays.own({"a": value})["a"]).tobytes() == value.tobytes()


def test_a_view_is_no_copy_and_cannot_be_written():
    array = Array(np.arange(1000, dtype=np.float32))
    view = view_of(array)
    assert np.shares_memory(view, np.frombuffer(array.data, np.uint8))
    with pytest.raises(ValueError, match="read-only"):
        view[0] = 1


def test_a_borrowed_array_is_the_memory_itself():
    value = np.zeros(3, np.float32)
    array = arrays.borrow({"a": value})["a"]
    before = array.data
    value[:] = 5
    assert array.numpy() is value
    assert array.data != before
    assert np.load(io.BytesIO(array.data)).tolist() == [5, 5, 5]


def test_an_owned_array_is_not_touched_by_what_happens_to_its_source():
    value = np.zeros(3, np.float32)
    record = arrays.own({"a": value})
    value[:] = 5
    assert record["a"].numpy().tolist() == [0, 0, 0]


def test_a_record_keeps_names_and_order():
    tensors = {"z": np.zeros(1, np.float32), "a.b": np.ones(2, np.float32), "m": np.array(3)}
    for record in (arrays.own(tensors), arrays.borrow(tensors), ArrayRecord({k: Array(v) for k, v in tensors.items()})):
        assert list(arrays.views(record)) == ["z", "a.b", "m"]
        assert {name: value.shape for name, value in arrays.views(record).items()} == {"z": (1,), "a.b": (2,), "m": ()}


def test_a_newer_npy_header_is_read():
    stream = io.BytesIO()
    npy.write_array(stream, VALUES["float32"], version=(2, 0))
    array = Array("float32", (3, 4), "numpy.ndarray", stream.getvalue())
    np.testing.assert_array_equal(view_of(array), VALUES["float32"])


def test_python_objects_are_refused_unread():
    stream = io.BytesIO()
    np.save(stream, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="Python objects"):
        view_of(Array("object", (1,), "numpy.ndarray", stream.getvalue()))


@pytest.mark.parametrize("cut", [0, 5, 9, 60, 140])
def test_damaged_bytes_are_a_value_error(cut):
    data = Array(VALUES["float32"]).data[:cut]
    with pytest.raises(ValueError, match=r"."):
        view_of(Array("float32", (3, 4), "numpy.ndarray", data))


def test_bytes_of_another_kind_are_a_value_error():
    with pytest.raises(ValueError, match="magic"):
        view_of(Array("float32", (3, 4), "numpy.ndarray", b"PK\x03\x04" + bytes(400)))


def test_a_borrowed_array_arrives_where_only_flower_is_installed():
    record = arrays.borrow({"a": VALUES["float32"], "n": VALUES["0-d int"]})
    objects = {name: found.deflate() for name, found in get_all_nested_objects(record).items()}
    arrived = inflate_object_from_contents(record.object_id, objects)
    assert {name: type(array) for name, array in arrived.items()} == {"a": Array, "n": Array}
    np.testing.assert_array_equal(arrived["a"].numpy(), VALUES["float32"])
    assert arrived["n"].numpy().shape == ()
