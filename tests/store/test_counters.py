from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.errors import StoreError
from fedmed.store.counters import Count, CounterFile

KEY = b"k" * 32


@settings(max_examples=20)
@given(st.binary(min_size=16, max_size=16), st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=4))
def test_it_keeps_what_it_was_told_last(tmp_path_factory, keystore, generations):
    path = tmp_path_factory.mktemp("counter") / "key.counter"
    counter = CounterFile(path, KEY)
    assert counter.read() is None
    for generation in generations:
        counter.advance(Count(keystore, generation))
        assert CounterFile(path, KEY).read() == Count(keystore, generation)
    assert [each.name for each in path.parent.iterdir()] == ["key.counter"]


def test_what_a_crash_left_is_written_over(tmp_path):
    (tmp_path / ".key.counter.new").write_bytes(b"half")
    counter = CounterFile(tmp_path / "key.counter", KEY)
    counter.advance(Count(bytes(16), 1))
    assert counter.read() == Count(bytes(16), 1)


def test_another_key_or_no_counter(tmp_path):
    counter = CounterFile(tmp_path / "key.counter", KEY)
    counter.advance(Count(bytes(16), 1))
    with pytest.raises(StoreError, match="damaged, or is of another key"):
        CounterFile(tmp_path / "key.counter", b"K" * 32).read()
    (tmp_path / "key.counter").write_bytes(b"x" * 10_000)
    with pytest.raises(StoreError, match="cannot be read"):
        counter.read()
    with pytest.raises(StoreError, match="IsADirectoryError"):
        CounterFile(tmp_path, KEY).read()
