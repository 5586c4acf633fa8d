from __future__ import annotations

import io
import json
import tracemalloc

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors import SafetensorError

from fedmed.errors import DataError
from fedmed.wire import tensors as wire

dtypes = st.sampled_from([np.dtype(name) for name in wire.CODES])
arrays = hnp.arrays(dtypes, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
names = st.text(st.characters(exclude_categories=("Cs",)), max_size=8).filter(lambda name: name != "__metadata__")
dicts = st.dictionaries(names, arrays, max_size=5)


def encoded(tensors) -> bytes:
    file = io.BytesIO()
    wire.write(tensors, file)
    return file.getvalue()


def with_header(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def same(one, other) -> bool:
    return one.keys() == other.keys() and all(
        (value.dtype, value.shape, value.tobytes()) == (other[name].dtype, other[name].shape, other[name].tobytes())
        for name, value in one.items()
    )


@pytest.fixture(scope="module")
def model():
    rng = np.random.default_rng(3)
    return {
        "weight": rng.normal(size=(3, 5)).astype(np.float32),
        "bias": rng.normal(size=5).astype(np.float64),
        "seen": np.array(17, np.int64),
        "mask": np.array([True, False, True]),
    }


@given(dicts)
def test_round_trip(tensors):
    data = encoded(tensors)
    assert same(wire.view(data), tensors)
    assert len(data) == wire.size_of(tensors)
    assert list(wire.view(data)) == list(tensors)


@given(dicts)
def test_put_writes_what_write_writes(tensors):
    data = encoded(tensors)
    buffer = bytearray(b"\xaa" * (len(data) + 16))
    assert wire.put(tensors, memoryview(buffer)) == len(data)
    assert buffer[: len(data)] == data
    assert buffer[len(data) :] == b"\xaa" * 16


@given(dicts)
def test_put_needs_not_one_byte_more(tensors):
    data = encoded(tensors)
    buffer = bytearray(len(data))
    wire.put(tensors, memoryview(buffer))
    assert buffer == data


@given(dicts)
def test_the_safetensors_library_reads_what_is_written(tensors):
    assert same(safetensors.numpy.load(encoded(tensors)), tensors)


@given(dicts)
def test_what_the_safetensors_library_writes_is_read(tensors):
    tensors = {name: np.ascontiguousarray(value).reshape(value.shape) for name, value in tensors.items()}
    data = safetensors.numpy.save(tensors, metadata={"format": "pt"})
    assert same(wire.view(data), tensors)


@pytest.mark.parametrize("order", ["F", "strided", "big-endian", "read-only"])
def test_other_memory_layouts_are_written_as_their_values(order):
    value = np.arange(24, dtype=np.float32).reshape(4, 6)
    given_value = {
        "F": np.asfortranarray(value),
        "strided": np.repeat(value, 2, axis=1)[:, ::2],
        "big-endian": value.astype(">f4"),
        "read-only": np.frombuffer(value.tobytes(), np.float32).reshape(4, 6),
    }[order]
    data = encoded({"a": given_value})
    buffer = bytearray(len(data))
    wire.put({"a": given_value}, memoryview(buffer))
    for text in (data, bytes(buffer)):
        assert same(wire.view(text), {"a": value})
        assert same(safetensors.numpy.load(text), {"a": value})


@pytest.mark.parametrize("value", [np.array(["a"]), np.array([1j]), np.array([object()]), np.array(["2020"], "M8[D]")])
def test_a_dtype_that_the_format_lacks_is_refused_by_name(value):
    with pytest.raises(DataError, match=r"'odd' has dtype .* allowed are float64"):
        encoded({"odd": value})


def test_the_name_that_the_format_keeps_for_itself_is_refused():
    with pytest.raises(DataError, match="__metadata__"):
        encoded({"__metadata__": np.zeros(2)})


def test_views_share_the_memory_and_cannot_be_written(model):
    data = encoded(model)
    tracemalloc.start()
    try:
        found = wire.view(data)
        big = wire.view(encoded({"a": np.zeros(1_000_000, np.float32)}))  # 4 MB, written once
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 14e6
    assert big["a"].size == 1_000_000
    assert np.shares_memory(found["weight"], np.frombuffer(data, np.uint8))
    for value in (found["weight"], wire.view(bytearray(data))["weight"]):
        with pytest.raises(ValueError, match="read-only"):
            value[0] = 1


def test_every_truncation_is_refused(model):
    data = encoded(model)
    for length in range(len(data)):
        with pytest.raises(DataError, match="some file"):
            wire.view(data[:length], "some file")


def read_or_refuse(data: bytes) -> None:
    """Reads, or raises DataError; whatever is read lies within `data`."""
    memory = np.frombuffer(data, np.uint8)
    try:
        found = wire.view(data, "file")
    except DataError:
        return
    for value in found.values():
        assert value.dtype.name in wire.CODES
        assert value.size == 0 or np.shares_memory(value, memory)
        value.tobytes()


def test_every_bit_flip_is_refused_or_gives_values_within_the_file(model):
    data = encoded(model)
    for position in range(len(data)):
        for bit in range(8):
            flipped = bytearray(data)
            flipped[position] ^= 1 << bit
            read_or_refuse(bytes(flipped))


@given(st.binary(max_size=200))
def test_noise_is_refused(noise):
    read_or_refuse(noise)
    read_or_refuse(with_header(noise))


junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.sampled_from(["F32", "F64", "U8", "BOOL", "dtype", "shape", "data_offsets", "", "12", "F8_E4M3"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["dtype", "shape", "data_offsets"]), inner),
    max_leaves=8,
)
entries = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "U8", "I64", "BOOL"]) | junk,
        "shape": st.lists(st.integers(-2, 6) | st.integers(0, 2**70), max_size=3) | junk,
        "data_offsets": st.lists(st.integers(-2, 40) | st.integers(0, 2**70), min_size=2, max_size=2) | junk,
    }
)


