from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from fedmed.errors import ConfigError, MissingPart
from fedmed.learning import volumes, weights
from fedmed.learning.models import build
from fedmed.learning.order import ModelSpec

SMALL = {"channels": [4, 8, 8]}
TINY_DENSE = {"blocks": [2, 2], "growth": 8, "first": 16}


@pytest.mark.parametrize("inputs", [(1, 16, 24), (3, 16, 24), (1, 8, 16, 12)])
@pytest.mark.parametrize("outputs", [1, 4])
@pytest.mark.parametrize("units", [0, 1])
def test_a_unet_has_logits_for_every_voxel(inputs, outputs, units):
    model = build("unet", inputs, outputs, {**SMALL, "residual_units": units}, "segmentation")
    x = torch.randn(3, *inputs)
    made = model(x)
    assert made.shape == (3, outputs, *inputs[1:])
    made.square().mean().backward()
    assert all(weight.grad is not None and torch.isfinite(weight.grad).all() for weight in model.parameters())


@pytest.mark.parametrize("inputs", [(1, 16, 24), (1, 8, 16, 16)])
def test_on_a_coarser_grid_it_still_answers_for_every_voxel(inputs):
    model = build("unet", inputs, 1, {"channels": [4, 8], "shrink": 2}, "segmentation").eval()
    x = torch.randn(2, *inputs)
    with torch.inference_mode():
        made = model(x)
    assert made.shape == (2, 1, *inputs[1:])
    with pytest.raises(ConfigError, match="are no multiples of 8, strides and shrink together"):
        build("unet", (1, 8, 12), 1, {"channels": [4, 8], "shrink": 4}, "segmentation")


@pytest.mark.parametrize("name", ["unet", "densenet121"])
def test_no_layer_looks_at_other_cases_or_keeps_statistics(name):
    kind, options = ("segmentation", SMALL) if name == "unet" else ("classification", TINY_DENSE)
    model = build(name, (1, 16, 16, 16), 2, options, kind)
    assert not list(model.buffers())
    x = torch.randn(3, 1, 16, 16, 16)
    with torch.inference_mode():
        torch.testing.assert_close(model(x)[:1], model(x[:1]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("inputs", [(1, 32, 32), (2, 16, 16, 16)])
def test_a_densenet_has_logits_for_a_case(inputs):
    assert build("densenet121", inputs, 3, TINY_DENSE)(torch.randn(2, *inputs)).shape == (2, 3)


def test_the_densenet_is_the_one_with_121_layers():
    model = build("densenet121", (1, 32, 32), 2, {})
    layers = [part for part in model.modules() if isinstance(part, (torch.nn.Conv2d, torch.nn.Linear))]
    assert len(layers) == 121


@pytest.mark.parametrize(
    ("name", "inputs", "options", "kind", "why"),
    [
        ("unet", (1, 18, 16), SMALL, "segmentation", r"sides \[18, 16\] are no multiples of 4, strides .*task.patches.size"),
        ("unet", (1, 4, 4), SMALL, "segmentation", r"leave a single voxel at the lowest level"),
        ("unet", (1, 16, 16), {"depth": 3}, "segmentation", "depth unknown to unet; allowed: channels, strides"),
        ("unet", (7,), SMALL, "segmentation", "cannot be built for inputs of shape .7."),
        ("small-cnn", (1, 16, 16), {"widths": [8]}, "segmentation", r"logits of shape \[1\] a case; a segmentation needs"),
        (
            "unet",
            (1, 16, 16),
            SMALL,
            "classification",
            r"makes logits of shape \[1, 16, 16\] a case; a classification needs",
        ),
        ("densenet121", (1, 16, 16), {"first": 12}, "classification", "cannot be built"),
    ],
)
def test_what_cannot_be_is_refused_with_what_to_do(name, inputs, options, kind, why):
    with pytest.raises(ConfigError, match=why):
        build(name, inputs, 1, options, kind)


def test_without_monai_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "monai.networks", None)
    with pytest.raises(MissingPart, match=r"pip install 'fedmed\[imaging\]'"):
        volumes.unet((1, 16, 16), 1)


def test_monai_is_imported_only_where_a_network_is_built():
    code = "import sys; import fedmed.learning.clinic, fedmed.learning.plan; sys.exit('monai' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=100).returncode == 0


def test_weights_of_a_volumes_network_go_out_and_in():
    spec = ModelSpec(name="unet", options=SMALL, inputs=(1, 8, 8, 8), classes=2, kind="segmentation")
    first = weights.fresh(spec, 3)
    assert first.keys() == weights.fresh(spec, 3).keys()
    assert all(np.array_equal(first[name], value) for name, value in weights.fresh(spec, 3).items())
    read = weights.read(weights.loaded(spec, first))
    assert all(np.array_equal(first[name], value) for name, value in read.items())
