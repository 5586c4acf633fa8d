"""A release beside the active one: compared where it takes the same, and never in the way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fedmed.clock import SystemClock
from fedmed.config.edge import Inference
from fedmed.edge.ladder.rungs import Reference
from fedmed.edge.looking import Model
from fedmed.edge.preparing import recipe_of
from fedmed.edge.released import SLOW_S, SLOW_VOLUME_S, Opened, Released
from fedmed.errors import DataError
from fedmed.releases.slots import Evidence, Limits
from fedmed.serving.card import Card, Preparation
from fedmed.sites.readers.folder import FolderOptions, prepared_by
from tests.edge.series import card

SIDE = 16
IMAGES = Card(
    "chest", "1", "classification", (1, SIDE, SIDE), (1,), ("well", "ill"), prepared_by(FolderOptions(size=SIDE)),
    Preparation("image"), 18, weights_sha256="0" * 64,
)  # fmt: skip


def opened(slot: int, of: Card) -> Opened:
    def run(x: np.ndarray) -> np.ndarray:
        if x.shape[1:] != of.inputs:
            raise DataError("of another shape")
        return x.reshape(len(x), -1).mean(1, keepdims=True)

    return Opened(slot, Model(recipe_of(of), "fp32", run))


@pytest.fixture
def released(tmp_path: Path, monkeypatch) -> Released:
    made = Released(tmp_path, {}, Inference(), SystemClock(), lambda told: None, Limits(), Reference(Inference()))
    seen: list[tuple[int, Evidence]] = []
    monkeypatch.setattr(made, "_observe", lambda slot, evidence: seen.append((slot, evidence)))
    monkeypatch.setattr(made, "seen", seen, raising=False)
    return made


def test_a_shadow_that_takes_other_inputs_is_not_compared_and_costs_no_result(released: Released):
    x = np.ones((1, 1, SIDE, SIDE), np.float32)
    released._active = opened(0, IMAGES)
    for shadow in (card(), replace(IMAGES, preparation=Preparation("standardised-image"))):
        released._beside = opened(1, shadow)
        assert released.model is not None
        assert released.model.run(x).tolist() == [[1.0]]
    assert [slot for slot, _ in released.seen] == [0, 0]  # type: ignore[attr-defined]
    released._beside = opened(1, replace(IMAGES, version="2"))
    assert released.model is not None
    released.model.run(x)
    assert [slot for slot, _ in released.seen][2:] == [0, 1]  # type: ignore[attr-defined]


def test_a_series_may_take_longer_than_an_image_before_it_counts_as_slow():
    assert (opened(0, IMAGES).slow_s, opened(0, card()).slow_s) == (SLOW_S, SLOW_VOLUME_S)
