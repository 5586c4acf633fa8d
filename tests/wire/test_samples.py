from __future__ import annotations

import numpy as np
import pytest

from fedmed.errors import DataError
from fedmed.wire.samples import Layout, layout_of, refuse_key, refuse_mask


@pytest.mark.parametrize("key", ["a", "0", "A-b_9", "x" * 90])
def test_plain_keys_are_taken(key):
    refuse_key(key, "")


@pytest.mark.parametrize("key", ["", ".", "a.b", "..", "a/b", "a\\b", "a b", "ä", "x" * 91, "a\n"])
def test_keys_that_webdataset_or_a_disk_would_misread_are_refused(key):
    with pytest.raises(DataError, match="cannot be used"):
        refuse_key(key, "")


@pytest.mark.parametrize(("key", "before"), [("a", "a"), ("a", "b"), ("10", "9")])
def test_order_keeps_keys_unique_without_remembering_them(key, before):
    with pytest.raises(DataError, match="ascending order"):
        refuse_key(key, before)


@pytest.mark.parametrize(
    ("array", "mask", "spatial"),
    [
        ((4, 5), (4, 5), 2),
        ((3, 4, 5), (4, 5), 2),
        ((3, 4, 5), (3, 4, 5), 3),
        ((1, 3, 4, 5), (3, 4, 5), 3),
        ((4, 5), (4, 5), None),
    ],
)
def test_a_mask_lies_on_the_axes_of_space(array, mask, spatial):
    refuse_mask(np.zeros(array, np.float32), np.zeros(mask, np.uint8), spatial)


@pytest.mark.parametrize(
    ("array", "mask", "spatial"),
    [
        ((4, 5), (5, 4), 2),
        ((4, 5), (5,), None),
        ((3, 4, 5), (3, 4, 5), 2),
        ((3, 4, 5), (4, 5), 3),
        ((2, 2, 3, 4, 5), (3, 4, 5), 3),
        ((1, 2, 3, 4, 5), (1, 2, 3, 4, 5), None),
        ((), (), None),
    ],
)
def test_a_mask_of_another_shape_is_refused(array, mask, spatial):
    with pytest.raises(DataError, match="its mask is uint8 of shape"):
        refuse_mask(np.zeros(array, np.float32), np.zeros(mask, np.uint8), spatial)


@pytest.mark.parametrize("kind", [np.int64, np.float32, np.bool_])
def test_a_mask_of_another_type_is_refused(kind):
    with pytest.raises(DataError, match="a mask is uint8"):
        refuse_mask(np.zeros((4, 5), np.float32), np.zeros((4, 5), kind), 2)


def test_a_record_that_says_nothing_is_a_layout():
    assert layout_of({}) == Layout()
    assert layout_of({"spatial": 3, "features": ["age"], "position": 2}) == Layout(3, ("age",), 2)
