from __future__ import annotations

import pytest
import torch
from torch import nn

from fedmed.errors import ConfigError
from fedmed.learning import models
from fedmed.learning.models import TABLE, build

INPUTS = {
    "logistic-regression": (13,),
    "mlp": (13,),
    "small-cnn": (1, 28, 28),
    "resnet18": (3, 28, 28),
    "densenet121": (1, 16, 32, 32),
    "unet": (1, 16, 24, 32),
}
SMALL = {
    "mlp": {"hidden": 16},
    "small-cnn": {"widths": [8, 16]},
    "resnet18": {"width": 8},
    "densenet121": {"blocks": [2, 2], "growth": 8, "first": 16},
    "unet": {"channels": [4, 8, 8]},
}
EVERY = pytest.mark.parametrize("name", [name for name in TABLE if name != "unet"])


@EVERY
@pytest.mark.parametrize("outputs", [1, 7])
def test_logits_have_a_row_a_case_and_a_column_an_output(name, outputs):
    model = build(name, INPUTS[name], outputs, SMALL.get(name, {})).eval()
    with torch.inference_mode():
        logits = model(torch.randn(5, *INPUTS[name]))
    assert logits.shape == (5, outputs)
    assert torch.isfinite(logits).all()


@EVERY
def test_no_layer_looks_at_other_cases_of_its_batch(name):
    model = build(name, INPUTS[name], 2, SMALL.get(name, {}))
    assert not [part for part in model.modules() if "BatchNorm" in type(part).__name__]
    assert all(buffer.is_floating_point() for buffer in model.buffers())
    model.eval()
    x = torch.randn(4, *INPUTS[name])
    with torch.inference_mode():
        torch.testing.assert_close(model(x)[:1], model(x[:1]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["small-cnn", "resnet18"])
def test_images_are_normalised_by_groups(name):
    model = build(name, INPUTS[name], 2, {})
    norms = [part for part in model.modules() if isinstance(part, nn.GroupNorm)]
    assert len(norms) == {"small-cnn": 3, "resnet18": 17}[name]
    assert {norm.num_groups for norm in norms} == {8}


@EVERY
def test_gradients_reach_every_weight(name):
    model = build(name, INPUTS[name], 1, SMALL.get(name, {}))
    model(torch.randn(4, *INPUTS[name])).sum().backward()
    assert all(weight.grad is not None and torch.isfinite(weight.grad).all() for weight in model.parameters())


def test_the_residual_network_has_eighteen_layers_with_weights():
    model = build("resnet18", (3, 28, 28), 2, {"width": 8})
    shortcuts = [part for name, part in model.named_modules() if "shortcut" in name and isinstance(part, nn.Conv2d)]
    layers = [part for part in model.modules() if isinstance(part, (nn.Conv2d, nn.Linear))]
    assert len(layers) - len(shortcuts) == 18
    assert len(shortcuts) == 3


def test_options_shape_the_model():
    layers = [part for part in build("mlp", (4,), 1, {"hidden": 9, "layers": 3}).modules() if isinstance(part, nn.Linear)]
    assert [(layer.in_features, layer.out_features) for layer in layers] == [(4, 9), (9, 9), (9, 9), (9, 1)]
    assert build("mlp", (4,), 1, {"dropout": 0.25})[3].p == 0.25
    assert build("small-cnn", (1, 28, 28), 1, {"widths": [8, 24]}).head[1].in_features == 24


@pytest.mark.parametrize(
    ("name", "inputs", "options", "why"),
    [
        (
            "small-cnn",
            (1, 28, 28),
            {"width": [8]},
            "width unknown to small-cnn; allowed: widths, dropout",
        ),
        ("logistic-regression", (3,), {"a": 1, "b": 2}, "a, b unknown to logistic-regression; allowed: none"),
        ("mlp", (3,), {"inputs": 1}, "inputs unknown"),
        (
            "small-cnn",
            (1, 28, 28),
            {"widths": [12]},
            "cannot be built for inputs of shape .1, 28, 28.: num_channels",
        ),
        ("small-cnn", (1, 28, 28), {"dropout": 2.0}, "dropout probability"),
        ("small-cnn", (1, 28, 28), {"widths": 8}, "cannot be built"),
        ("mlp", (3,), {"hidden": -1}, "got 2 layers of -1 units"),
        ("mlp", (3,), {"hidden": 0}, "units from 1"),
        ("mlp", (3,), {"layers": -1}, "layers from 0"),
        ("mlp", (3,), {"hidden": "eight"}, "cannot be built"),
        ("perceptron", (3,), {}, r"task.model: got 'perceptron', allowed: .*resnet18.*fedmed.models"),
    ],
)
def test_what_cannot_be_built_is_explained(name, inputs, options, why):
    with pytest.raises(ConfigError, match=why):
        build(name, inputs, 1, options)


def test_a_name_of_the_table_is_its_factory():
    assert models.find("small-cnn") is models.SmallCnn
