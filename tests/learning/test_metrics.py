from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from fedmed.learning.metrics import CALIBRATION_BINS, MAX_ROC_POINTS, binary_auc, curves, figures

NAMES = ["auc", "accuracy", "balanced_accuracy", "sensitivity", "specificity"]


def binary(count: int, seed: int, ties: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    random = np.random.default_rng(seed)
    y = random.integers(0, 2, count)
    score = 1 / (1 + np.exp(-(random.normal(size=count) + y)))
    score = np.round(score, 1) if ties else score
    return torch.from_numpy(np.stack([1 - score, score], 1).astype(np.float32)), torch.from_numpy(y)


def multiclass(count: int, classes: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    random = np.random.default_rng(seed)
    y = random.integers(0, classes, count)
    logits = random.normal(size=(count, classes)) + 1.5 * np.eye(classes)[y]
    return torch.softmax(torch.from_numpy(logits.astype(np.float32)), 1), torch.from_numpy(y)


def values(found) -> dict[str, float | None]:
    return {name: figure["value"] for name, figure in found.items()}


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("threshold", [0.5, 0.3, 0.8])
@pytest.mark.parametrize("seed", range(3))
def test_two_classes_agree_with_scikit_learn(seed, threshold, ties):
    probabilities, y = binary(211, seed, ties)
    score = probabilities[:, 1].numpy()
    decided = score > np.float32(threshold)
    assert values(figures(probabilities, y, threshold)) == {
        "auc": pytest.approx(sk.roc_auc_score(y, score)),
        "accuracy": pytest.approx(sk.accuracy_score(y, decided)),
        "balanced_accuracy": pytest.approx(sk.balanced_accuracy_score(y, decided)),
        "sensitivity": pytest.approx(sk.recall_score(y, decided)),
        "specificity": pytest.approx(sk.recall_score(y, decided, pos_label=0)),
    }


@pytest.mark.parametrize("classes", [3, 7])
@pytest.mark.parametrize("seed", range(3))
def test_more_classes_agree_with_scikit_learn(seed, classes):
    probabilities, y = multiclass(300, classes, seed)
    exact = probabilities.double()
    exact /= exact.sum(1, keepdim=True)
    assert values(figures(probabilities, y, 0.5)) == {
        "auc": pytest.approx(sk.roc_auc_score(y, exact, multi_class="ovr", average="macro"), abs=1e-6),
        "accuracy": pytest.approx(sk.accuracy_score(y, probabilities.argmax(1))),
        "balanced_accuracy": pytest.approx(sk.balanced_accuracy_score(y, probabilities.argmax(1))),
    }


def test_a_class_that_no_case_has_is_left_out_of_the_means():
    probabilities, y = multiclass(300, 5, 1)
    present = (y != 3).nonzero()[:, 0]
    p, y = probabilities[present], y[present]
    areas = [sk.roc_auc_score(y == k, p[:, k]) for k in (0, 1, 2, 4)]
    recalls = [(p.argmax(1)[y == k] == k).float().mean().item() for k in (0, 1, 2, 4)]
    got = values(figures(p, y, 0.5))
    assert got["auc"] == pytest.approx(np.mean(areas))
    assert got["balanced_accuracy"] == pytest.approx(np.mean(recalls))


@pytest.mark.parametrize("present", [0, 1])
def test_one_class_alone_has_no_auc(present):
    probabilities, _ = binary(20, 1)
    got = figures(probabilities, torch.full((20,), present), 0.5)
    missing = {"name": "specificity" if present else "sensitivity"}["name"]
    for name in ("auc", "balanced_accuracy", missing):
        assert got[name] == {"value": None, "low": None, "high": None}
    assert got["accuracy"]["value"] is not None


def test_one_of_many_classes_alone_has_no_auc():
    probabilities, _ = multiclass(20, 4, 1)
    got = figures(probabilities, torch.full((20,), 2), 0.5)
    assert got["auc"]["value"] is None
    assert got["balanced_accuracy"]["value"] is None
    assert 0 <= got["accuracy"]["value"] <= 1


def test_no_cases_have_no_figures():
    assert figures(torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64), 0.5) == {}


def test_the_threshold_itself_is_negative():
    probabilities = torch.tensor([[0.5, 0.5], [0.4, 0.6]])
    assert figures(probabilities, torch.tensor([0, 1]), 0.5)["accuracy"]["value"] == 1


probabilities_and_classes = st.integers(2, 5).flatmap(
    lambda classes: st.lists(
        st.tuples(st.lists(st.floats(0, 1, width=32), min_size=classes, max_size=classes), st.integers(0, classes - 1)),
        min_size=1,
        max_size=30,
    )
)


@given(probabilities_and_classes, st.floats(0.05, 0.95))
@settings(max_examples=150, deadline=None)
def test_every_interval_holds_its_value_and_stays_within_bounds(rows, threshold):
    probabilities = torch.tensor([p for p, _ in rows], dtype=torch.float32)
    y = torch.tensor([k for _, k in rows])
    for figure in figures(probabilities, y, threshold).values():
        if figure["value"] is None:
            assert figure["low"] is None
            assert figure["high"] is None
        else:
            assert 0 <= figure["low"] <= figure["value"] <= figure["high"] <= 1


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=2, max_size=60))
@settings(max_examples=60, deadline=None)
def test_the_auc_is_the_share_of_pairs_in_the_right_order(pairs):
    up = [score for score, positive in pairs if positive]
    down = [score for score, positive in pairs if not positive]
    got = binary_auc(torch.tensor([s for s, _ in pairs], dtype=torch.float64), torch.tensor([int(p) for _, p in pairs]))
    if not up or not down:
        assert got is None
        return
    wins = sum((a > b) + 0.5 * (a == b) for a in up for b in down) / (len(up) * len(down))
    assert got == pytest.approx(wins, abs=1e-6)


