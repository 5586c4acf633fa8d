from __future__ import annotations

import hashlib
import struct

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fedmed.privacy.secagg import encoding
from fedmed.privacy.secagg.attacks import Attack, Refused
from fedmed.privacy.secagg.encoding import Reader, Writer, bitmap, members_of


def test_a_message_is_written_as_the_protocol_says():
    data = Writer(9).number(258, 3).real(-1.5).fixed(b"ab").text(b"cde").bytes()
    assert data == b"FMSA" + b"\x01\x09" + b"\x00\x01\x02" + struct.pack(">d", -1.5) + b"ab" + b"\x00\x00\x00\x03cde"


values = st.lists(
    st.one_of(
        st.tuples(st.just("number"), st.integers(0, 2**32 - 1)),
        st.tuples(st.just("real"), st.floats(allow_nan=False)),
        st.tuples(st.just("fixed"), st.binary(min_size=5, max_size=5)),
        st.tuples(st.just("text"), st.binary(max_size=20)),
    ),
    max_size=8,
)


@given(values, st.integers(0, 255))
def test_what_is_written_is_read(parts, kind):
    writer = Writer(kind)
    for name, value in parts:
        getattr(writer, name)(value, *([4] if name == "number" else []))
    reader = Reader(writer.bytes(), kind, 1000)
    asked = {"number": (4, 2**32 - 1), "real": (), "fixed": (5,), "text": (20,)}
    for name, value in parts:
        assert getattr(reader, name)(*asked[name]) == value
    reader.end()


@given(st.lists(st.binary(max_size=6), max_size=5), st.lists(st.binary(max_size=6), max_size=5))
def test_no_two_lists_of_parts_have_one_digest(one, other):
    assume(one != other)
    assert encoding.sha256(*one) != encoding.sha256(*other)


def test_the_digest_is_sha_256_over_length_prefixed_parts():
    assert encoding.sha256(b"ab", b"") == hashlib.sha256(b"\0\0\0\2ab\0\0\0\0").digest()
    assert encoding.sha256() == hashlib.sha256().digest()


DATA = Writer(4).number(7, 2).text(b"abc").bytes()


@pytest.mark.parametrize(
    ("data", "kind", "most"),
    [
        (DATA, 5, 100),
        (b"FMSB" + DATA[4:], 4, 100),
        (DATA[:4] + b"\2" + DATA[5:], 4, 100),
        (DATA, 4, len(DATA) - 1),
        (b"", 4, 100),
        (DATA[:5], 4, 100),
    ],
)
def test_another_kind_version_or_size_is_refused_at_once(data, kind, most):
    with pytest.raises(Refused) as refused:
        Reader(data, kind, most)
    assert refused.value.attack is Attack.MALFORMED


def test_numbers_and_texts_have_caps_and_nothing_is_left_over():
    for read in (
        lambda reader: reader.number(2, 6),
        lambda reader: (reader.number(2, 7), reader.text(2)),
        lambda reader: (reader.number(2, 7), reader.fixed(8)),
        lambda reader: (reader.number(2, 7), reader.end()),
        lambda reader: (reader.number(2, 7), reader.text(3), reader.real()),
    ):
        with pytest.raises(Refused):
            read(Reader(DATA, 4, 100))
    with pytest.raises(Refused, match="allowed: 1000"):  # a length that lies takes no memory
        Reader(Writer(4).number(2**32 - 1, 4).bytes(), 4, 100).text(1000)


@given(st.sets(st.integers(1, 300)), st.integers(0, 40))
def test_members_come_back_from_their_bits(members, more):
    count = max(members, default=0) + more
    bits = bitmap(members, count)
    assert len(bits) == -(-count // 8)
    assert members_of(bits, count) == tuple(sorted(members))
    if members:
        with pytest.raises(Refused):
            members_of(bits, max(members) - 1)


def test_member_one_is_the_highest_bit():
    assert bitmap([1, 8, 10], 10) == b"\x81\x40"
