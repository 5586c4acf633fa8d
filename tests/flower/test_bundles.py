from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.errors import ProtocolRefused
from fedmed.flower.bundles import MOST_NAME, bundle, unbundle

ITEMS = st.lists(st.tuples(st.text(string.hexdigits, max_size=MOST_NAME), st.binary(max_size=50)), max_size=5)


@given(ITEMS)
def test_what_goes_in_comes_out(items: list[tuple[str, bytes]]):
    assert unbundle(bundle(items)) == items


@given(st.binary(max_size=100))
def test_any_other_bytes_are_refused(said: bytes):
    try:
        found = unbundle(said)
    except ProtocolRefused:
        return
    assert bundle(found) == said


@given(ITEMS, st.integers(1, 7))
def test_a_bundle_that_is_cut_within_a_size_is_refused(items: list[tuple[str, bytes]], left: int):
    with pytest.raises(ProtocolRefused):
        unbundle(bundle(items) + bytes(left))
