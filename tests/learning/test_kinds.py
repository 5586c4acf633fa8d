"""Segmentation through the clinic: training, validation, bit by bit the same again."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from fedmed.config.scenario import Patches, Training
from fedmed.errors import DataError
from fedmed.learning import weights
from fedmed.learning.clinic import Clinic
from fedmed.learning.kinds import mask_batches
from fedmed.learning.order import ModelSpec, Order, Preparation
from fedmed.learning.prediction import device_of
from fedmed.sites.cases import Cases, Site

PREPARATION = Preparation(features="standardised-image")


def masked(count: int, grid: tuple[int, ...], seed: int, classes: int = 2) -> Cases:
    """Noise with a bright box of each class, whose mask it is."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, *grid)).astype(np.float32)
    y = np.zeros((count, *grid), np.uint8)
    for row in range(count):
        for k in range(1, classes):
            start = [int(rng.integers(0, side - 5)) for side in grid]
            window = (row, *(slice(at, at + 5) for at in start))
            x[window], y[window] = 4.0 * k, k
    names = ("background", "lesion", "organ")[:classes]
    return Cases(x, y, names, spatial=len(grid))


def site(grid: tuple[int, ...], classes: int = 2) -> Site:
    return Site("north", *(masked(count, grid, seed, classes) for seed, count in enumerate((6, 3, 3))))


def order(grid: tuple[int, ...], classes: int = 2, patches: Patches | None = None, number: int = 1, **more) -> Order:
    inputs = (1, *(patches.size if patches else grid))
    spec = ModelSpec(name="unet", options={"channels": [4, 8]}, inputs=inputs, classes=classes, kind="segmentation")
    return Order(
        round=number,
        seed=7,
        model=spec,
        preparation=PREPARATION,
        training=Training(batch_size=4, epochs=more.pop("epochs", 1), optimiser="adam"),
        learning_rate=0.02,
        class_weights=(1.0,) * classes,
        device="cpu",
        patches=patches,
        **more,
    )


FORMS = pytest.mark.parametrize(
    ("grid", "patches", "classes"),
    [
        ((16, 20), None, 2),
        ((16, 20), Patches(size=(8, 8)), 2),
        ((17, 21), Patches(size=(8, 8)), 3),
        ((8, 10, 12), Patches(size=(8, 8, 8), per_case=2), 2),
        ((8, 8, 8), None, 3),
    ],
    ids=["images", "patches", "classes", "volumes", "whole-volumes"],
)


@FORMS
def test_training_learns_the_box_and_tells_its_dice(grid, patches, classes):
    clinic, an_order = Clinic(site(grid, classes)), order(grid, classes, patches, epochs=25, augment="mirror")
    start = weights.fresh(an_order.model, 0)
    before = clinic.validate(an_order, start)
    tensors, told = clinic.train(an_order, start)
    after = clinic.validate(an_order, {name: value.copy() for name, value in tensors.items()})
    assert set(told) == {"num-examples", "loss"}
    assert told["num-examples"] == 6
    assert set(after) == {"num-examples", "loss", "dice"}
    assert after["num-examples"] == 3
    assert after["loss"] < before["loss"]
    assert after["dice"] > max(0.55, before["dice"] + 0.1)


@FORMS
@pytest.mark.parametrize("augment", ["mirrored-scan", "fused-mirrored-scan"])
def test_a_round_is_the_same_to_the_last_bit_whatever_was_done_before(grid, patches, classes, augment):
    an_order = order(grid, classes, patches, number=5, augment=augment)
    start, clinic = weights.fresh(an_order.model, 0), Clinic(site(grid, classes))
    first = {name: value.copy() for name, value in clinic.train(an_order, start)[0].items()}
    clinic.train(an_order.model_copy(update={"round": 6}), start)
    clinic.validate(an_order, start)
    again, _ = Clinic(site(grid, classes)).train(an_order, start)
    assert all(np.array_equal(first[name], again[name]) for name in first)
    other, _ = clinic.train(an_order.model_copy(update={"round": 6}), start)
    assert any(not np.array_equal(first[name], other[name]) for name in first)


def test_an_epoch_shows_every_case_as_often_as_asked():
    x = torch.arange(3, dtype=torch.float32).reshape(3, 1, 1, 1).expand(-1, -1, 8, 8)
    y = torch.zeros(3, 8, 8, dtype=torch.uint8)
    an_order = order((8, 8), patches=Patches(size=(4, 4), per_case=4))
    batches = list(mask_batches((x, y), an_order, torch.Generator().manual_seed(0)))
    assert [len(batch) for batch, _ in batches] == [4, 4, 4]
    seen = torch.cat([batch[:, 0, 0, 0] for batch, _ in batches])
    assert torch.bincount(seen.long()).tolist() == [4, 4, 4]


def test_the_clinic_tells_voxels_and_no_case():
    told = json.loads(Clinic(site((8, 9, 10))).describe(PREPARATION.model_dump_json()))
    counts = site((8, 9, 10)).train.y
    assert told["inputs"] == [1, 8, 9, 10]
    assert told["class_counts"] == [int((counts == 0).sum()), int((counts == 1).sum())]
    assert set(told) == {"name", "classes", "inputs", "examples", "class_counts", "masks"}


def test_without_validation_cases_the_dice_is_unknown():
    north = site((8, 8))
    empty = replace(north, validation=north.validation.take(np.arange(0)))
    an_order = order((8, 8))
    told = Clinic(empty).validate(an_order, weights.fresh(an_order.model, 0))
    assert told["num-examples"] == 0
    assert math.isnan(told["dice"])
    lonely = replace(north, train=north.train.take(np.arange(0)))
    with pytest.raises(DataError, match="site north has no training cases"):
        Clinic(lonely).train(an_order, weights.fresh(an_order.model, 0))


def test_masks_that_are_empty_and_found_so_leave_the_dice_unknown():
    north = site((8, 8))
    clear = replace(north, validation=replace(north.validation, y=np.zeros_like(north.validation.y)))
    an_order = order((8, 8), threshold=0.999999)
    told = Clinic(clear).validate(an_order, weights.fresh(an_order.model, 0))
    assert math.isnan(told["dice"])
    assert math.isfinite(told["loss"])
    assert device_of("cpu").type == "cpu"
