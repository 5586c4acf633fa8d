from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from fedmed.errors import ConfigError, EngineFailed
from fedmed.learning import inputs as training_inputs
from fedmed.learning import order as orders
from fedmed.learning import weights
from fedmed.learning.order import ModelSpec
from fedmed.serving import exporting
from fedmed.serving.card import Preparation
from fedmed.serving.engines.ort_cpu import open_model
from fedmed.serving.exporting import Trained, card_preparation, export, golden_inputs, outputs_of, to_module, to_onnx
from fedmed.serving.graph import read_graph
from fedmed.serving.packages import FP32, Package
from fedmed.serving.verdict import deviation


def test_a_package_says_what_it_is(exported, trained):
    card = exported.card
    assert (card.name, card.version, card.kind, card.classes) == (
        "chest",
        "2026.1",
        "classification",
        ("normal", "pneumonia"),
    )
    assert (card.inputs, card.outputs, card.opset) == ((1, 12, 12), (1,), exporting.OPSET)
    assert card.pipeline == trained.pipeline
    assert Package.load(exported.folder).card == card


def test_groupnorm_survives_the_export(exported):
    assert "InstanceNormalization" in read_graph(exported.models[FP32], FP32).operators


def test_nothing_of_this_machine_is_in_the_model(exported):
    model = exported.models[FP32]
    assert not [word for word in (b".py", b"fedmed", b"/site-packages", b"torch.export", b"stack_trace") if word in model]


@pytest.mark.parametrize("count", [1, 3, 17])
def test_any_batch_gives_what_pytorch_gives(exported, trained, random, count):
    x = random.uniform(size=(count, 1, 12, 12)).astype(np.float32)
    expected = outputs_of(to_module(trained), x)
    assert deviation(open_model(exported.models[FP32], "fp32", 1).run(x), expected) < exporting.CLOSE


SMALL = {"channels": (4, 8, 16)}


@pytest.mark.parametrize(
    ("spec", "outputs"),
    [
        (ModelSpec(name="mlp", inputs=(5,), classes=3, options={"hidden": 8}), (3,)),
        (ModelSpec(name="logistic-regression", inputs=(5,), classes=2), (1,)),
        (ModelSpec(name="unet", inputs=(1, 16, 16), classes=2, kind="segmentation", options=SMALL), (1, 16, 16)),
    ],
)
def test_other_kinds_of_model(tmp_path, spec, outputs):
    features = "plain" if len(spec.inputs) == 1 else "standardised-image"
    names = tuple("abc"[: spec.classes])
    package = export(Trained("m", "1", spec, weights.fresh(spec, 1), names, Preparation(features)), tmp_path)
    assert package.card.outputs == outputs


def test_golden_inputs_are_drawn_and_prepared(trained):
    scaled = replace(trained, preparation=Preparation("image", (0.5,) * 144, (0.1,) * 144, 2.0))
    plain, made = golden_inputs(trained, 0), golden_inputs(scaled, 0)
    assert np.array_equal(plain, golden_inputs(trained, 0))
    assert not np.array_equal(plain, golden_inputs(trained, 1))
    assert (plain.min(), plain.max()) == (0, 1)
    assert np.allclose(made, np.clip((plain - 0.5) / 0.1, -2, 2), atol=1e-5)


def test_a_model_that_onnx_runtime_computes_otherwise_is_not_released(trained, exported):
    x = exported.golden.inputs
    with pytest.raises(EngineFailed, match="away from PyTorch's"):
        exporting.refuse_unlike(exported.models[FP32], x, exported.golden.logits + 1)


def test_weights_and_classes_have_to_fit(trained, tmp_path):
    with pytest.raises(ConfigError, match="1 names of classes for a model of 2"):
        export(replace(trained, classes=("one",)), tmp_path)
    with pytest.raises(ConfigError, match="not the model's"):
        export(replace(trained, tensors={}), tmp_path)


def test_a_sites_own_scale_cannot_be_released():
    with pytest.raises(ConfigError, match="site, and the scale is not with the model"):
        card_preparation(orders.Preparation(normalise="site"))
    told = orders.Preparation(features="image", normalise="federated", mean=(1.0,), std=(2.0,), clip=3.0)
    assert card_preparation(told) == Preparation("image", (1.0,), (2.0,), 3.0)
    assert training_inputs.TINY > 0  # what keeps a deviation above 0, as a card needs it


class Halves(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.sum(1, keepdim=True) * 0.5


def test_a_network_of_somebody_else(random):
    x = random.normal(size=(2, 4)).astype(np.float32)
    made = open_model(to_onnx(Halves(), (4,)), "fp32", 1).run(x)
    assert np.allclose(made, x.sum(1, keepdims=True) / 2, atol=1e-6)
