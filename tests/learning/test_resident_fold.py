from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fedmed.config.scenario import Training
from fedmed.learning import models, resident_fold, weights
from fedmed.learning.crowd import Member, Resident
from fedmed.learning.losses import loss_of
from fedmed.learning.order import ModelSpec, Order, Preparation
from fedmed.learning.resident_fold import Fold, mixing, objections, shares_of

CNN = ModelSpec(name="small-cnn", inputs=(1, 8, 8), classes=5, options={"widths": [8, 8], "dropout": 0.0})
MLP = ModelSpec(name="mlp", inputs=(1, 4, 4), classes=2, options={"hidden": 8, "dropout": 0.0})


class Centred(nn.Linear):
    """Logits less their mean over the batch."""

    def forward(self, x):
        x = super().forward(x.flatten(1))
        return x - x.mean(0)


class Noisy(nn.Linear):
    """Logits with noise."""

    def forward(self, x):
        x = super().forward(x.flatten(1))
        return x + torch.randn_like(x)


def order(spec: ModelSpec, balanced: bool = True, **change) -> Order:
    training = {"batch_size": 16, "epochs": 1, "learning_rate": 0.1} | change.pop("training", {})
    return Order(
        round=1, seed=3, model=spec, preparation=Preparation(), training=Training(**training), learning_rate=0.1,
        class_weights=tuple(0.5 + (0 if balanced else i) for i in range(spec.classes)), device="cpu",
    ).model_copy(update=change)  # fmt: skip


def members(spec: ModelSpec, sizes) -> list[Member]:
    draws = torch.Generator().manual_seed(0)
    return [
        Member(
            f"site-{i}", (torch.randn(n, *spec.inputs, generator=draws), torch.randint(spec.classes, (n,), generator=draws))
        )
        for i, n in enumerate(sizes)
    ]


def stepped(model: nn.Module, x, y, an_order: Order) -> list[torch.Tensor]:
    classes = torch.tensor(an_order.class_weights, dtype=x.dtype)
    if len(classes) == 2:  # `loss_of` reckons in float32
        each = nn.functional.binary_cross_entropy_with_logits(model(x)[:, 0], y.to(x.dtype), reduction="none")
        loss = (each * classes[y]).sum() / classes[y].sum()
    else:
        loss = loss_of(model(x), y, classes)
    slopes = torch.autograd.grad(loss, list(model.parameters()))
    return [value.detach() - an_order.learning_rate * slope for value, slope in zip(model.parameters(), slopes, strict=True)]


@pytest.mark.parametrize("spec", [CNN, MLP], ids=lambda spec: spec.name)
@pytest.mark.parametrize("balanced", [True, False])
@settings(deadline=None, max_examples=8)
@given(sizes=st.lists(st.integers(1, 16), min_size=1, max_size=6))
def test_one_batch_is_one_step_of_each_in_double_precision(spec, balanced, sizes):
    model, an_order = weights.built(spec).double(), order(spec, balanced)
    cases = [(x.double(), y) for x, y in (member.cases for member in members(spec, sizes))]
    start = [value.detach().clone() for value in model.parameters()]
    sums = [torch.zeros_like(value) for value in start]
    Fold(model).add(cases, an_order, start, sums)
    expected = [torch.zeros_like(value) for value in start]
    for x, y in cases:
        torch._foreach_add_(expected, stepped(model, x, y, an_order), alpha=len(y))
    worst = max(float((one - other).abs().max()) for one, other in zip(sums, expected, strict=True))
    assert worst < 1e-11
    moved = max(float((one - sum(sizes) * first).abs().max()) for one, first in zip(sums, start, strict=True))
    assert moved > 1e-4


