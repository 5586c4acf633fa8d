from __future__ import annotations

from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.privacy.atrest import AtRest
from fedmed.privacy.keys import derived
from fedmed.privacy.sealing import SealBroken, sealed

ONE = AtRest(bytes(32), "one use")


@given(st.lists(st.binary(max_size=300)), st.text(max_size=20))
def test_what_was_closed_is_opened(pieces, name):
    assert ONE.opened(name, b"".join(ONE.closed(name, pieces))) == b"".join(pieces)


@given(st.binary(max_size=300), st.data())
def test_a_changed_or_missing_byte_is_refused(content, data):
    closed = bytearray(b"".join(ONE.closed("name", [content])))
    place = data.draw(st.integers(0, len(closed) - 1))
    cut = bytes(closed[:place])
    closed[place] ^= data.draw(st.integers(1, 255))
    for wrong in (bytes(closed), cut):
        with pytest.raises(SealBroken):
            ONE.opened("name", wrong)


@pytest.mark.parametrize(
    ("other", "name"), [(ONE, "other"), (AtRest(bytes(32), "another use"), "name"), (AtRest(b"k" * 32, "one use"), "name")]
)
def test_another_name_use_or_key_does_not_open_it(other, name):
    closed = b"".join(ONE.closed("name", [b"content"]))
    assert b"content" not in closed
    with pytest.raises(SealBroken):
        other.opened(name, closed)


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3 << 20])
def test_every_length_around_a_chunk(tmp_path, size):
    content = bytes(size)
    for pieces in ([content], [memoryview(content)[:5], content]):
        whole = b"".join(pieces)
        (tmp_path / "file").write_bytes(closed := b"".join(ONE.closed("name", pieces)))
        assert ONE.opened("name", closed) == ONE.read("name", tmp_path / "file") == whole


def test_a_piece_is_sealed_before_the_next_is_asked_for():
    asked = []

    def pieces():
        for number in range(8):
            asked.append(number)
            yield bytes(1 << 20)

    closed = ONE.closed("name", pieces())
    next(closed), next(closed)  # the header, and the first chunk
    assert len(asked) < 4


def test_what_was_sealed_in_one_chunk_of_32_mib_is_read():
    content = bytes(5 << 20)
    key = derived(bytes(32), "at rest: one use")
    assert ONE.opened("name", b"".join(sealed(key, "name", BytesIO(content), 25))) == content
