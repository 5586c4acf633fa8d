from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.errors import StoreError
from fedmed.store.spool.envelope import Closed, Envelope
from fedmed.store.spool.tables import Row
from tests.store.spool.spools import KEY, new

KEYS = pytest.mark.parametrize("key", [None, KEY], ids=["plain", "sealed"])
CONTENT = b"a patient's image, and whose it is" * 3000


def row_of(closed: Closed, number: int = 7) -> Row:
    entry = closed.entry
    return Row(number, entry.kind, closed.mark, entry.priority, entry.size, entry.unix, closed.head)


@KEYS
@given(content=st.binary(max_size=200), facts=st.dictionaries(st.text(max_size=5), st.text(max_size=9), max_size=3))
def test_what_was_closed_opens_as_it_was(key, content, facts):
    envelope = Envelope(key)
    closed = envelope.closed(new(content, "strange \ud800 group", **{"a": 1} | {"b": facts}), 5)
    entry = envelope.opened(row_of(closed))
    assert entry == replace(closed.entry, number=7)
    assert entry.facts == {"a": 1, "b": facts}
    assert envelope.content(closed.mark, entry.digest, closed.body()) == content


def test_with_a_key_nothing_of_it_can_be_read_or_compared():
    closed = Envelope(KEY).closed(new(CONTENT, "1.2.840", patient="Weiß"), 5.0)
    lying = closed.mark + closed.line + closed.head + closed.body()
    for word in (b"patient", b"1.2.840", "Weiß".encode(), closed.entry.digest.encode(), CONTENT[:20]):
        assert word not in lying
    plain = Envelope(None).closed(new(CONTENT, "1.2.840"), 5.0)
    assert (plain.mark, plain.line) != (closed.mark, closed.line)
    assert Envelope(None).check != Envelope(KEY).check != Envelope(bytes(32)).check


@KEYS
@given(place=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_a_flipped_bit_is_found_wherever_it_is(key, place, bit):
    envelope = Envelope(key)
    closed = envelope.closed(new(CONTENT, patient="x"), 5.0)

    def flipped(data: bytes) -> bytes:
        at = place % len(data)
        return data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]

    with pytest.raises(StoreError):
        envelope.opened(replace(row_of(closed), head=flipped(closed.head)))
    with pytest.raises(StoreError):
        envelope.content(closed.mark, closed.entry.digest, flipped(closed.body()))


@KEYS
@pytest.mark.parametrize("wrong", [{"kind": "result"}, {"priority": 21}, {"size": 3}, {"unix": 6.0}])
def test_a_row_that_is_not_what_its_head_says_is_refused(key, wrong):
    envelope = Envelope(key)
    row = row_of(envelope.closed(new("content"), 5.0))
    with pytest.raises(StoreError, match="not what its head says"):
        envelope.opened(replace(row, **wrong))


def test_a_body_of_another_entry_is_refused():
    envelope = Envelope(KEY)
    one, two = envelope.closed(new("one"), 5.0), envelope.closed(new("two"), 5.0)
    with pytest.raises(StoreError, match="not what was sealed"):
        envelope.content(one.mark, one.entry.digest, two.body())


def test_a_key_of_another_length_is_refused():
    with pytest.raises(StoreError, match="a key of 5 bytes; a spool is sealed with 32"):
        Envelope(b"short")
