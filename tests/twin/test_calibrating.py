from __future__ import annotations

import pytest
import torch

from fedmed.clock import SystemClock
from fedmed.config.scenario import Training
from fedmed.learning.order import ModelSpec
from fedmed.twin.calibrating import calibrate

SPECS = [
    ModelSpec(name="mlp", options={"hidden": 16}, inputs=(8,), classes=3),
    ModelSpec(name="small-cnn", options={"widths": [8]}, inputs=(1, 16, 16), classes=2),
]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_this_machine_is_measured(spec):
    said: list[tuple[str, int, int]] = []
    found = calibrate(spec, Training(epochs=1, batch_size=4), SystemClock(), lambda *told: said.append(told), 0.0)
    numbers = {each.key: each for each in found.measured}
    assert {"speed.fp32", "bandwidth", "step", "used"} <= set(numbers)
    assert all(value > 0 for each in numbers.values() for value in each.values)
    assert len(numbers["step"].values) == 3
    assert 0 < numbers["used"].value <= 1
    assert [number for _, number, _ in said] == list(range(1, said[-1][2] + 1))
    assert found.like == "cpu" or torch.cuda.is_available()
