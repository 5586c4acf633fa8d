from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.dicom.synthetic.phantom import write_hospitals
from fedmed.edge.preparing import Prepared, recipe_of
from fedmed.errors import ConfigError, DataError
from fedmed.learning.inputs import Scale
from fedmed.preprocess.pipeline import AS_STORED, Pipeline, Step
from fedmed.serving.card import Card, Preparation
from fedmed.sites.readers.folder import FolderOptions, prepared_by
from fedmed.sites.readers.pixels import Grid, read_pixels

PLAIN = Preparation("image")


def card(pipeline: Pipeline, size: int = 64, preparation: Preparation = PLAIN) -> Card:
    inputs = (1, size, size)
    return Card(
        "chest", "1", "classification", inputs, (1,), ("well", "ill"), pipeline, preparation, 18, weights_sha256="0" * 64
    )


def of_options(options: FolderOptions, preparation: Preparation = PLAIN) -> Card:
    return card(prepared_by(options), options.size, preparation)


@pytest.fixture(scope="module")
def radiograph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantom")
    write_hospitals(folder, 3, share=0.02)
    return next(path for path in sorted(folder.rglob("*.dcm")))


@settings(max_examples=12, deadline=None)
@given(size=st.integers(8, 96), field=st.sampled_from([None, 120.0, 280.0, 400.0]), standard=st.booleans())
def test_a_device_prepares_to_the_bit_as_training_does(radiograph: Path, size: int, field: float | None, standard: bool):
    options = FolderOptions(size=size, field_of_view_mm=field, standardise=standard)
    recipe = recipe_of(of_options(options))
    made = recipe.prepared(radiograph.read_bytes(), "it").values
    there = read_pixels(radiograph, Grid(size, field, False, standard))
    assert made.shape == (1, 1, size, size)
    assert made[0, 0].tobytes() == there.tobytes()
    assert recipe.pipeline == prepared_by(options)


def test_the_federations_scale_is_applied_as_in_training(radiograph: Path):
    options, count = FolderOptions(size=8), 64
    rng = np.random.default_rng(1)
    mean, std = rng.normal(size=count).astype(np.float32), rng.uniform(0.5, 2, count).astype(np.float32)
    scaled = Preparation("image", tuple(map(float, mean)), tuple(map(float, std)), 1.5)
    plain = recipe_of(of_options(options)).prepared(radiograph.read_bytes(), "it").values
    made = recipe_of(of_options(options, scaled)).prepared(radiograph.read_bytes(), "it").values
    assert made.tobytes() == Scale(mean, std).apply(plain, 1.5).tobytes()


@pytest.mark.parametrize(
    ("pipeline", "said"),
    [
        (AS_STORED, "a side of None"),
        (Pipeline((Step("resample", {"size": 5000}),)), "a side of 5000"),
        (Pipeline((Step("resample", {"size": 64, "field_of_view_mm": -1.0}),)), "field of view is -1.0"),
        (Pipeline((Step("resample", {"size": 64}),)), "cannot prepare images as the model's training did"),
        (prepared_by(FolderOptions(colour=True)), "read.channels 1 instead of 3"),
    ],
)
def test_what_training_did_otherwise_is_refused(pipeline: Pipeline, said: str):
    with pytest.raises(ConfigError, match=said):
        recipe_of(card(pipeline))


def test_objects_that_are_no_image_are_refused_by_name(radiograph: Path):
    import pydicom

    recipe = recipe_of(of_options(FolderOptions(field_of_view_mm=200.0)))
    with pytest.raises(DataError, match=r"us-1: is not a DICOM file"):
        recipe.prepared(b"no image", "us-1")
    with pytest.raises(DataError, match=r"us-1: its pixels cannot be decoded|us-1: it cannot be read"):
        recipe.prepared(radiograph.read_bytes()[:-1000], "us-1")
    dataset = pydicom.dcmread(radiograph)
    for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
        if keyword in dataset:
            delattr(dataset, keyword)
    buffer = BytesIO()
    dataset.save_as(buffer)
    with pytest.raises(DataError, match="states no pixel spacing"):
        recipe.prepared(buffer.getvalue(), "us-1")


@settings(max_examples=30, deadline=None)
@given(
    size=st.integers(8, 40),
    shape=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    spacing=st.tuples(st.floats(0.2, 4), st.floats(0.2, 4)),
    field=st.sampled_from([None, 10.0, 100.0]),
)
def test_a_mask_comes_back_where_its_pixels_were(size: int, shape: tuple, spacing: tuple, field: float | None):
    recipe = recipe_of(of_options(FolderOptions(size=size, field_of_view_mm=field)))
    mask = np.arange(size * size, dtype=np.uint8).reshape(size, size) | 1  # nowhere 0
    found = recipe.back(mask, Prepared(np.zeros((1, 1, size, size), np.float32), shape, spacing))
    side = field or max(shape[0] * spacing[0], shape[1] * spacing[1])
    for at in ((0, 0), (shape[0] - 1, shape[1] - 1), (shape[0] // 2, shape[1] // 3)):
        place = [((i - (n - 1) / 2) * mm / side + 0.5) * size for i, n, mm in zip(at, shape, spacing, strict=True)]
        if all(1e-6 < each % 1 < 1 - 1e-6 for each in place):  # on an edge either neighbour is right
            inside = all(0 <= each < size for each in place)
            assert found[at] == (mask[int(place[0]), int(place[1])] if inside else 0)
