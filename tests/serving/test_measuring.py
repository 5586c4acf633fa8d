from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.errors import ConfigError
from fedmed.learning import metrics, overlap
from fedmed.learning.prediction import probabilities_of as torch_probabilities
from fedmed.serving import measuring
from fedmed.serving.measuring import accuracy, auc, dice, latency, logits_of, probabilities_of, score


class Ticks:
    """Each call takes a millisecond more than the one before."""

    def __init__(self) -> None:
        self.at, self.step, self.asked = 0.0, 0.0, 0

    def now(self) -> float:
        if self.asked % 2:
            self.step += 0.001
            self.at += self.step
        self.asked += 1
        return self.at


class Plain:
    name, precision = "cpu", "fp32"

    def __init__(self, value: float = 1.0) -> None:
        self.batches, self.value = [], value

    def run(self, x):
        self.batches.append(len(x))
        return (x * self.value).sum(1, keepdims=True).astype(np.float32)


def test_latency():
    engine = Plain()
    found = latency(engine, np.zeros((1, 4), np.float32), Ticks(), runs=101, warm_up=7)
    assert len(engine.batches) == 108
    assert found.runs == 101
    assert np.allclose([found.minimum_ms, found.median_ms, found.p99_ms], [1, 51, 100])


def test_logits_come_in_parts():
    engine, x = Plain(), np.ones((70, 4), np.float32)
    assert logits_of(engine, x).shape == (70, 1)
    assert engine.batches == [32, 32, 6]


@given(st.integers(1, 5), st.integers(0, 2**31))
@settings(deadline=None)  # the first call loads torchmetrics
def test_probabilities_and_measures_are_those_of_the_training_side(width, seed):
    random = np.random.default_rng(seed)
    logits = np.round(random.normal(0, 4, (40, width)), 1).astype(np.float32)  # rounded: ties
    y = random.integers(0, max(2, width), 40)
    expected = torch_probabilities(torch.from_numpy(logits))
    assert np.allclose(probabilities_of(logits), expected.numpy(), atol=1e-6)
    figures = metrics.figures(expected.double(), torch.from_numpy(y), 0.5)
    assert math.isclose(auc(logits, y), figures["auc"]["value"], abs_tol=0.01)
    assert math.isclose(accuracy(logits, y), figures["accuracy"]["value"], abs_tol=1e-6)


def test_auc_by_hand():
    logits = np.array([[0.0], [1.0], [2.0], [1.0]], np.float32)
    assert auc(logits, np.array([0, 0, 1, 1])) == 0.875
    assert auc(logits * 1e4, np.array([0, 0, 1, 1])) == 0.875
    assert math.isnan(auc(logits, np.zeros(4, int)))


@pytest.mark.parametrize("classes", [2, 3])
def test_dice_is_that_of_the_training_side(classes, random):
    logits = random.normal(size=(5, 1 if classes == 2 else classes, 6, 6)).astype(np.float32)
    y = random.integers(0, classes, (5, 6, 6)).astype(np.uint8)
    y[0] = 0
    tallies = []
    for each, mask in zip(torch_probabilities(torch.from_numpy(logits)), torch.from_numpy(y), strict=True):
        tallies.append(overlap.tally(overlap.decide(each, 0.5), mask, len(each)))
    expected = overlap.per_case(np.stack(tallies))["dice"]
    assert math.isclose(dice(logits, y), float(np.nanmean(expected)), abs_tol=1e-9)


def test_nothing_to_find():
    logits = np.full((2, 1, 4, 4), -9, np.float32)
    assert math.isnan(dice(logits, np.zeros((2, 4, 4), np.uint8)))


def test_scores():
    x, y = np.arange(8, dtype=np.float32).reshape(4, 2), np.array([0, 0, 1, 1])
    assert score(Plain(), x, y, "auc") == 1
    assert score(Plain(-1), x, y, "auc") == 0
    assert math.isnan(score(Plain(math.nan), x, y, "accuracy"))
    with pytest.raises(ConfigError, match="allowed: auc, accuracy, dice"):
        score(Plain(), x, y, "f1")
    assert set(measuring.LEADING.values()) <= set(measuring.MEASURES)
