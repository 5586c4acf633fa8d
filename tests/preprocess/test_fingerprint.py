from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.preprocess.fingerprint import (
    BINS,
    MINIMUM,
    ORIENTATIONS,
    SIDE,
    STEP,
    Statistics,
    orientation_code,
    parse,
    statistics,
)

TURNS = {
    "left": np.rot90,
    "right": lambda cells: np.rot90(cells, -1),
    "half": lambda cells: np.rot90(cells, 2),
    "mirror": np.fliplr,
    "flip": np.flipud,
    "swap": np.transpose,
}


def images(count: int = 40, side: int = 40, seed: int = 1) -> np.ndarray:
    """Bright at the top left, with edges mostly across, each a little otherwise."""
    rng = np.random.default_rng(seed)
    down, across = np.mgrid[0 : 1 : side * 1j, 0 : 1 : side * 1j]
    stripes = np.sin(across * rng.uniform(10, 14, (count, 1, 1)))
    return (stripes - 2 * across - down + rng.normal(0, 0.3, (count, side, side))).astype(np.float32)


def told(**changes) -> dict:
    return {**statistics(images()).record(), **changes}


@settings(max_examples=40, deadline=None)
@given(count=st.integers(0, 60), side=st.integers(3, 30), seed=st.integers(0, 99))
def test_no_count_below_the_minimum_leaves_and_all_are_rounded(count, side, seed):
    found = statistics(images(count, side, seed))
    if count < MINIMUM:
        assert found.record() == {"version": 1, "cases": 0, "histograms": {}, "brighter": None}
        return
    for counts in found.histograms.values():
        assert all(n == 0 or (n >= MINIMUM and n % STEP == 0) for n in counts)
        assert counts.sum() <= count + STEP * len(np.flatnonzero(counts))
    assert found.cases % STEP == 0
    if found.brighter is None:
        assert count < 2 * MINIMUM
    else:
        inner = found.brighter[(found.brighter > 0) & (found.brighter < found.cases)]
        assert all(n >= MINIMUM and n % STEP == 0 for n in inner)


@settings(max_examples=30, deadline=None)
@given(count=st.integers(2 * MINIMUM + 1, 60), row=st.integers(0, 59), seed=st.integers(0, 9))
def test_one_case_more_or_less_changes_no_count_by_more_than_a_step_or_the_minimum(count, row, seed):
    all_of_them = images(count, 20, seed)
    without = np.delete(all_of_them, row % count, axis=0)
    one, other = statistics(all_of_them), statistics(without)
    for name in one.histograms:
        apart = np.abs(one.histograms[name] - other.histograms[name])
        assert apart.max() <= MINIMUM
        assert np.count_nonzero(apart) <= 1


def test_a_patient_counts_once_however_many_images_there_are():
    few = images(40)
    many = np.repeat(few, 5, axis=0)
    patient = np.repeat(np.arange(40).astype(str), 5)
    assert statistics(many, patient=patient).record() == statistics(few).record()
    assert statistics(many[: 9 * 5], patient=patient[: 9 * 5]).cases == 0


@pytest.mark.parametrize("side", [28, 40, 64, 130])
@pytest.mark.parametrize("turn", TURNS)
def test_the_map_turns_with_the_images(turn, side):
    upright, turned = images(side=side), np.array([TURNS[turn](image) for image in images(side=side)])
    found = statistics(turned).brighter
    assert np.array_equal(found, TURNS[turn](statistics(upright).brighter))
    assert not np.array_equal(found, statistics(upright).brighter)


def test_edges_across_become_edges_down_when_an_image_lies_on_its_side():
    upright, sideways = images(), np.rot90(images(), axes=(1, 2))
    assert statistics(upright).histograms["edges"].tolist() == [40, 0, 0, 0]
    assert statistics(sideways).histograms["edges"].tolist() == [0, 0, 40, 0]


def test_whole_numbers_count_as_shares_of_their_range():
    eight = (np.clip(images(), -1, 1) * 100 + 128).astype(np.uint8)
    same = eight.astype(np.float32) / 255
    assert statistics(eight).record() == statistics(same).record()
    assert statistics(eight.astype(np.uint16) * 257).record() == statistics(same).record()


