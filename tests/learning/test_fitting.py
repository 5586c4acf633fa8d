from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fedmed.errors import DataError
from fedmed.learning import training, weights
from fedmed.learning.fitting import Fitting
from fedmed.learning.losses import loss_of, mask_loss
from fedmed.learning.training import train
from tests.learning.parts import CNN, order


class Small(nn.Module):
    """A network on a device whose memory takes `room` cases at once."""

    def __init__(self, inner: nn.Module, room: int) -> None:
        super().__init__()
        self.inner, self.room = inner, room
        self.seen: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.inner(x)  # statistics and draws have changed by then
        if len(x) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.seen.append(len(x))
        return out


def cases(count: int, classes: int = 3) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(1)
    return torch.randn((count, 1, 16, 16), generator=random), torch.randint(0, classes, (count,), generator=random)


def bits(model: nn.Module) -> dict[str, bytes]:
    return {name: value.numpy().tobytes() for name, value in model.state_dict().items()}


def after(room: int, **more: Any) -> tuple[dict[str, np.ndarray], list[int], float]:
    torch.manual_seed(3)
    model = Small(weights.loaded(CNN, weights.fresh(CNN, 0)), room)
    settings = {"batch_size": 12, "epochs": 2, "momentum": 0.9, "proximal_mu": 0.3, "l2": 0.01, **more}
    loss = train(model, cases(30), order(spec=CNN, training=settings, class_weights=(1.0, 2.0, 0.5)), "north")
    return {name: value.clone().numpy() for name, value in model.state_dict().items()}, model.seen, loss


@pytest.fixture(autouse=True)
def no_dropout(monkeypatch) -> None:
    monkeypatch.setattr(nn.Dropout, "forward", lambda self, x: x)


@pytest.mark.parametrize("room", [11, 7, 5, 3, 2, 1])
def test_parts_make_the_step_of_the_whole_batch(room):
    (whole, _, loss), (parts, seen, again) = after(100), after(room)
    assert max(seen) <= room
    assert again == pytest.approx(loss, rel=1e-5)
    for name, value in whole.items():
        np.testing.assert_allclose(parts[name], value, rtol=2e-4, atol=2e-6)


def test_where_all_fits_the_bits_are_those_of_the_plain_step():
    def plain() -> dict[str, bytes]:
        an_order = order(spec=CNN, training={"batch_size": 30, "epochs": 3, "l2": 0.01})
        model = weights.loaded(CNN, weights.fresh(CNN, 0)).train()
        generator = torch.Generator().manual_seed(training.derive_seed(an_order.seed, "train", "north", an_order.round))
        optimiser, (x, y) = training.optimiser_of(model, an_order), cases(30)
        for _ in range(3):
            rows = torch.randperm(30, generator=generator)
            loss = loss_of(model(x[rows]).float(), y[rows], torch.tensor(an_order.class_weights))
            optimiser.zero_grad(set_to_none=False)
            (loss + training.penalty(model, [], an_order.training)).backward()
            optimiser.step()
        return bits(model)

    model = weights.loaded(CNN, weights.fresh(CNN, 0))
    train(model, cases(30), order(spec=CNN, training={"batch_size": 30, "epochs": 3, "l2": 0.01}), "north")
    assert bits(model) == plain()


def test_a_loss_that_does_not_add_up_over_cases_has_the_same_gradient():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.ReLU(), nn.Conv2d(4, 1, 1))
    x, y = cases(9)[0], (cases(9)[0][:, 0] > 0.5).to(torch.uint8)
    gradients = []
    for room in (100, 2):
        small = Small(model, room)
        fitting = Fitting(small, small, lambda logits, truth: mask_loss(logits, truth, torch.ones(2)), lambda: 0.0)
        loss = fitting.backward(x, y, lambda value: value * 1024)
        gradients.append([loss, *[parameter.grad.clone() for parameter in model.parameters()]])
    for whole, parts in zip(*gradients, strict=True):
        torch.testing.assert_close(whole, parts, rtol=1e-4, atol=1e-2)
    apart = sum(mask_loss(model(part), truth, torch.ones(2)) for part, truth in zip(x.split(3), y.split(3), strict=True)) / 3
    assert abs(float(apart.detach()) - float(gradients[0][0])) > 1e-4  # so that the mean over parts would not do


def test_what_fits_is_remembered_and_halved_no_further_than_needed():
    small = Small(weights.loaded(CNN, weights.fresh(CNN, 0)), 5)
    fitting = Fitting(small, small, lambda logits, y: loss_of(logits, y, torch.ones(3)), lambda: 0.0)
    for _ in range(2):
        fitting.backward(*cases(16), lambda value: value)
    assert fitting.at_once == 4
    assert small.seen == [4] * 16  # twice two passes of four parts
    fitting.backward(*cases(3), lambda value: value)
    assert small.seen[-1] == 3  # the last, short batch goes whole


def test_a_step_that_broke_off_leaves_draws_and_statistics_as_they_were(monkeypatch):
    monkeypatch.undo()  # dropout again
    inner = nn.Sequential(nn.BatchNorm2d(1), nn.Dropout(0.5), nn.Flatten(), nn.Linear(256, 3))
    x, y = cases(8)
    drawn, counted = [], []
    for room in (4, 100):
        torch.manual_seed(7)
        inner[0].reset_running_stats()
        small = Small(inner, room)
        fitting = Fitting(small, small, lambda logits, truth: loss_of(logits, truth, torch.ones(3)), lambda: 0.0)
        fitting.at_once = 4 if room == 100 else None
        fitting.backward(x, y, lambda value: value)
        drawn.append(torch.rand(3).tolist())
        counted.append((inner[0].running_mean.tolist(), int(inner[0].num_batches_tracked)))
    assert drawn[0] == drawn[1]
    assert counted[0] == counted[1]
    assert counted[0][1] == 2  # one a part, not two


def test_a_case_that_does_not_fit_by_itself_is_an_error_that_says_what_to_do():
    with pytest.raises(DataError, match=r"one case of shape \(1, 16, 16\) does not fit into the memory of cpu: use smaller"):
        after(0)


def test_other_errors_are_none_of_its_business():
    def broken(x: Tensor) -> Tensor:
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes do not fit"):
        Fitting(nn.Linear(1, 1), broken, loss_of_none, lambda: 0.0).backward(*cases(4), lambda value: value)


def loss_of_none(logits: Tensor, y: Tensor) -> Tensor:
    return logits.sum()
