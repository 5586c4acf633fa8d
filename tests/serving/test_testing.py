from __future__ import annotations

import sys
from dataclasses import dataclass, field

import numpy as np
import pytest
from onnx import helper, numpy_helper

from fedmed.errors import EngineFailed
from fedmed.serving import testing
from fedmed.serving.engines import table
from fedmed.serving.engines.ort_cpu import open_package
from fedmed.serving.testing import Limits, child, self_test, self_test_apart
from tests.serving.models import WEIGHTS, golden, linear, then, written


def test_a_good_package_passes_in_every_precision(quantised):
    for precision in ("fp32", "int8"):
        verdict = self_test_apart(quantised.folder, precision, "cpu")
        assert verdict.passed, verdict.reason
        assert 0 <= verdict.deviation <= quantised.card.tolerances[precision]


def test_wrong_outputs_do_not_pass(tmp_path):
    package = written(tmp_path, linear(WEIGHTS * 1.01).SerializeToString())
    verdict = self_test(open_package(package, "fp32"), package)
    assert (verdict.passed, verdict.reason.startswith("its logits are off by 0.01")) == (False, True)


@dataclass(frozen=True)
class Says:
    answer: np.ndarray | None
    precision: str = "fp32"
    name: str = "cpu"
    inputs: list = field(default_factory=list)

    def run(self, x):
        if self.answer is None:
            raise EngineFailed("no answer")
        return self.answer[: len(x)]


def test_what_is_no_answer_does_not_pass(tmp_path):
    package = written(tmp_path)
    right = golden()["logits"]
    assert self_test(Says(right), package).passed
    assert not self_test(Says(np.full_like(right, np.nan)), package).passed
    assert not self_test(Says(right[:, :0]), package).passed
    assert self_test(Says(None), package).reason == "no answer"


def test_a_batch_that_changes_a_case_does_not_pass(tmp_path):
    @dataclass(frozen=True)
    class Alone(Says):
        def run(self, x):
            return golden()["logits"][: len(x)] * (1.5 if len(x) == 1 else 1)

    package = written(tmp_path)
    assert not self_test(Alone(None), package).passed


def test_one_that_takes_all_memory_is_ended(tmp_path):
    size = numpy_helper.from_array(np.array([1 << 32], np.int64), "n")
    nodes = (
        helper.make_node("Constant", [], ["n"], value=size),
        helper.make_node("ConstantOfShape", ["n"], ["much"]),
        helper.make_node("ReduceSum", ["much"], ["zero"], keepdims=0),
        helper.make_node("Add", ["before", "zero"], ["logits"]),
    )
    written(tmp_path, then(*nodes))
    verdict = self_test_apart(tmp_path, "fp32", "cpu", Limits(memory_bytes=2 << 30))
    assert not verdict.passed
    assert verdict.deviation is None


def test_one_that_takes_too_long_is_ended(tmp_path):
    written(tmp_path)
    verdict = self_test_apart(tmp_path, "fp32", "cpu", Limits(seconds=0.01))
    assert (verdict.passed, verdict.reason) == (False, "gave no answer within 0.01 s and was ended")


def test_one_that_crashes_does_not_take_the_caller_with_it(tmp_path, monkeypatch):
    crashing = tmp_path / "python"
    crashing.write_text("#!/bin/sh\nkill -SEGV $$\n")
    crashing.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(crashing))
    assert "by the signal SIGSEGV" in self_test_apart(tmp_path, "fp32").reason
    crashing.write_text('#!/bin/sh\necho \'{"passed": 1, "reason": 2}\'\n')
    assert "cannot be read" in self_test_apart(tmp_path, "fp32").reason
    crashing.write_text("#!/bin/sh\nhead -c 100000 /dev/zero\n")
    assert "100000 bytes" in self_test_apart(tmp_path, "fp32").reason
    crashing.write_text("#!/bin/sh\necho so >&2\nexit 3\n")
    assert "with the code 3: so" in self_test_apart(tmp_path, "fp32").reason


def test_a_shape_error_within_the_model_is_told(tmp_path):
    node = helper.make_node("Reshape", ["before", "shape"], ["logits"])
    model = linear(nodes=(node,), last="before")
    model.graph.initializer.append(numpy_helper.from_array(np.array([7, 7], np.int64), "shape"))
    written(tmp_path, model.SerializeToString())
    verdict = self_test_apart(tmp_path, "fp32", "cpu")
    assert (verdict.passed, "cpu fp32" in verdict.reason) == (False, True)


def test_an_altered_package_does_not_pass(tmp_path):
    written(tmp_path)
    (tmp_path / "more").touch()
    assert "not on the card: more" in self_test_apart(tmp_path, "fp32").reason


def test_the_child_says_one_line(tmp_path, capsys, monkeypatch):
    capped = []
    monkeypatch.setattr(testing.resource, "setrlimit", lambda *arguments: capped.append(arguments))  # not for this process
    written(tmp_path)
    for precision in ("fp32", "int8"):
        child([str(tmp_path), precision, "cpu", "", "0", "1", "8"])
    first, second = capsys.readouterr().out.splitlines()
    assert '"passed": true' in first
    assert len(capped) == 1
    assert "cannot be opened here" in second


@pytest.mark.parametrize("precision", table.PRECISIONS)
def test_every_precision_has_a_tolerance(tmp_path, precision):
    assert written(tmp_path).card.tolerances[precision] > 0
