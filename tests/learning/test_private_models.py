from __future__ import annotations

import sys

import pytest
from torch import nn

from fedmed.config.privacy import DifferentialPrivacy
from fedmed.errors import ConfigError, MissingPart
from fedmed.learning import models
from fedmed.learning.order import ModelSpec
from fedmed.learning.private_models import check, check_model
from fedmed.learning.weights import built
from tests.learning.parts import CNN, MLP, SPEC

opacus = pytest.importorskip("opacus.validators", reason="opacus is not installed: pip install 'fedmed[dp]'")
RESNET = ModelSpec(name="resnet18", inputs=(1, 16, 16), classes=3, options={"width": 8})
UNET = ModelSpec(name="unet", inputs=(1, 16, 16), classes=2, kind="segmentation", options={"channels": [4, 8]})
RECORD = DifferentialPrivacy(mode="record-distributed", epsilon=3.0, delta=1e-5, rate=0.1)
CLINIC = DifferentialPrivacy(mode="clinic", epsilon=3.0, delta=1e-5)


def normalised(inputs, outputs) -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, outputs))


@pytest.mark.parametrize("spec", [SPEC, MLP, CNN, RESNET, UNET], ids=lambda spec: spec.name)
def test_models_of_the_table_can_be_trained(spec):
    check(RECORD, spec, (1.0,) * spec.classes)


def test_layers_that_mix_cases_are_named_with_their_replacement(monkeypatch):
    monkeypatch.setitem(models.TABLE, "normalised", normalised)
    spec = ModelSpec(name="normalised", inputs=(1, 8, 8), classes=2)
    for private in (RECORD, CLINIC):
        with pytest.raises(
            ConfigError, match=r"model normalised cannot be trained .*: 1 is BatchNorm2d, .*: use GroupNorm$"
        ):
            check(private, spec, (1.0, 1.0))
    check(None, spec, (1.0, 1.0))


def test_not_every_layer_is_listed():
    with pytest.raises(ConfigError, match=r"; and 3 more$"):
        check_model(nn.Sequential(*[nn.BatchNorm1d(3) for _ in range(8)]), "deep")


def test_what_opacus_refuses_is_refused():
    with pytest.raises(ConfigError, match=r"(?i)instancenorm|running"):
        check_model(nn.Sequential(nn.InstanceNorm2d(4, affine=True, track_running_stats=True)), "instance")


def test_an_update_that_is_clipped_as_a_whole_needs_no_gradient_of_each_case():
    check_model(nn.Sequential(nn.InstanceNorm2d(4, affine=True, track_running_stats=True)), "instance", each_case=False)


def test_a_model_without_weights_has_nothing_to_train():
    with pytest.raises(ConfigError, match="no weights to train"):
        check_model(nn.Sequential(nn.Flatten()), "empty")


@pytest.mark.parametrize("private", [RECORD, CLINIC], ids=lambda each: each.mode)
def test_weights_from_counts_are_refused(private):
    with pytest.raises(ConfigError, match=r"task\.class_weights"):
        check(private, SPEC, (0.6, 2.5))
    check(None, SPEC, (0.6, 2.5))


def test_without_opacus_it_is_said_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "opacus.validators", None)
    with pytest.raises(MissingPart, match=r"fedmed\[dp\]"):
        check_model(built(SPEC), "logistic-regression")
