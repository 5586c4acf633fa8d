"""A release as devices are given it."""

from __future__ import annotations

import shutil

import pytest

from fedmed.learning import weights
from fedmed.learning.order import ModelSpec
from fedmed.serving.card import Preparation
from fedmed.serving.exporting import Trained, export, golden_inputs
from fedmed.serving.packages import Package
from fedmed.serving.quantising import quantise
from fedmed.sites.readers.folder import FolderOptions, prepared_by

SIZE = 32


def _trained() -> Trained:
    spec = ModelSpec(name="small-cnn", inputs=(1, SIZE, SIZE), classes=2, options={"widths": [8], "standardise": True})
    pipeline = prepared_by(FolderOptions(size=SIZE, field_of_view_mm=280.0))
    return Trained("chest", "1", spec, weights.fresh(spec, 3), ("clear", "opacity"), Preparation("image"), pipeline)


@pytest.fixture(scope="session")
def single(tmp_path_factory: pytest.TempPathFactory) -> Package:
    """A small network for grey images, fp32 alone."""
    return export(_trained(), tmp_path_factory.mktemp("exported") / "package")


@pytest.fixture(scope="session")
def quantised(single: Package, tmp_path_factory: pytest.TempPathFactory) -> Package:
    """The same, and int8."""
    folder, trained = tmp_path_factory.mktemp("quantised") / "package", _trained()
    shutil.copytree(single.folder, folder)
    made = Package.load(folder)
    return quantise(made, (case for seed in range(3) for case in golden_inputs(trained, seed + 1)))
