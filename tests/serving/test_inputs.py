from __future__ import annotations

import numpy as np
import pytest

from fedmed.errors import DataError
from fedmed.learning import inputs as training
from fedmed.learning import order as orders
from fedmed.serving.card import Preparation
from fedmed.serving.inputs import prepare
from fedmed.sites.cases import Cases
from tests.serving.models import card


def both(cases: Cases, told: orders.Preparation, shape):
    said = Preparation(told.features, told.mean or (), told.std or (), told.clip)
    scale = None if told.mean is None else training.Scale(np.float32(told.mean), np.float32(told.std))
    expected, _ = training.tensors(cases, told, scale, "east")
    return prepare(card(inputs=shape, preparation=said), cases.x), expected.numpy()


@pytest.mark.parametrize(
    ("told", "shape"),
    [
        (orders.Preparation(features="image"), (1, 6, 6)),
        (orders.Preparation(features="standardised-image"), (1, 6, 6)),
        (orders.Preparation(features="invariants"), (138,)),
        (orders.Preparation(features="image", mean=(0.4,) * 36, std=(0.2,) * 36, clip=1.5), (1, 6, 6)),
    ],
)
def test_a_device_prepares_as_training_did(random, told, shape):
    x = random.integers(0, 256, (5, 6, 6)).astype(np.uint8)
    made, expected = both(Cases(x, np.zeros(5, np.int64), ("a", "b")), told, shape)
    assert np.array_equal(made, expected)


def test_volumes_and_tables(random):
    volumes = Cases(random.normal(size=(2, 4, 6, 6)).astype(np.float32), np.zeros(2, np.int64), ("a", "b"), spatial=3)
    made, expected = both(volumes, orders.Preparation(features="standardised-image"), (1, 4, 6, 6))
    assert np.array_equal(made, expected)
    table = Cases(random.normal(size=(3, 4)).astype(np.float32), np.zeros(3, np.int64), ("a", "b"))
    made, expected = both(table, orders.Preparation(mean=(1.0,) * 4, std=(2.0,) * 4, clip=0.5), (4,))
    assert np.array_equal(made, expected)


def test_cases_of_another_shape_or_without_numbers():
    with pytest.raises(DataError, match=r"needed are float32 of shape \[N, 4\]"):
        prepare(card(), np.zeros((2, 5), np.float32))
    with pytest.raises(DataError, match="not finite"):
        prepare(card(), np.full((2, 4), np.nan, np.float32))
    with pytest.raises(DataError, match="needed"):
        prepare(card(preparation=Preparation(mean=(0.0,) * 4, std=(1.0,) * 4)), np.zeros((2, 3), np.float32))