@settings(max_examples=300)
@given(
    st.dictionaries(st.sampled_from(["a", "b", "__metadata__"]), entries | junk, max_size=3) | junk, st.binary(max_size=48)
)
@example({"a": {"dtype": "F32", "shape": [float("inf")], "data_offsets": [0, 4]}}, b"1234")
@example({"a": {"dtype": "F32", "shape": [0, 2**70], "data_offsets": [0, 0]}}, b"")
@example({"a": {"dtype": "U8", "shape": [1] * 100, "data_offsets": [0, 1]}}, b"1")
@example({"a": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}}, b"")
@example({"a": {"dtype": "U8", "shape": [True, "1"], "data_offsets": [0.0, 1.0]}}, b"1")
def test_any_header_is_refused_or_gives_values_within_the_file(header, data):
    read_or_refuse(with_header(header, data))


@pytest.mark.parametrize(
    "header",
    [
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"\xff\xfe{\x00}\x00",
        b'{"a": {"dtype": "F32", "shape": [1' + b"0" * 5000 + b'], "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": ["F32"], "shape": [1], "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": "F32", "shape": [1.0], "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4, 4]}}',
        b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}',
        b'{"a": {"dtype": "F32", "shape": [-1, -1], "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}}',
        b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}',
        b"[]",
        b"null",
        b'{"a": 1}',
    ],
    ids=lambda header: header[:40].decode("latin-1"),
)
def test_hostile_headers_are_refused(header):
    with pytest.raises(DataError, match=r"^file: "):
        wire.view(with_header(header, b"1234"), "file")


def test_a_tensor_beyond_the_file_is_said_to_be():
    header = {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}
    with pytest.raises(DataError, match=r"tensor 'a' points outside the \d+ bytes given; the file is damaged"):
        wire.view(with_header(header, b"1234"))


@pytest.mark.parametrize("length", [0, 1, 17, 2**31, 2**63, 2**64 - 1])
def test_a_header_length_beyond_the_file_is_refused(length):
    with pytest.raises(DataError, match=f"header length {length}"):
        wire.view(length.to_bytes(8, "little") + b"{}" + b" " * 14)


def test_a_header_over_the_cap_is_refused_before_it_is_read(monkeypatch):
    monkeypatch.setattr(wire, "MAX_HEADER_BYTES", 64)
    assert wire.view(with_header(b"{}" + b" " * 62)) == {}
    with pytest.raises(DataError, match="header length 65"):
        wire.view(with_header(b"{}" + b" " * 63))


@pytest.mark.parametrize(
    "spans",
    [[(0, 8), (4, 12)], [(0, 8), (0, 8)], [(4, 12), (0, 8)], [(0, 16), (4, 8)]],
)
def test_tensors_that_overlap_are_refused_as_the_library_refuses_them(spans):
    header = {
        name: {"dtype": "F32", "shape": [(end - begin) // 4], "data_offsets": [begin, end]}
        for name, (begin, end) in zip("ab", spans, strict=True)
    }
    data = with_header(header, bytes(16))
    with pytest.raises(SafetensorError):
        safetensors.numpy.load(data)
    with pytest.raises(DataError, match="overlaps"):
        wire.view(data, "file")


def test_tensors_may_stand_in_any_order_in_the_header():
    header = {
        "b": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]},
        "a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
        "none": {"dtype": "F32", "shape": [0], "data_offsets": [4, 4]},
    }
    found = wire.view(with_header(header, np.array([1, 2], np.float32).tobytes()))
    assert (found["a"].item(), found["b"].item(), found["none"].size) == (1, 2, 0)


def test_a_file_is_saved_with_its_digest_and_loaded(tmp_path, model):
    path = tmp_path / "model.safetensors"
    said = wire.save(model, path)
    assert said == wire.sha256(path.read_bytes())
    assert same(wire.load(path), model)
    assert same(safetensors.numpy.load_file(path), model)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(DataError, match=r"gone\.safetensors: cannot be read"):
        wire.load(tmp_path / "gone.safetensors")
    with pytest.raises(DataError, match="cannot be read"):
        wire.load(tmp_path)
    (tmp_path / "empty").touch()
    with pytest.raises(DataError, match="not a safetensors file"):
        wire.load(tmp_path / "empty")
