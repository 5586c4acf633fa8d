from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fedmed.errors import ConfigError
from fedmed.privacy.secagg import layout_bytes
from fedmed.privacy.secagg.attacks import Attack, Refused
from fedmed.privacy.secagg.layout import Fixed, Layout, Tensor, Whole

SOME = Layout((Tensor("w", (3, 4)), Tensor("scale", ())), (Whole("n", 9, 2), Fixed("loss", 1e3, 1e-6)), 32, 10, 0.5, 65535)
names = st.text("abcß.-0", min_size=1, max_size=8)
tensors = st.lists(st.builds(Tensor, names, st.lists(st.integers(0, 9), max_size=4).map(tuple)), max_size=4).map(tuple)
wholes = st.builds(Whole, names, st.integers(1, 2**60), st.integers(1, 9))
fixed = st.builds(Fixed, names, st.floats(1e-3, 1e6), st.floats(1e-6, 1e-3), st.integers(1, 9))
fields = st.lists(st.one_of(wholes, fixed), max_size=4).map(tuple)


@st.composite
def layouts(draw):
    try:
        return Layout(
            draw(tensors), draw(fields), draw(st.sampled_from([16, 32])), draw(st.integers(1, 50)),
            draw(st.floats(1e-3, 64)), draw(st.integers(1, 1000)),
        )  # fmt: skip
    except ConfigError:  # two of one name, or a scale that cannot be
        return SOME


@given(layouts())
@settings(deadline=None)
def test_what_is_written_is_read_back(layout):
    read = layout_bytes.decode(layout.canonical())
    assert read == layout
    assert read.digest() == layout.digest()


@given(st.binary(max_size=300))
@example(b"")
def test_any_bytes_are_refused_by_name(data):
    with pytest.raises(Refused) as caught:
        layout_bytes.decode(data)
    assert caught.value.attack is Attack.MALFORMED


@given(layouts(), st.data())
@settings(deadline=None)
def test_changed_bytes_are_another_layout_or_refused(layout, data):
    written = bytearray(layout.canonical())
    at = data.draw(st.integers(0, len(written) - 1))
    written[at] ^= data.draw(st.integers(1, 255))
    try:
        read = layout_bytes.decode(bytes(written))
    except Refused:
        return
    assert read.canonical() == bytes(written)
    assert read.digest() != layout.digest()


@given(layouts(), st.integers(0, 400))
@settings(deadline=None)
def test_what_is_cut_or_longer_is_refused(layout, count):
    written = layout.canonical()
    for wrong in (written[: min(count, len(written) - 1)], written + bytes(count + 1)):
        with pytest.raises(Refused):
            layout_bytes.decode(wrong)


def test_what_is_too_long_is_not_even_looked_at():
    with pytest.raises(Refused, match=f"allowed: {layout_bytes.MAX_BYTES}"):
        layout_bytes.decode(bytes(layout_bytes.MAX_BYTES + 1))