def test_channels_and_slices_are_taken_together():
    one = images()
    assert statistics(np.stack([one, one, one], axis=1)).record() == statistics(one).record()
    assert statistics(np.stack([one[:, None]] * 30, axis=2)).record() == statistics(one).record()


def test_a_length_is_counted_by_octaves_and_what_is_unknown_is_left_out():
    spacing = np.full((40, 3), (np.nan, 0.5, 1.0), np.float32)
    found = statistics(images(), spacing).histograms
    assert "spacing_slices" not in found
    [rows], [columns] = np.flatnonzero(found["spacing_rows"]), np.flatnonzero(found["spacing_columns"])
    assert columns - rows == 4
    assert found["spacing_rows"][rows] == 40


def test_orientations_are_counted_by_code_and_strange_ones_are_unknown():
    codes = np.array(["LPH"] * 20 + ["LF"] * 10 + ["nonsense"] * 10)
    found = statistics(images(), orientation=codes).histograms["orientation"]
    assert {ORIENTATIONS[bin_]: found[bin_] for bin_ in np.flatnonzero(found)} == {"?": 10, "LF": 10, "LPH": 20}


@pytest.mark.parametrize("value", [0.0, 1.0, np.nan, np.inf, -1e30, 3e38])
def test_images_of_nothing_or_nonsense_are_counted_without_a_word(value):
    found = statistics(np.full((20, 9, 7), value, np.float32))
    assert found.cases == 20
    assert parse(found.record()).record() == found.record()


@pytest.mark.parametrize("side", [1, 2, 4])
def test_images_smaller_than_the_map_have_one_too(side):
    assert statistics(images(20, side)).cases == 20


def test_of_very_many_cases_some_are_looked_at(monkeypatch):
    monkeypatch.setattr("fedmed.preprocess.fingerprint.MAX_CASES", 50)
    assert statistics(images(200)).cases == 50


def test_what_travels_is_the_same():
    found = statistics(images(), np.full((40, 3), 1.5), np.array(["LPH"] * 40))
    again = parse(json.loads(json.dumps(found.record())))
    assert again.record() == found.record()
    assert set(again.histograms) <= set(BINS)
    assert len(json.dumps(again.record())) < 2000


@pytest.mark.parametrize(
    "record",
    [
        None,
        {},
        told(more=1),
        told(version="1"),
        told(cases=-1),
        told(cases=1.5),
        told(cases=True),
        told(cases=10**12),
        told(histograms=[]),
        told(histograms={"names": {}}),
        told(histograms={"edges": {"4": 10}}),
        told(histograms={"edges": {"-1": 10}}),
        told(histograms={"edges": {"0": -1}}),
        told(histograms={"edges": {"0": 1.5}}),
        told(histograms={"edges": {"²": 1}}),
        told(histograms={"edges": [1]}),
        told(brighter=[1] * (SIDE**2 - 1)),
        told(brighter=[10**6] * SIDE**2),
        told(brighter=[0.5] * SIDE**2),
        told(brighter="x" * SIDE**2),
    ],
)
def test_what_cannot_be_is_refused(record):
    with pytest.raises(ValueError, match=r"."):
        parse(record)


def test_directions_are_those_of_the_axes():
    affine = np.eye(4)
    assert orientation_code(affine) == "LPH"
    sagittal = np.array([[0, 0, -1, 0], [1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]], float)
    assert orientation_code(sagittal) == "PFR"
    tilted = affine.copy()
    tilted[1, 2] = 0.27
    assert orientation_code(tilted) == "LPH"
    assert orientation_code(np.diag([-2.0, -2.0, 3.0, 1.0])) == "RAH"
    assert all(code in ORIENTATIONS for code in ("LPH", "PFR", "RAH"))


def test_nothing_but_counts_is_in_a_record():
    assert isinstance(statistics(images()), Statistics)
    assert set(statistics(images()).record()) == {"version", "cases", "histograms", "brighter"}
