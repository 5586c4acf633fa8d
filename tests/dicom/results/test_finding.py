"""What a finding may hold: everything else is refused with all its faults."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.dicom.results.finding import Concept, Finding
from fedmed.errors import DataError
from tests.dicom.results.samples import found, masked

NOTHING = np.zeros((2, 3), np.uint8)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"model": ""}, "the model has 0 characters"),
        ({"model": "m" * 65}, "the model has 65 characters"),
        ({"version": "1\\2"}, "the version is"),
        ({"device": "box\n"}, "the device is"),
        ({"digest": " ab"}, "the digest is"),
        ({"classes": ()}, "0 classes"),
        ({"classes": ("a", "a")}, "1 of them different"),
        ({"classes": ("a", "\udc00")}, "the class 2 is"),
        ({"classes": tuple(map(str, range(256))), "probabilities": (0.0,) * 256}, "256 classes"),
        ({"unix": math.nan}, "nan is no time"),
        ({"unix": -1.0}, "-1.0 is no time"),
        ({"probabilities": None}, "either probabilities or a mask"),
        ({"mask": NOTHING}, "either probabilities or a mask"),
        ({"probabilities": (0.5,)}, "1 probabilities for 2 classes"),
        ({"probabilities": (0.5, math.nan)}, "outside 0 to 1"),
        ({"probabilities": (0.5, 1.01)}, "outside 0 to 1"),
        ({"probabilities": (0.5, -0.01)}, "outside 0 to 1"),
        ({"concepts": {"no class": Concept("1", "SCT", "x")}}, "have codes and are no classes"),
        ({"concepts": {"clear": Concept("1" * 17, "SCT", "x")}}, "the code of 'clear' has 17 characters"),
        ({"concepts": {"clear": Concept("1", "", "x")}}, "the scheme of 'clear' has 0"),
    ],
)
def test_what_no_object_could_hold_is_refused_by_name(changes, named):
    with pytest.raises(DataError, match=named):
        found(**changes)


@pytest.mark.parametrize(
    ("mask", "named"),
    [
        (np.zeros((2, 3), np.float32), "float32"),
        (np.zeros((2, 3), bool), "bool"),
        (np.zeros((2, 2, 2, 2), np.uint8), "shape"),
        (np.zeros((0, 3), np.uint8), "shape"),
        (np.full((2, 3), 3, np.uint8), "the mask holds 3 to 3"),
        (np.full((2, 3), -1, np.int8), "the mask holds -1 to -1"),
    ],
)
def test_a_mask_names_only_classes_that_there_are(mask, named):
    with pytest.raises(DataError, match=named):
        masked(mask)


def test_all_faults_are_told_at_once():
    with pytest.raises(DataError) as refused:
        Finding("", "", "x", "x", "x", "x", 0.0, ("a",), (2.0,))
    assert all(part in str(refused.value) for part in ("the model", "the version", "outside 0 to 1"))


@given(st.lists(st.integers(0, 3), min_size=1, max_size=40))
def test_marked_counts_every_pixel_of_every_class(values):
    counted = masked(np.array([values]), ("a", "b", "c")).marked()
    assert counted == {name: values.count(k) for k, name in enumerate("abc", 1)}


def test_probabilities_mark_nothing():
    with pytest.raises(ValueError, match="no mask"):
        found().marked()


@pytest.mark.parametrize(
    "replaces", [("1.2",), ("1.2", "1.3"), ("1.2", "1.3", "x"), ("1.2", "1.3", "1" * 65), ("1.", "1", "1")]
)
def test_what_is_replaced_is_called_by_uids(replaces):
    with pytest.raises(DataError, match="the UIDs of a class, a series and an object are needed"):
        found(replaces=replaces)
    assert found(replaces=("1.2", "1.3", "1.4")).replaces[-1] == "1.4"
