from __future__ import annotations

import shutil

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from fedmed.errors import ConfigError, DataError, EngineFailed
from fedmed.serving.engines.ort_cpu import open_model
from fedmed.serving.exporting import to_onnx
from fedmed.serving.packages import FP32, S8S8, U8S8, Package
from fedmed.serving.quantising import int8_models, quantise
from fedmed.serving.verdict import deviation
from tests.serving.models import parsed, written


@pytest.fixture
def plain(exported, tmp_path) -> Package:
    shutil.copytree(exported.folder, tmp_path / "package")
    return Package.load(tmp_path / "package")


def zero_points(model: onnx.ModelProto, kind: str) -> list[np.ndarray]:
    held = {one.name: onnx.numpy_helper.to_array(one) for one in model.graph.initializer}
    return [held[node.input[2]] for node in model.graph.node if node.op_type == kind]


def test_both_kinds_of_int8(quantised):
    assert quantised.models.keys() == {FP32, U8S8, S8S8}
    unsigned, symmetric = parsed(quantised.models[U8S8]), parsed(quantised.models[S8S8])
    assert {point.dtype for point in zero_points(unsigned, "QuantizeLinear")} == {np.dtype(np.uint8)}
    points = zero_points(symmetric, "QuantizeLinear") + zero_points(symmetric, "DequantizeLinear")
    assert {point.dtype for point in points} == {np.dtype(np.int8)}
    assert not any(point.any() for point in points)


def test_weights_have_a_scale_for_each_channel(quantised):
    model = parsed(quantised.models[U8S8])
    held = {one.name: onnx.numpy_helper.to_array(one) for one in model.graph.initializer}
    scales = [held[node.input[1]].size for node in model.graph.node if node.op_type == "DequantizeLinear"]
    assert {8, 16} <= set(scales)


def test_what_a_groupnorm_divides_by_is_computed_in_floats(quantised):
    for name in (U8S8, S8S8):
        model = parsed(quantised.models[name])
        norms = [node for node in model.graph.node if node.op_type == "InstanceNormalization"]
        assert norms
        made_by = {output: node.op_type for node in model.graph.node for output in node.output}
        assert all(made_by.get(node.input[1]) != "DequantizeLinear" for node in norms)


def test_on_processors_all_but_the_norms_themselves_is_int8(quantised):
    model = parsed(quantised.models[U8S8])
    made_by = {output: node for node in model.graph.node for output in node.output}
    pools = [node for node in model.graph.node if node.op_type == "MaxPool"]
    assert len(pools) == 2
    assert {made_by[node.input[0]].op_type for node in pools} == {"DequantizeLinear"}
    # Two convolutions, and gamma and beta of two norms, which put the data in order for the pooling behind them.
    assert sum(node.op_type == "Conv" for node in model.graph.node) == 4
    assert not {"Mul", "Add", "Relu", "Shape"} & {node.op_type for node in model.graph.node}
    assert {"Mul", "Add", "Relu"} <= {node.op_type for node in parsed(quantised.models[S8S8]).graph.node}


class Branches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.offset = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1), nn.Parameter(torch.ones(4, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        branch = self.first(x)
        return (torch.relu(branch + self.second(branch)) + self.offset).mean((2, 3))


def test_sums_of_branches_are_int8_and_others_are_not(random):
    torch.manual_seed(2)
    plain = to_onnx(Branches().eval(), (4, 6, 6))
    cases = list(random.normal(size=(8, 4, 6, 6)).astype(np.float32))
    made = int8_models(plain, cases, (4, 6, 6))[U8S8]
    model = parsed(made)
    made_by = {output: node.op_type for node in model.graph.node for output in node.output}
    sums = [[made_by.get(name) for name in node.input] for node in model.graph.node if node.op_type == "Add"]
    assert sums.count(["DequantizeLinear"] * 2) == 1
    assert len(sums) == 2
    x = np.stack(cases)
    assert deviation(open_model(made, "int8", 1).run(x), open_model(plain, "fp32", 1).run(x)) < 0.02


def test_int8_is_close_and_what_it_makes_is_kept(quantised):
    for name in (U8S8, S8S8):
        made = open_model(quantised.models[name], "int8", 1).run(quantised.golden.inputs)
        assert np.array_equal(made, quantised.golden.expected(name))
        assert 0 < deviation(made, quantised.golden.logits) < 0.1
    assert quantised.golden.expected(FP32) is quantised.golden.logits


def test_logits_beyond_those_of_the_calibration_are_not_cut_off(tmp_path):
    package = written(tmp_path)
    small = quantise(package, [np.eye(4, dtype=np.float32)[row] * 2 for row in range(4)] + [np.full(4, -2, np.float32)])
    x = np.array([[-2, -2, 2, 2]], np.float32)  # within the range of each input, its logit beyond that of every case
    assert abs(open_model(small.models[U8S8], "int8", 1).run(x)[0, 0] - 16 / 3) < 0.1


def test_percentiles(plain, random, capsys):
    cases = (case for case in random.uniform(size=(20, 1, 12, 12)).astype(np.float32))
    made = quantise(plain, cases, "percentile")
    assert next(cases, None) is None
    assert made.models.keys() == {FP32, U8S8, S8S8}
    assert capsys.readouterr() == ("", "")


def test_cases_are_gone_through_once_and_not_kept(plain, random):
    import gc
    import weakref

    seen = []

    def cases():
        for _ in range(20):
            case = random.uniform(size=(1, 12, 12)).astype(np.float32)
            seen.append(weakref.ref(case))
            yield case

    quantise(plain, cases())
    gc.collect()
    assert len(seen) == 20
    assert not [one for one in seen if one() is not None]


def test_wrong_cases_and_words(plain):
    with pytest.raises(DataError, match="no cases to calibrate"):
        quantise(plain, [])
    with pytest.raises(DataError, match=r"\[1, 3, 12, 12\]"):
        quantise(plain, [np.zeros((3, 12, 12), np.float32)])
    with pytest.raises(ConfigError, match="allowed: minmax, percentile"):
        quantise(plain, [np.zeros((1, 12, 12), np.float32)], "entropy")
    assert Package.load(plain.folder).models.keys() == {FP32}


def test_a_model_that_int8_makes_another_one_is_refused(tmp_path):
    package = written(tmp_path)
    with pytest.raises(EngineFailed, match="or release the model without int8"):
        quantise(package, [np.full(4, 1e-3, np.float32)])  # nothing like the golden inputs
    assert Package.load(tmp_path).models.keys() == {FP32}
