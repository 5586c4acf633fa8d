from __future__ import annotations

import contextlib
import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from fedmed.config.scenario import Training
from fedmed.learning import models, resident_steps, weights
from fedmed.learning.order import ModelSpec, Order, Preparation
from fedmed.learning.resident_steps import PoolingFirst, Steps, gradients_of, obstacles, recorded
from fedmed.learning.training import train

CNN = ModelSpec(name="small-cnn", inputs=(3, 8, 8), classes=5, options={"widths": [8, 8]})
MLP = ModelSpec(name="mlp", inputs=(1, 4, 4), classes=2, options={"hidden": 8})
POOLED_LAST = CNN.model_copy(update={"name": "pooled-last", "options": {}})
PLAIN = {"optimiser": "sgd"}
MORE = [
    {"momentum": 0.9},
    {"weight_decay": 0.1},
    {"optimiser": "adam"},
    {"optimiser": "adamw", "weight_decay": 0.1},
    {"l2": 0.1},
    {"proximal_mu": 0.1, "epochs": 2},
]


class PooledLast(nn.Module):
    """Convolutions with ReLU before the pooling, as modules and as functions, and one result used twice."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.one, self.two = nn.Conv2d(inputs[0], 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.relu, self.pool, self.head = nn.ReLU(), nn.MaxPool2d(3, stride=2, padding=1), nn.Linear(16, outputs)

    def forward(self, x):
        x = self.pool(self.relu(self.one(x)))
        rectified = functional.relu(self.two(x))
        pooled = functional.max_pool2d(rectified, 2)
        return self.head(torch.cat([rectified.mean((2, 3)), pooled.mean((2, 3))], 1))


class Drawing(nn.Linear):
    """A network that draws from Python's generator: no two steps run the same kernels."""

    def forward(self, x):
        x = super().forward(x.flatten(1))
        return x if random.random() < 0.5 else x * 2


class Looking(nn.Linear):
    """A network that looks at values to decide."""

    def forward(self, x):
        x = super().forward(x.flatten(1))
        return x * 2 if x.sum() > 0 else x


@pytest.fixture(autouse=True)
def _own_models(monkeypatch):
    monkeypatch.setitem(models.TABLE, "pooled-last", PooledLast)
    monkeypatch.setitem(models.TABLE, "drawing", lambda inputs, outputs: Drawing(16, outputs))
    monkeypatch.setitem(models.TABLE, "looking", lambda inputs, outputs: Looking(16, outputs))


def order(spec: ModelSpec, number: int = 1, **training) -> Order:
    given = {"batch_size": 6, "epochs": 1, "learning_rate": 0.1, **training}
    return Order(
        round=number, seed=3, model=spec, preparation=Preparation(), training=Training(**given), learning_rate=0.1 / number,
        class_weights=tuple(0.5 + i for i in range(spec.classes)), device="cpu",
    )  # fmt: skip


def cases(spec: ModelSpec, size: int = 15):
    draws = torch.Generator().manual_seed(size)
    return torch.randn(size, *spec.inputs, generator=draws), torch.randint(spec.classes, (size,), generator=draws)


def model_of(spec: ModelSpec) -> nn.Module:
    torch.manual_seed(0)
    return weights.built(spec).to(memory_format=torch.channels_last)


def given_of(spec: ModelSpec, model: nn.Module, size: int = 6):
    x, y = cases(spec, size)
    return torch.ones(spec.classes), x.contiguous(memory_format=torch.channels_last), y, *model.parameters()


def state(model: nn.Module) -> list[bytes]:
    return [value.detach().numpy().tobytes() for value in model.state_dict().values()]


