from __future__ import annotations

import shutil

import pytest

from fedmed.clock import generator
from fedmed.learning import weights
from fedmed.learning.order import ModelSpec
from fedmed.serving.card import Preparation
from fedmed.serving.exporting import Trained, export, golden_inputs
from fedmed.serving.packages import Package
from fedmed.serving.quantising import quantise


@pytest.fixture(scope="session")
def trained():
    spec = ModelSpec(name="small-cnn", inputs=(1, 12, 12), classes=2, options={"widths": [8, 16], "standardise": True})
    return Trained("chest", "2026.1", spec, weights.fresh(spec, 3), ("normal", "pneumonia"), Preparation("image"))


@pytest.fixture(scope="session")
def exported(trained, tmp_path_factory) -> Package:
    """A small network with GroupNorm, fp32 only."""
    return export(trained, tmp_path_factory.mktemp("exported") / "package")


@pytest.fixture(scope="session")
def quantised(exported, trained, tmp_path_factory) -> Package:
    """The same with both int8 models."""
    folder = tmp_path_factory.mktemp("quantised") / "package"
    shutil.copytree(exported.folder, folder)
    cases = (case for seed in range(3) for case in golden_inputs(trained, seed + 1))
    return quantise(Package.load(folder), cases)


@pytest.fixture
def random():
    return generator(11, "serving")
