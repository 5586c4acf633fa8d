from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

from fedmed.serving.draft import Draft
from fedmed.serving.engines.ort_cpu import open_model
from tests.serving.models import WEIGHTS, linear, parsed, then


def test_what_nothing_uses_is_left_out_and_the_rest_is_in_order():
    draft = Draft(linear().SerializeToString())
    gemm = draft.nodes[0]
    double = helper.make_node("Mul", ["made", draft.add("two", np.float32([2]))], ["logits"], "double")
    unused = helper.make_node("Relu", ["made"], ["nothing"], "unused")
    draft.replace(gemm, [unused, double, helper.make_node("Gemm", list(gemm.input), ["made"], "gemm", transB=1)])
    draft.add("spare", np.zeros(3, np.float32))
    made = draft.finished()
    onnx.checker.check_model(parsed(made), full_check=True)
    assert [node.name for node in parsed(made).graph.node] == ["gemm", "double"]
    assert {one.name for one in parsed(made).graph.initializer} == {"w", "two"}
    x = np.eye(4, dtype=np.float32)
    assert np.allclose(open_model(made, "fp32", 1).run(x), 2 * WEIGHTS.T)


def test_a_chain_is_one_only_where_nothing_else_takes_part():
    relu, again = helper.make_node("Relu", ["before"], ["after"]), helper.make_node("Relu", ["after"], ["logits"])
    draft = Draft(then(relu, again))
    assert [node.op_type for node in draft.chain("before", "Relu", "Relu")] == ["Relu", "Relu"]
    assert not draft.chain("before", "Relu", "Add")
    assert not draft.chain("after", "Relu", "Relu")
    assert not Draft(then(relu, again, helper.make_node("Neg", ["after"], ["aside"]))).chain("before", "Relu", "Relu")


def test_shapes_and_constants():
    draft = Draft(linear().SerializeToString())
    assert draft.shapes()["inputs"] == (0, 4)
    assert np.array_equal(draft.constant("w"), WEIGHTS)
    assert draft.constant("inputs") is None
    assert draft.maker("inputs") is None
