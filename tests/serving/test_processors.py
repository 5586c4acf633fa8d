from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from fedmed.clock import generator
from fedmed.learning.models import ResNet18, SmallCnn
from fedmed.serving.engines.ort_cpu import open_model
from fedmed.serving.exporting import outputs_of, to_onnx
from fedmed.serving.graph import read_graph
from fedmed.serving.processors import for_processors
from fedmed.serving.verdict import deviation
from tests.serving.models import parsed

CLOSE = 1e-5


def drawn(network: nn.Module) -> nn.Module:
    """With gammas and betas as a training leaves them, some of them negative or none."""
    torch.manual_seed(5)
    for layer in network.modules():
        if isinstance(layer, nn.GroupNorm) and layer.affine:
            nn.init.normal_(layer.weight, 0.5)
            nn.init.normal_(layer.bias)
            with torch.no_grad():
                layer.weight[0] = 0
    return network.eval().requires_grad_(False)


def kinds(model: bytes) -> list[str]:
    return [node.op_type for node in parsed(model).graph.node]


def same_as_pytorch(network: nn.Module, shape: tuple[int, ...]) -> bytes:
    made = for_processors(to_onnx(network, shape))
    read_graph(made, "rewritten")
    onnx.checker.check_model(parsed(made), full_check=True)
    x = generator(3, "images").standard_normal((3, *shape), np.float32)
    for count in (1, 3):
        assert deviation(open_model(made, "fp32", 1).run(x[:count]), outputs_of(network, x[:count])) < CLOSE
    return made


@pytest.mark.parametrize(
    ("network", "shape", "norms"),
    [
        (ResNet18((3, 32, 32), 2, width=8), (3, 32, 32), 17),
        (SmallCnn((1, 16, 16), 1, widths=(8, 16)), (1, 16, 16), 2),
    ],
)
def test_the_library_s_networks_compute_the_same(network, shape, norms):
    made = kinds(same_as_pytorch(drawn(network), shape))
    assert made.count("InstanceNormalization") == norms
    assert not {"Shape", "Mul"} & set(made)


@pytest.mark.parametrize(("groups", "affine"), [(1, True), (4, True), (8, False)])
def test_any_groups_compute_the_same(groups, affine):
    network = nn.Sequential(nn.Conv2d(4, 8, 3), nn.GroupNorm(groups, 8, affine=affine), nn.ReLU(), nn.Flatten())
    assert kinds(same_as_pytorch(drawn(network), (4, 6, 7))).count("Conv") == 2


def one_convolution(weights: np.ndarray, height: int, width: int, **said: object) -> bytes:
    graph = helper.make_graph(
        [helper.make_node("Conv", ["inputs", "w"], ["logits"], "first", **said)],
        "first",
        [helper.make_tensor_value_info("inputs", TensorProto.FLOAT, ["batch", weights.shape[1], height, width])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", len(weights), None, None])],
        [numpy_helper.from_array(weights, "w")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return bytes(made.SerializeToString())


@settings(deadline=None)
@given(
    kernel=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    pads=st.tuples(*[st.integers(0, 4)] * 4),
    stride=st.sampled_from([1, 2]),
    channels=st.integers(1, 5),
    side=st.tuples(st.integers(7, 18), st.integers(7, 18)),
)
def test_any_first_convolution_computes_the_same(kernel, pads, stride, channels, side):
    random = generator(1, "first")
    plain = one_convolution(
        random.standard_normal((8, channels, *kernel), np.float32), *side, strides=[stride] * 2, pads=list(pads)
    )
    made = for_processors(plain)
    x = random.standard_normal((2, channels, *side), np.float32)
    assert deviation(open_model(made, "fp32", 1).run(x), open_model(plain, "fp32", 1).run(x)) < CLOSE
    assert kinds(made) in (["Conv"] if channels == 4 else ["Pad", "Conv"], ["SpaceToDepth", "Conv"])


def test_a_stride_of_two_folds_what_is_even_and_widens_the_rest():
    weights = np.ones((8, 3, 7, 7), np.float32)

    def first(side: int, weights: np.ndarray = weights, **said: object) -> str:
        return kinds(for_processors(one_convolution(weights, side, side, pads=[3] * 4, **said)))[0]

    assert first(16, strides=[2, 2]) == "SpaceToDepth"
    assert first(17, strides=[2, 2]) == "Pad"
    assert first(16, strides=[1, 1]) == "Pad"
    assert first(16, strides=[2, 2], dilations=[2, 2]) == "Conv"
    assert first(16, np.ones((8, 4, 7, 7), np.float32), strides=[2, 2]) == "Conv"


def test_pooling_is_behind_a_convolution_and_gets_one_only_where_there_is_none():
    class Bare(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return nn.functional.max_pool2d(x, 2)

    plain = to_onnx(Bare(), (3, 8, 8))
    made = for_processors(plain)
    assert kinds(made) == ["Conv", "MaxPool"]
    x = generator(2, "images").standard_normal((2, 3, 8, 8), np.float32)
    assert np.array_equal(open_model(made, "fp32", 1).run(x), open_model(plain, "fp32", 1).run(x))


@pytest.mark.parametrize(
    ("network", "shape"),
    [
        (nn.Sequential(nn.Conv3d(1, 8, 3), nn.GroupNorm(2, 8), nn.ReLU(), nn.MaxPool3d(2), nn.Flatten()), (1, 6, 6, 6)),
        (nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 2)), (5,)),
    ],
)
def test_what_is_none_of_these_stays_as_it_is(network, shape):
    plain = to_onnx(drawn(network), shape)
    assert sorted(kinds(for_processors(plain))) == sorted(kinds(plain))
    same_as_pytorch(network, shape)