@pytest.mark.parametrize(
    ("spec", "work", "pays_after"),
    [
        *((spec, PLAIN, pays_after) for spec in (CNN, MLP, POOLED_LAST) for pays_after in (0, 1, 10**6)),
        *((MLP, work, pays_after) for work in MORE for pays_after in (0, 10**6)),
        *((CNN, work, 0) for work in MORE),
    ],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_steps_are_those_of_a_clinic_to_the_last_bit(monkeypatch, spec, work, pays_after):
    monkeypatch.setattr(resident_steps, "PAYS_AFTER", pays_after)
    ours, theirs = model_of(spec), model_of(spec)
    start, steps = [value.clone() for value in ours.parameters()], Steps(ours, order(spec, **work))
    for number in (1, 2):  # two sites: nothing of the first is left in the second
        for model in (ours, theirs):
            with torch.no_grad():
                torch._foreach_copy_(list(model.parameters()), start)
        with torch.no_grad():
            loss = steps.train(cases(spec, 13 + number), order(spec, number, **work), f"site-{number}")
        assert loss == train(theirs, cases(spec, 13 + number), order(spec, number, **work), f"site-{number}")
        assert state(ours) == state(theirs)
    assert any(not torch.equal(value, first) for value, first in zip(ours.parameters(), start, strict=True))


def test_another_training_is_followed():
    ours, theirs = model_of(MLP), model_of(MLP)
    steps = Steps(ours, order(MLP))
    for work in ({"optimiser": "adam"}, {"l2": 0.5}):
        with torch.no_grad():
            steps.train(cases(MLP), order(MLP, **work), "site")
        train(theirs, cases(MLP), order(MLP, **work), "site")
        assert state(ours) == state(theirs)


@pytest.mark.parametrize("spec", [CNN, MLP], ids=lambda s: s.name)
def test_what_is_recorded_is_run_again(spec):
    model = model_of(spec)
    gradients, given = gradients_of(model, order(spec)), given_of(spec, model)
    found = recorded(gradients, given)
    assert found is not None
    other = (given[0], given[1] + 1, *given[2:])
    for each in (given, other):
        torch.manual_seed(1)
        expected = gradients(*each)
        torch.manual_seed(1)
        assert all(torch.equal(a, b) for a, b in zip(expected, found(*each), strict=True))


@pytest.mark.parametrize("name", ["drawing", "looking"])
def test_steps_that_differ_are_not_recorded_and_still_right(monkeypatch, name):
    monkeypatch.setattr(resident_steps, "PAYS_AFTER", 0)
    spec = ModelSpec(name=name, inputs=(1, 4, 4), classes=5)
    ours, theirs = model_of(spec), model_of(spec)
    assert recorded(gradients_of(ours, order(spec)), given_of(spec, ours)) is None
    if name == "looking":
        with torch.no_grad():
            Steps(ours, order(spec)).train(cases(spec), order(spec), "site")
        train(theirs, cases(spec), order(spec), "site")
        assert state(ours) == state(theirs)


def test_recording_draws_nothing_and_changes_nothing():
    model = model_of(CNN)
    before, drawn = state(model), torch.get_rng_state()
    assert recorded(gradients_of(model, order(CNN)), given_of(CNN, model)) is not None
    assert state(model) == before
    assert torch.equal(torch.get_rng_state(), drawn)


@given(st.integers(0, 2**16), st.integers(2, 3), st.integers(1, 3), st.integers(0, 1), st.booleans())
def test_relu_and_max_pooling_change_places_to_the_last_bit(seed, kernel, stride, padding, has_ties):
    draws = torch.Generator().manual_seed(seed)
    values = torch.randn(2, 3, 7, 6, generator=draws) - 0.5
    if has_ties:
        values = values.mul(2).round()  # many zeros, and many that are equal
    results = []
    for mode in (contextlib.nullcontext(), PoolingFirst()):
        x = values.clone().requires_grad_()
        with mode:
            made = functional.max_pool2d(functional.relu(x), kernel, stride, padding)
        slope = torch.randn(made.shape, generator=torch.Generator().manual_seed(seed))
        results.append((made, *torch.autograd.grad(made, x, slope)))
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))


def test_a_result_that_was_written_into_is_pooled_as_it_is():
    x = torch.tensor([[[[-4.0, -3.0], [-2.0, -1.0]]]])
    with PoolingFirst():
        rectified = functional.relu(x)
        rectified += 5
        assert functional.max_pool2d(rectified, 2).item() == 5
        rectified = functional.relu(x)
        x += 7
        assert functional.max_pool2d(rectified, 2).item() == 0


@pytest.mark.parametrize(
    ("model", "change", "why"),
    [
        (nn.Linear(2, 2), {}, []),
        (nn.Linear(2, 2), {"device": "cuda"}, ["device cuda"]),
        (nn.Linear(2, 2), {"frozen": ("weight",)}, ["frozen tensors"]),
        (nn.Linear(2, 2).requires_grad_(False), {}, ["frozen tensors"]),
        (nn.BatchNorm1d(2), {}, ["state that is not trained"]),
    ],
)
def test_obstacles_are_named(model, change, why):
    assert obstacles(model, order(MLP).model_copy(update=change)) == why
