"""Small ONNX models and packages, good ones and those that a device must refuse."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from fedmed.preprocess.pipeline import AS_STORED
from fedmed.serving.card import Card, Preparation
from fedmed.serving.packages import FP32, GOLDEN, Package, packed, write_package

WIDTH = 4
WEIGHTS = np.linspace(-1, 1, WIDTH, dtype=np.float32).reshape(1, WIDTH)


def linear(weights: np.ndarray = WEIGHTS, nodes: tuple[Any, ...] = (), opset: int = 18, last: str = "logits") -> Any:
    """`x (N, 4)` -> logits `(N, 1)`, before `nodes`, of which the last one has to make `logits`."""
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["inputs", "w"], [last], transB=1), *nodes],
        "linear",
        [helper.make_tensor_value_info("inputs", TensorProto.FLOAT, ["batch", WIDTH])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 1])],
        [numpy_helper.from_array(weights, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def then(*nodes: Any, **options: Any) -> bytes:
    """A linear model and what comes after it."""
    return bytes(linear(nodes=nodes, last="before", **options).SerializeToString())


def card(**changes: Any) -> Card:
    plain = Card("heart", "1.0", "classification", (WIDTH,), (1,), ("no", "yes"), AS_STORED, Preparation(), 18, "0" * 64)
    return replace(plain, **changes)


def golden(count: int = 6) -> dict[str, np.ndarray]:
    inputs = np.random.default_rng(5).standard_normal((count, WIDTH), np.float32)
    return {"inputs": inputs, "logits": inputs @ WEIGHTS.T}


def written(folder: Path, model: bytes | None = None, said: Card | None = None, **tensors: np.ndarray) -> Package:
    """A package of one linear layer, as `Package.load` finds it."""
    content = model if model is not None else linear().SerializeToString()
    return write_package(folder, said or card(), {FP32: content, GOLDEN: packed({**golden(), **tensors})})


def parsed(content: bytes) -> onnx.ModelProto:
    return onnx.load_from_string(content)
