from __future__ import annotations

import json
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch

from fedmed.config.scenario import Patches
from fedmed.learning import kinds, weights
from fedmed.learning.order import ModelSpec
from fedmed.learning.training import train
from fedmed.wire.checkpoints import Checkpoint, kept_by
from tests.learning.parts import CNN, MLP, order

UNET = ModelSpec(name="unet", inputs=(1, 16, 16), classes=2, kind="segmentation", options={"channels": [4, 8]})


class Killed(BaseException):
    """In the place of a signal."""


@dataclass
class Desk:
    """Keeps every checkpoint that is offered, and ends the work after so many."""

    kept: Checkpoint | None = None
    ends_after: int = 10**9
    offered: list[int] = field(default_factory=list)

    def found(self) -> Checkpoint | None:
        return self.kept

    def is_due(self) -> bool:
        return True

    def keep(self, checkpoint: Checkpoint) -> None:
        self.kept = replace(checkpoint, tensors={name: np.array(value) for name, value in checkpoint.tensors.items()})
        for value in self.kept.tensors.values():
            value.flags.writeable = False  # as from a file
        self.offered.append(json.loads(checkpoint.text)["steps"])
        if len(self.offered) == self.ends_after:
            raise Killed


def cases(shape, classes, is_masked=False):
    random = torch.Generator().manual_seed(3)
    x = torch.randn(20, *shape, generator=random)
    return x, torch.randint(0, classes, (20, *shape[1:]) if is_masked else (20,), generator=random, dtype=torch.int64)


def trained(told, data, desk=None):
    model = weights.loaded(told.model, weights.fresh(told.model, 0))
    torch.manual_seed(99)  # whatever the process did before
    if desk is None:
        return train(model, data, told, "north"), weights.read(model)
    with kept_by(desk):
        return train(model, data, told, "north"), weights.read(model)


ORDERS = {
    "sgd": (order(spec=MLP, training={"epochs": 3}), (3,)),
    "momentum": (order(spec=MLP, training={"epochs": 3, "momentum": 0.9}), (3,)),
    "adam, proximal, in steps": (
        order(spec=MLP, training={"epochs": None, "steps": 9, "optimiser": "adam", "proximal_mu": 0.1}),
        (3,),
    ),
    "images, augmented": (order(spec=CNN, training={"epochs": 3, "optimiser": "adamw"}, augment="xray"), (1, 16, 16)),
    "frozen": (order(spec=CNN, training={"epochs": 3, "momentum": 0.9}, frozen=("*.bias",)), (1, 16, 16)),
}


@pytest.mark.parametrize("ends_after", [1, 4, 9])
@pytest.mark.parametrize("name", ORDERS)
def test_a_training_that_is_killed_goes_on_to_the_same_bits(name, ends_after):
    told, shape = ORDERS[name]
    data = cases(shape, told.model.classes)
    loss, expected = trained(told, data)
    desk = Desk(ends_after=ends_after)
    with pytest.raises(Killed):
        trained(told, data, desk)
    assert desk.offered == list(range(1, ends_after + 1))
    again = Desk(desk.kept)
    found, made = trained(told, data, again)
    assert again.offered == list(range(ends_after + 1, 10))  # no step is done twice
    assert found == loss
    assert {n: v.tobytes() for n, v in made.items()} == {n: v.tobytes() for n, v in expected.items()}


def test_patches_and_statistics_of_a_segmentation_go_on_as_well():
    told = order(
        spec=UNET, training={"epochs": 2, "momentum": 0.9}, patches=Patches(size=(8, 8)), augment="scan",
        class_weights=(1.0, 1.0),
    )  # fmt: skip
    x, y = cases((1, 16, 16), 2, is_masked=True)
    data = x, y.to(torch.uint8)
    loss, expected = trained(told, data)
    desk = Desk(ends_after=3)
    with pytest.raises(Killed):
        trained(told, data, desk)
    found, made = trained(told, data, Desk(desk.kept))
    assert found == loss
    assert {n: v.tobytes() for n, v in made.items()} == {n: v.tobytes() for n, v in expected.items()}


def test_dropout_goes_on_where_it_was(monkeypatch):
    told, shape = ORDERS["momentum"]
    loss_of = kinds.KINDS["classification"]
    dropped = replace(loss_of, loss=lambda logits, y, w: loss_of.loss(torch.nn.functional.dropout(logits), y, w))
    monkeypatch.setitem(kinds.KINDS, "classification", dropped)
    data = cases(shape, 2)
    loss, expected = trained(told, data)
    desk = Desk(ends_after=5)
    with pytest.raises(Killed):
        trained(told, data, desk)
    found, made = trained(told, data, Desk(desk.kept))
    assert found == loss
    assert {n: v.tobytes() for n, v in made.items()} == {n: v.tobytes() for n, v in expected.items()}


def test_keeping_changes_no_bit():
    told, shape = ORDERS["momentum"]
    data = cases(shape, 2)
    (loss, expected), (found, made) = trained(told, data), trained(told, data, Desk())
    assert found == loss
    assert {n: v.tobytes() for n, v in made.items()} == {n: v.tobytes() for n, v in expected.items()}


def test_a_checkpoint_of_another_model_is_left_alone():
    told, shape = ORDERS["momentum"]
    desk = Desk(Checkpoint('{"steps": 5}', {"model/w": np.zeros(3, np.float32)}))
    assert trained(told, cases(shape, 2), desk)[0] == trained(told, cases(shape, 2))[0]
    assert desk.offered == list(range(1, 10))
