from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.dicom.results.finding import Finding
from fedmed.edge.findings import packed, unpacked
from fedmed.errors import DataError


def finding(**answer: object) -> Finding:
    return Finding("chest", "1", "ab" * 32, "cd" * 32, "us-1", "int8", 1.7e9, ("clear", "opacity"), **answer)  # type: ignore[arg-type]


@given(chance=st.floats(0, 1), source=st.binary(max_size=300))
def test_probabilities_and_their_images_come_back_as_they_were(chance: float, source: bytes):
    one = finding(probabilities=(chance, 1 - chance), is_research=False)
    back, images = unpacked(packed(one, [source, b"another"]))
    assert (back.probabilities, back.classes, back.is_research) == (one.probabilities, one.classes, False)
    assert images == [source, b"another"]


def test_a_mask_comes_back_bit_by_bit():
    mask = np.random.default_rng(1).integers(0, 3, (5, 7)).astype(np.uint8)
    back, _ = unpacked(packed(finding(mask=mask), [b"image"]))
    assert back.mask is not None
    assert (back.mask == mask).all()
    assert back.probabilities is None


def test_what_is_cut_or_of_another_version_is_refused():
    whole = packed(finding(probabilities=(0.5, 0.5)), [b"image"])
    for content in (b"", whole[: len(whole) // 2], whole.replace(b"precision", b"precisiox")):
        with pytest.raises(DataError):
            unpacked(content)
