from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.errors import PackageRefused
from fedmed.serving import protobuf
from tests.serving.models import linear


def test_fields_of_a_real_model():
    model = linear()
    found = list(protobuf.fields(memoryview(model.SerializeToString())))
    assert [number for number, _ in found] == [1, 7, 8]
    assert dict(found)[1] == model.ir_version


@given(st.integers(-(2**63), 2**63 - 1))
def test_numbers_come_back(value):
    from onnx import AttributeProto

    content = memoryview(AttributeProto(i=value).SerializeToString())
    assert [protobuf.number(held) for _, held in protobuf.fields(content)] == [value]
    packed = memoryview(AttributeProto(ints=[value, 3]).SerializeToString())
    assert [n for _, held in protobuf.fields(packed) for n in protobuf.numbers(held)] == [value, 3]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"\x0a\x05ab", "damaged"),
        (b"\x0a", "does not end"),
        (b"\xff" * 11, "does not end"),
        (b"\x0b\x0c", "wire type 3"),
        (b"\x02\x00", "damaged"),
        (b"\x0d\x00\x00", "damaged"),
    ],
)
def test_what_is_no_message_is_refused(content, told):
    with pytest.raises(PackageRefused, match=told):
        list(protobuf.fields(memoryview(content)))


@given(st.binary(max_size=200))
def test_any_bytes_end_or_are_refused(content):
    with suppress(PackageRefused):  # and nothing else
        assert sum(1 for _ in protobuf.fields(memoryview(content))) <= len(content)


def test_a_text_is_no_number_and_a_number_no_text():
    with pytest.raises(PackageRefused, match="a text stands"):
        protobuf.number(memoryview(b"a"))
    with pytest.raises(PackageRefused, match="a number stands"):
        protobuf.message(3)
    with pytest.raises(PackageRefused, match="UTF-8"):
        protobuf.text(memoryview(b"\xff"))
