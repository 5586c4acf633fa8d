from __future__ import annotations

import pytest

from fedmed.learning.order import ModelSpec
from fedmed.twin.counting import cost_of


def test_one_layer_is_counted_as_by_hand():
    found = cost_of(ModelSpec(name="logistic-regression", inputs=(1, 4, 4), classes=2))
    assert (found.parameters, found.trained, found.operations) == (17, 17, 2 * 16)
    assert found.kept == (4 * 16,)
    assert found.kept_mixed == (2 * 16,)


def test_convolutions_are_counted_as_by_hand():
    spec = ModelSpec(name="small-cnn", options={"widths": [8], "dropout": 0.0}, inputs=(1, 8, 8), classes=3)
    found = cost_of(spec)
    assert found.parameters == (9 * 8 + 8) + 2 * 8 + (8 * 3 + 3)
    assert found.operations == 2 * (9 * 8 * 64) + 2 * 8 * 3
    # the image, the convolution's output, the indices of the pooling beside its output, the mean and what ReLU says
    assert sum(found.kept) > 4 * (64 + 8 * 64 + 8 * 16)


def test_normalisation_by_groups_keeps_float32_under_mixed_precision():
    spec = ModelSpec(name="small-cnn", options={"widths": [8, 8]}, inputs=(1, 16, 16), classes=2)
    found = cost_of(spec)
    assert sum(found.kept_mixed) > 0.7 * sum(found.kept)  # no half is saved here, whatever is said of mixed precision


def test_frozen_tensors_are_not_trained():
    spec = ModelSpec(name="mlp", options={"hidden": 8, "layers": 1}, inputs=(5,), classes=2)
    found = cost_of(spec, ("1.*",))
    assert (found.parameters, found.trained) == (5 * 8 + 8 + 8 + 1, 8 + 1)


@pytest.mark.parametrize(("side", "times"), [(16, 1), (32, 4)])
def test_operations_grow_with_the_image(side, times):
    spec = ModelSpec(name="small-cnn", options={"widths": [8]}, inputs=(1, side, side), classes=2)
    base = cost_of(spec.model_copy(update={"inputs": (1, 16, 16)}))
    assert cost_of(spec).operations == pytest.approx(times * base.operations, rel=0.01)
