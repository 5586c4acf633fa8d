from __future__ import annotations

import numpy as np

from fedmed.clock import SystemClock
from fedmed.serving.climbing import CheckSet, Trial, rungs
from fedmed.serving.ladder import choose
from fedmed.serving.testing import Limits
from tests.serving.models import WEIGHTS, golden, linear, written


def test_every_precision_that_can_run_here(quantised, random):
    x = random.uniform(size=(120, 1, 12, 12)).astype(np.float32)
    found = list(rungs(quantised, CheckSet(x, np.arange(120) % 2), SystemClock(), Trial(3)))
    assert [(one.precision, one.backend, one.failure, one.cases) for one in found] == [
        ("fp32", "cpu", "", 120),
        ("int8", "cpu", "", 120),
    ]
    assert all(one.median_ms > 0 for one in found)
    assert all(0 <= one.score <= 1 for one in found)
    assert choose(found).rung in found


def test_a_bad_model_is_a_failure_of_its_rung(tmp_path):
    package = written(tmp_path, linear(-WEIGHTS).SerializeToString())
    checks = CheckSet(golden()["inputs"], np.arange(6) % 2, "accuracy")
    [found] = rungs(package, checks, SystemClock(), Trial(3))
    assert found.failure.startswith("its logits are off by 2 ")
    [found] = rungs(package, checks, SystemClock(), Trial(3, Limits(seconds=0.01)))
    assert "no answer within" in found.failure
    assert choose([found]).rung is None
