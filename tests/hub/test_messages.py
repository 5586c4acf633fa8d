from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fedmed.errors import ProtocolRefused
from fedmed.hub.messages import (
    MOST_BODY,
    MOST_HEAD,
    Message,
    Owed,
    Piece,
    decoded,
    encoded,
    facts,
    number,
    owed,
    piece,
    rows,
    text,
    whole,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
DIGEST = "0" * 64


@given(st.dictionaries(st.text(), JSON, max_size=4), st.binary(max_size=200))
def test_what_was_encoded_is_decoded(head, body):
    found = decoded(encoded(Message(head, body)))
    assert found.body == body
    assert encoded(found) == encoded(Message(head, body))


@given(st.binary(max_size=300))
@example(b"fmh1\x00\x00\x00\x00")
@example(b'fmh1\x00\x00\x00\x07{"a":1}')
@example(b'fmh1\x00\x00\x00\x0d{"a":1,"a":1}')
@example(b'fmh1\x00\x00\x00\x09{"a":NaN}')
@example(b"fmh1\x00\x00\x00\x02\xff\xff")
def test_any_other_bytes_are_refused_or_are_canonical(content):
    try:
        found = decoded(content)
    except ProtocolRefused:
        return
    assert encoded(found) == content


def test_caps():
    assert decoded(encoded(Message({}, bytes(MOST_BODY)))).body == bytes(MOST_BODY)
    for message in (Message({}, bytes(MOST_BODY + 1)), Message({"a": "x" * MOST_HEAD})):
        with pytest.raises(ProtocolRefused, match="allowed are"):
            encoded(message)
    with pytest.raises(ProtocolRefused, match="allowed are"):
        decoded(b"fmh1" + (MOST_HEAD + 1).to_bytes(4, "big") + b" " * (MOST_HEAD + 1))
    with pytest.raises(ProtocolRefused, match="no JSON"):
        encoded(Message({"a": float("nan")}))


@given(JSON)
def test_a_field_is_what_it_should_be_or_refused(value):
    head = {"a": value}
    for read, kind in (
        (lambda: text(head, "a"), str),
        (lambda: whole(head, "a", 9), int),
        (lambda: number(head, "a", 9), float),
    ):
        try:
            assert type(read()) is kind
        except ProtocolRefused:
            continue
    for read in (lambda: rows(head, "a"), lambda: facts(head, "a")):
        try:
            read()
        except ProtocolRefused:
            continue


def test_pieces_and_what_is_owed_travel():
    one = Piece(DIGEST, "study", 7, {"series": "1.2"})
    assert piece(one.record()) == one
    two = Owed("release", "2.0/model.onnx", DIGEST, 7)
    assert owed(two.record()) == two


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../x", "a/../b", "a//b", "a/", ".", "a\0", "a/b/c/d/e", "é"])
def test_a_name_stays_below_its_folder(name):
    with pytest.raises(ProtocolRefused, match="name is"):
        owed({"digest": DIGEST, "kind": "config", "name": name, "size": 1})
