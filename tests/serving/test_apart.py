from __future__ import annotations

import numpy as np
import pytest

from fedmed.errors import StoreError
from fedmed.serving.apart import Shown, measured_apart, rungs_apart
from fedmed.serving.climbing import Trial
from fedmed.serving.engines.engine import Options
from fedmed.serving.engines.ort_cpu import open_package
from fedmed.serving.ladder import Rung, choose
from fedmed.serving.measuring import auc, logits_of, probabilities_of
from fedmed.serving.testing import Limits
from tests.serving.models import WEIGHTS, golden, linear, written

HOW = Trial(3, options=Options(threads=1, batch=1))


def shown(x, y=None, count=None) -> Shown:
    return Shown(len(x) if count is None else count, lambda: iter(x), y)


def test_without_labels_a_rung_is_judged_by_what_fp32_decides(quantised, random):
    x = random.uniform(size=(120, 1, 12, 12)).astype(np.float32)
    safe, fast = rungs_apart(quantised, shown(x), HOW)
    assert (safe.precision, safe.score, safe.cases, safe.failure) == ("fp32", 1.0, 120, "")
    decisions = [probabilities_of(logits_of(open_package(quantised, each), x)).argmax(1) for each in ("fp32", "int8")]
    assert fast.score == pytest.approx(float(np.mean(decisions[0] == decisions[1])))
    assert fast.median_ms > 0
    assert choose([safe, fast]).rung in (safe, fast)


def test_with_labels_it_is_the_score_that_the_clinic_would_measure(quantised, random):
    x, y = random.uniform(size=(120, 1, 12, 12)).astype(np.float32), np.arange(120) % 2
    for found in rungs_apart(quantised, shown(x, y), HOW):
        engine = open_package(quantised, found.precision)
        assert found.score == pytest.approx(auc(logits_of(engine, x), y))


def test_without_any_image_there_is_a_latency_and_no_choice_but_the_safe_one(quantised):
    safe, fast = rungs_apart(quantised, shown([]), HOW)
    assert safe.median_ms > 0
    assert fast.median_ms > 0
    assert choose([safe, fast]).rung is safe


def test_one_class_alone_has_no_score(quantised, random):
    x = random.uniform(size=(110, 1, 12, 12)).astype(np.float32)
    found = rungs_apart(quantised, shown(x, np.zeros(110, int)), HOW)
    assert [each.score for each in found] == [None, None]
    assert choose(found).rung is found[0]


def test_a_bad_model_is_a_failure_and_nothing_is_compared_with_it(tmp_path):
    package = written(tmp_path, linear(-WEIGHTS).SerializeToString())
    [found] = rungs_apart(package, shown(golden()["inputs"]), HOW)
    assert found.failure.startswith("its logits are off by 2 ")
    done = measured_apart(package, Rung("int8", "cpu"), shown([]), "accuracy", HOW)
    assert "cannot be opened here" in done.rung.failure


def test_what_takes_too_long_is_ended(quantised, random):
    x = random.uniform(size=(120, 1, 12, 12)).astype(np.float32)
    done = measured_apart(quantised, Rung("fp32", "cpu"), shown(x), "accuracy", Trial(3, Limits(seconds=0.05)))
    assert done.rung.failure == "gave no answer within 0.05 s and was ended"


def test_what_takes_too_much_memory_is_a_failure(quantised):
    done = measured_apart(quantised, Rung("fp32", "cpu"), shown([]), "accuracy", Trial(3, Limits(memory_bytes=1 << 20)))
    assert done.rung.failure


def test_images_that_cannot_be_read_and_fewer_than_were_announced(quantised, random):
    x = random.uniform(size=(3, 1, 12, 12)).astype(np.float32)

    def damaged():
        yield x[0]
        raise StoreError("image 1 was changed")

    for cases, said in ((Shown(3, damaged), "image 1 was changed"), (shown(x, count=4), "fewer than 4 cases came")):
        done = measured_apart(quantised, Rung("fp32", "cpu"), cases, "accuracy", HOW)
        assert done.rung.failure == said
