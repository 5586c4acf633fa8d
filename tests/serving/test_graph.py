from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from fedmed.errors import PackageRefused
from fedmed.serving.graph import FLOAT, OPSETS, Port, read_graph
from tests.serving.models import WEIGHTS, linear, parsed, then

GOOD = linear().SerializeToString()


def refused(content: bytes, told: str) -> None:
    with pytest.raises(PackageRefused, match=told) as caught:
        read_graph(content, "model.onnx")
    assert str(caught.value).startswith("model.onnx: ")


def test_the_facts_of_a_model(quantised):
    graph = read_graph(GOOD, "model.onnx")
    assert (graph.opset, graph.operators, graph.parameters) == (18, {"Gemm"}, 4)
    assert graph.inputs == (Port("inputs", FLOAT, (4,)),)
    assert graph.outputs == (Port("logits", FLOAT, (1,)),)
    int8 = read_graph(quantised.models["model.u8s8.onnx"], "model.u8s8.onnx")
    assert {"Conv", "QuantizeLinear", "InstanceNormalization"} <= int8.operators


def test_external_data_is_refused():
    model = linear()
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    refused(model.SerializeToString(), "another file")
    tensor.ClearField("data_location")
    tensor.external_data.add(key="location", value="/etc/passwd")
    refused(model.SerializeToString(), "external data")


def test_operators_and_domains_are_listed():
    refused(then(helper.make_node("RandomNormalLike", ["before"], ["logits"])), "'RandomNormalLike'")
    refused(then(helper.make_node("Relu", ["before"], ["logits"], domain="com.evil")), "'com.evil'")
    model = linear()
    model.opset_import.add(domain="com.microsoft", version=1)
    refused(model.SerializeToString(), r"'com\.microsoft'")


def test_loops_and_functions_are_refused():
    refused(then(helper.make_node("Loop", ["before"], ["logits"], body=linear().graph)), "'Loop'")
    refused(then(helper.make_node("Relu", ["before"], ["logits"], body=linear().graph)), "an attribute has the field 6")
    model = linear()
    model.functions.append(helper.make_function("own", "f", ["a"], ["b"], [], [helper.make_opsetid("", 18)]))
    refused(model.SerializeToString(), "the model has the field 25")


@pytest.mark.parametrize("opset", [16, 22, 99])
def test_other_sets_of_operators(opset):
    refused(linear(opset=opset).SerializeToString(), f"operators of set {opset}")


def test_other_versions_of_onnx():
    model = linear()
    model.ir_version = 14
    refused(model.SerializeToString(), "version 14")


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_nan_weights(dtype):
    weights = WEIGHTS.astype(dtype)
    weights[0, 2] = np.nan
    refused(linear(weights).SerializeToString(), "NaN")


def test_nan_in_a_list_of_floats_and_in_a_constant():
    model = linear()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.float_data.extend([1.0, float("nan"), 0.0, 0.0])
    refused(model.SerializeToString(), "NaN")
    held = numpy_helper.from_array(np.array([np.nan], np.float32), "c")
    nodes = helper.make_node("Constant", [], ["c"], value=held), helper.make_node("Add", ["before", "c"], ["logits"])
    refused(then(*nodes), "NaN")


def test_tensors_that_are_not_what_they_tell():
    model = linear()
    model.graph.initializer[0].raw_data += b"\0\0\0\0"
    refused(model.SerializeToString(), "20 bytes for 4 values")
    model.graph.initializer[0].data_type = TensorProto.STRING
    refused(model.SerializeToString(), "of type")
    model.graph.initializer[0].data_type = TensorProto.FLOAT
    model.graph.initializer[0].dims[:] = [-1, 4]
    refused(model.SerializeToString(), "has the shape")


def test_a_fixed_batch():
    model = linear()
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    refused(model.SerializeToString(), "open batch")


def test_a_second_graph_that_a_parser_would_merge():
    model = linear()
    again = parsed(GOOD)
    again.ClearField("ir_version")
    again.ClearField("opset_import")
    refused(model.SerializeToString() + again.SerializeToString(), "one graph")


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255))
@settings(max_examples=300)
def test_a_changed_byte_is_read_or_refused(place, value):
    changed = bytearray(GOOD)
    changed[place] = value
    with suppress(PackageRefused):  # and nothing else
        assert read_graph(bytes(changed), "model.onnx").opset in OPSETS


@given(st.integers(0, len(GOOD) - 1))
def test_half_a_file(size):
    with pytest.raises(PackageRefused):
        read_graph(GOOD[:size], "model.onnx")
