from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fedmed.errors import DataError
from fedmed.sites.cases import Cases, case_labels, check, class_counts, patient_rows, pool, unit_of


def cases(**changes) -> Cases:
    base = Cases(np.arange(8, dtype=np.float32).reshape(4, 2), np.array([0, 1, 0, 1]), ("no", "yes"))
    return replace(base, **changes)


def test_take_keeps_every_column_in_step() -> None:
    whole = cases(patient=np.array(["a", "b", "c", "d"]), site=np.array(list("xxyy")), split=np.array(["train"] * 4))
    some = whole.take(np.array([3, 1]))
    assert some.x.tolist() == [[6, 7], [2, 3]]
    assert some.patient is not None
    assert some.patient.tolist() == ["d", "b"]
    assert some.site is not None
    assert some.site.tolist() == ["y", "x"]
    assert len(some) == 2


def test_pool_knows_every_use_of_the_kernels_or_says_nothing_of_them() -> None:
    one, other = ("int16", "stack"), ("uint16", "rows")
    assert pool([cases(kernels=(other,)), cases(kernels=(one, other))]).kernels == (one, other)
    assert pool([cases(kernels=(one,)), cases()]).kernels == ()


def test_pool_joins_in_order_and_drops_what_one_part_lacks() -> None:
    pooled = pool([cases(site=np.array(["a"] * 4)), cases(site=np.array(["longer"] * 4), patient=np.array(list("pqrs")))])
    assert pooled.y.tolist() == [0, 1, 0, 1] * 2
    assert pooled.site is not None
    assert pooled.site.tolist() == ["a"] * 4 + ["longer"] * 4
    assert pooled.patient is None


@pytest.mark.parametrize("other", [cases(classes=("a", "b")), cases(x=np.zeros((4, 3))), cases(features=("f", "g"))])
def test_pool_refuses_what_differs(other: Cases) -> None:
    with pytest.raises(DataError, match="cannot be pooled"):
        pool([cases(), other])


def test_patients_come_in_order_of_first_appearance() -> None:
    groups = patient_rows(cases(patient=np.array(["z", "a", "z", "b"])))
    assert [group.tolist() for group in groups] == [[0, 2], [1], [3]]
    assert [group.tolist() for group in patient_rows(cases())] == [[0], [1], [2], [3]]


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"x": np.zeros((3, 2))}, "'x' has 3 rows"),
        ({"patient": np.array(["a"])}, "'patient' has 1 rows"),
        ({"y": np.array([0, 1, 2, 0])}, "0 to 2 for 2 classes"),
        ({"y": np.array([0, -1, 1, 0])}, "-1 to 1"),
        ({"split": np.array(["train", "dev", "test", "test"])}, "'dev'"),
        ({"x": np.array([[np.nan]] * 4)}, "NaN"),
        ({"x": np.array([[np.inf]] * 4)}, "infinity"),
        ({"x": np.zeros((0, 2)), "y": np.zeros(0, dtype=int)}, "no cases"),
    ],
)
def test_check_names_the_fault(changes, complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        check(cases(**changes), "reader 'x'")


def test_check_names_all_faults_at_once() -> None:
    with pytest.raises(DataError, match=r"(?s)patient.*dev"):
        check(cases(patient=np.array(["a"]), split=np.array(["dev"] * 4)), "reader 'x'")


def test_check_lets_sound_cases_pass() -> None:
    check(cases(split=np.array(["train", "validation", "test", "test"])), "reader 'x'")


def masked(**changes) -> Cases:
    """Four images of 2 x 3 pixels; in the first nothing is drawn, in the others class 1, 2 and more of 2."""
    y = np.zeros((4, 2, 3), np.uint8)
    y[1, 0, 0], y[2, 0, 0], y[3, :, 0], y[3, 0, 1] = 1, 2, 2, 1
    base = Cases(np.zeros((4, 2, 3), np.float32), y, ("none", "a", "b"))
    return replace(base, **changes)


def test_masks_go_with_their_images() -> None:
    some = masked().take(np.array([3, 0]))
    assert some.has_masks
    assert some.y.shape == (2, 2, 3)
    assert some.y[0].any()
    assert not some.y[1].any()
    assert pool([masked(), masked()]).y.shape == (8, 2, 3)
    check(masked(), "who")


def test_a_case_is_dealt_by_what_is_drawn_in_it() -> None:
    assert case_labels(masked()).tolist() == [0, 1, 2, 2]
    assert case_labels(cases()).tolist() == [0, 1, 0, 1]


def test_classes_of_masks_are_counted_in_voxels() -> None:
    assert class_counts(masked()).tolist() == [19, 2, 3]
    assert class_counts(cases()).tolist() == [2, 2]


@pytest.mark.parametrize(
    "changes",
    [
        {"y": np.zeros((4, 2, 2), np.uint8)},
        {"y": np.zeros((4, 2, 3), np.int64)},
        {"x": np.zeros((4, 2, 3), np.float32), "spatial": 3},
        {"x": np.zeros((4, 1, 1, 2, 3), np.float32)},
        {"y": np.zeros((4, 3), np.uint8)},
    ],
)
def test_masks_that_do_not_lie_on_their_images_are_refused(changes) -> None:
    with pytest.raises(DataError, match="do not lie on images"):
        check(masked(**changes), "who")


def test_a_label_beyond_the_classes_is_refused() -> None:
    with pytest.raises(DataError, match="labels span 0 to 3"):
        check(masked(y=np.full((4, 2, 3), 3, np.uint8) * np.eye(2, 3, dtype=np.uint8)), "who")


def test_images_with_channels_and_volumes_are_told_apart_by_what_is_said_of_them() -> None:
    x = np.zeros((4, 3, 2, 5), np.float32)
    check(masked(x=x, y=np.zeros((4, 2, 5), np.uint8)), "channels")
    check(masked(x=x, y=np.zeros((4, 3, 2, 5), np.uint8), spatial=3), "slices")
    with pytest.raises(DataError, match="cannot be pooled"):
        pool([masked(x=x, y=np.zeros((4, 2, 5), np.uint8)), masked(x=x, y=np.zeros((4, 2, 5), np.uint8), spatial=3)])


def test_privacy_is_kept_for_patients_where_they_are_known() -> None:
    assert unit_of(cases()) == "record"
    assert unit_of(cases(patient=np.array(list("aabb")))) == "patient"
