"""A release as devices are given it."""

from __future__ import annotations

import pytest

from fedmed.learning import weights
from fedmed.learning.order import ModelSpec
from fedmed.serving.card import Preparation
from fedmed.serving.exporting import Trained, export, golden_inputs
from fedmed.serving.packages import Package
from fedmed.serving.quantising import quantise
from fedmed.sites.readers.folder import FolderOptions, prepared_by

SIZE = 32


@pytest.fixture(scope="session")
def quantised(tmp_path_factory: pytest.TempPathFactory) -> Package:
    """A small network for grey images, fp32 and int8."""
    spec = ModelSpec(name="small-cnn", inputs=(1, SIZE, SIZE), classes=2, options={"widths": [8], "standardise": True})
    pipeline = prepared_by(FolderOptions(size=SIZE, field_of_view_mm=280.0))
    trained = Trained("chest", "1", spec, weights.fresh(spec, 3), ("clear", "opacity"), Preparation("image"), pipeline)
    made = export(trained, tmp_path_factory.mktemp("exported") / "package")
    return quantise(made, (case for seed in range(3) for case in golden_inputs(trained, seed + 1)))