@pytest.mark.parametrize("spec", [CNN, MLP], ids=lambda spec: spec.name)
@pytest.mark.parametrize("balanced", [True, False])
def test_a_resident_folds_who_takes_one_step_and_trains_the_others(monkeypatch, spec, balanced):
    monkeypatch.setattr(resident_fold, "AT_ONCE", 7)
    crowd, an_order = members(spec, [3, 16, 40, 1, 9]), order(spec, balanced)
    joined, add = list[int](), Fold.add

    def watched(self, cases, *rest):
        joined.extend(len(y) for _, y in cases)
        return add(self, cases, *rest)

    monkeypatch.setattr(Fold, "add", watched)
    found, told = [], []
    for fast in (True, False):
        resident = Resident(an_order, fast)
        start = torch.randn(resident.size, generator=torch.Generator().manual_seed(1)) * 0.1
        total = torch.zeros(resident.size)
        told.append(resident.add(crowd, an_order, start, total))
        found.append(total / 69 - start)
    assert len(joined) == 4
    assert told[0].losses == pytest.approx(told[1].losses)
    assert not told[0].failed | told[1].failed
    assert float((found[0] - found[1]).abs().max()) < 1e-6
    assert float(found[0].abs().max()) > 1e-3


@given(st.lists(st.integers(1, 5), min_size=1, max_size=5))
def test_shares_are_those_of_means_weighted_by_class(sizes):
    y = torch.randint(3, (sum(sizes),), generator=torch.Generator().manual_seed(sum(sizes)))
    shares = shares_of(y, sizes, torch.tensor([0.5, 1.0, 4.0]))
    assert [float(part.sum()) for part in torch.split(shares, sizes)] == pytest.approx(sizes)
    assert torch.allclose(shares_of(y, sizes, torch.full((3,), 7.0)), torch.ones(len(y)))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"training": {"momentum": 0.9}}, "momentum"),
        ({"training": {"weight_decay": 0.9}}, "weight decay"),
        ({"training": {"optimiser": "adam"}}, "the optimiser is adam"),
        ({"training": {"l2": 0.1}}, "an l2 penalty"),
        ({"training": {"proximal_mu": 0.1}}, "a proximal term"),
        ({"augment": "flips"}, "augmentation flips"),
        ({"frozen": ("head*",)}, "frozen tensors"),
    ],
)
def test_orders_that_are_more_than_a_gradient_are_not_folded(change, why):
    assert objections(order(CNN)) == []
    assert objections(order(CNN, **change)) == [why]


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (nn.Linear(16, 5), None),
        (nn.Sequential(nn.Flatten(), nn.BatchNorm1d(16), nn.Linear(16, 5)), "batch normalisation"),
        (nn.Sequential(nn.Flatten(), nn.BatchNorm1d(16, track_running_stats=False)), "batch normalisation"),
        (nn.Sequential(nn.Flatten(), nn.Dropout(0.1), nn.Linear(16, 5)), "dropout"),
        (Noisy(16, 5), "draws"),
        (Centred(16, 5), "other cases"),
    ],
    ids=str,
)
def test_models_whose_cases_are_not_alone_are_not_folded(model, why):
    found, drawn = mixing(model, (16,)), torch.get_rng_state()
    assert (why is None and not found) or (len(found) == 1 and why in found[0])
    assert torch.equal(drawn, torch.get_rng_state())


@pytest.mark.parametrize("name", ["small-cnn", "resnet18", "mlp"])
def test_the_networks_of_the_table_fold_where_they_have_no_dropout(name):
    options = {"resnet18": {"width": 8}}.get(name, {"dropout": 0.0})
    assert mixing(models.build(name, (1, 8, 8), 5, options), (1, 8, 8)) == []


def test_a_loss_that_is_not_finite_adds_nothing():
    model, crowd, an_order = weights.built(MLP), members(MLP, [3, 4]), order(MLP)
    crowd[1].cases[0][0] = torch.inf
    start = [value.detach().clone() for value in model.parameters()]
    sums = [torch.zeros_like(value) for value in start]
    assert Fold(model).add([member.cases for member in crowd], an_order, start, sums) is None
    assert not any(value.any() for value in sums)
