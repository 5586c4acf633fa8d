from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.privacy.atrest import AtRest
from fedmed.privacy.sealing import SealBroken

ONE = AtRest(bytes(32), "one use")


@given(st.lists(st.binary(max_size=300)), st.text(max_size=20))
def test_what_was_closed_is_opened(pieces, name):
    assert ONE.opened(name, b"".join(ONE.closed(name, pieces))) == b"".join(pieces)


@given(st.binary(max_size=300), st.data())
def test_a_changed_or_missing_byte_is_refused(content, data):
    sealed = bytearray(b"".join(ONE.closed("name", [content])))
    place = data.draw(st.integers(0, len(sealed) - 1))
    cut = bytes(sealed[:place])
    sealed[place] ^= data.draw(st.integers(1, 255))
    for wrong in (bytes(sealed), cut):
        with pytest.raises(SealBroken):
            ONE.opened("name", wrong)


@pytest.mark.parametrize(
    ("other", "name"), [(ONE, "other"), (AtRest(bytes(32), "another use"), "name"), (AtRest(b"k" * 32, "one use"), "name")]
)
def test_another_name_use_or_key_does_not_open_it(other, name):
    sealed = b"".join(ONE.closed("name", [b"content"]))
    assert b"content" not in sealed
    with pytest.raises(SealBroken):
        other.opened(name, sealed)


def test_it_reads_memory_without_a_copy_first():
    large = memoryview(bytes(3 << 20))
    assert ONE.opened("name", b"".join(ONE.closed("name", [large[:5], large]))) == bytes(5 + (3 << 20))


def test_what_is_one_piece_is_one_chunk_up_to_32_mib_and_reads_the_same():
    for size in (0, 1, (1 << 25) - 1, 1 << 25, (1 << 25) + 1):
        content = bytes(size)
        assert ONE.opened("name", b"".join(ONE.closed("name", [content]))) == content
