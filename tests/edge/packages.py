"""A package of a model of volumes that needs no training: how bright a volume is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from fedmed.serving.packages import FP32, GOLDEN, Package, packed, write_package
from tests.edge.series import TARGET, card, mean


def volume_package(folder: Path) -> Package:
    """As a device gets it."""
    shape = ["batch", 1, *TARGET.size]
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["inputs", "axes"], ["means"], keepdims=0),
            helper.make_node("Reshape", ["means", "shape"], ["logits"]),
        ],
        "bright",
        [helper.make_tensor_value_info("inputs", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 1])],
        [
            numpy_helper.from_array(np.array(value, np.int64), name)
            for name, value in {"axes": [2, 3, 4], "shape": [-1, 1]}.items()
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    inputs = np.random.default_rng(5).random((4, 1, *TARGET.size), np.float32)
    golden = packed({"inputs": inputs, "logits": mean(inputs)})
    return write_package(folder, card(), {FP32: bytes(model.SerializeToString()), GOLDEN: golden})