def test_the_curve_is_scikit_learns():
    probabilities, y = binary(400, 4)
    drawn = curves(probabilities, y)
    points = np.array(drawn["roc"])
    assert points[0].tolist() == [0, 0]
    assert points[-1].tolist() == [1, 1]
    assert len(points) == MAX_ROC_POINTS
    assert (np.diff(points, axis=0) >= 0).all()
    fpr, tpr, _ = sk.roc_curve(y, probabilities[:, 1].double(), drop_intermediate=False)
    for x, height in points:
        assert np.abs(tpr[np.abs(fpr - x) < 1e-4] - height).min() < 1e-4
    assert np.trapezoid(points[:, 1], points[:, 0]) == pytest.approx(sk.auc(fpr, tpr), abs=0.01)


def test_calibration_counts_every_case_once():
    probabilities, y = binary(400, 4)
    points = curves(probabilities, y)["calibration"]
    score = probabilities[:, 1].numpy()
    assert sum(n for *_, n in points) == 400
    for mean, share, n in points:
        bin_ = int(mean * CALIBRATION_BINS)
        inside = (score * CALIBRATION_BINS).astype(int).clip(0, CALIBRATION_BINS - 1) == bin_
        assert inside.sum() == n
        assert share == pytest.approx(y.numpy()[inside].mean(), abs=1e-5)
        assert mean == pytest.approx(score[inside].mean(), abs=1e-5)


def test_certain_predictions_have_a_bin():
    probabilities = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    assert curves(probabilities, torch.tensor([1, 0]))["calibration"] == [[0.0, 0.0, 1], [1.0, 1.0, 1]]


def test_what_has_no_curve_has_none():
    nothing = {"roc": None, "calibration": None}
    assert curves(*multiclass(30, 3, 1)) == nothing
    assert curves(binary(30, 1)[0], torch.zeros(30, dtype=torch.int64)) == nothing


def test_names_are_those_of_the_report():
    assert list(figures(*binary(30, 1), 0.5)) == NAMES
    assert list(figures(*multiclass(30, 3, 1), 0.5)) == NAMES[:3]
