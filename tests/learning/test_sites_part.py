"""SCAFFOLD, Ditto and FedBN against the papers' pseudo-code, written out on plain gradients of a convex problem."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from fedmed.config.scenario import Training
from fedmed.learning import control, normed, weights
from fedmed.learning.keeping import LOCAL, PERSONAL, after, before, below
from fedmed.learning.order import ModelSpec, Order, Preparation
from fedmed.learning.sites_part import own_model, train_keeping
from fedmed.learning.training import train

SPEC = ModelSpec(name="logistic-regression", inputs=(3,), classes=4)
NAMES = ("1.weight", "1.bias")
RATE, STEPS, ROUNDS = 0.2, 5, 6


class Memory:
    def __init__(self) -> None:
        self.tensors: dict[str, np.ndarray] = {}

    def held(self):
        return self.tensors

    def keep(self, tensors) -> None:
        self.tensors = {name: np.array(value) for name, value in tensors.items()}


def sites() -> dict[str, tuple[Tensor, Tensor]]:
    """Three sites of unlike sizes, each of which sees two of four classes."""
    random, found = np.random.default_rng(5), {}
    for number, size in enumerate((9, 14, 30)):
        y = torch.from_numpy(random.choice([number, number + 1], size))
        x = torch.from_numpy(random.normal(size=(size, 3)).astype(np.float32)) + y[:, None] - number * 0.5
        found[f"site-{number}"] = (x.float(), y)
    return found


def order(number: int, steps: int = STEPS, local: tuple[str, ...] = (), **training) -> Order:
    """Whole batches, so that a step is the gradient of all a site's cases."""
    work = Training(learning_rate=RATE, batch_size=100, steps=steps, **training)
    return Order(
        round=number, seed=1, model=SPEC, preparation=Preparation(), training=work, learning_rate=RATE,
        class_weights=(1.0,) * 4, device="cpu", local=local,
    )  # fmt: skip


def gradient(model: list[Tensor], cases: tuple[Tensor, Tensor]) -> list[Tensor]:
    parts = [each.detach().clone().requires_grad_() for each in model]
    loss = functional.cross_entropy(cases[0] @ parts[0].T + parts[1], cases[1])
    return list(torch.autograd.grad(loss, parts))


def mean(each: dict[str, list[Tensor]], cases) -> list[Tensor]:
    total = sum(len(cases[name][1]) for name in each)
    return [sum(each[name][k] * len(cases[name][1]) for name in each) / total for k in range(2)]


def first() -> dict[str, np.ndarray]:
    return weights.fresh(SPEC, 3)


def tensors(model) -> list[Tensor]:
    return [torch.tensor(np.asarray(model[name])) for name in NAMES]


def apart(model, expected: list[Tensor]) -> float:
    return max(
        float((torch.tensor(np.asarray(model[name])) - each).abs().max()) for name, each in zip(NAMES, expected, strict=True)
    )


def answer(*given) -> dict[str, np.ndarray]:
    """A copy: what a site answers may be lent until its process has the next message."""
    return {name: value.copy() for name, value in train_keeping(*given)[0].items()}


def federate(rounds: int, make: Callable[..., Order], model, shelves=None, cohort=None):
    """Rounds of the real site code and the center's own rules; the strategy is a mean by cases."""
    cases, shelves = sites(), shelves if shelves is not None else {name: Memory() for name in sites()}
    for number in range(1, rounds + 1):
        chosen = cohort(number) if cohort else list(cases)
        answers = {name: answer(name, cases[name], make(number), model, shelves[name]) for name in chosen}
        total = sum(len(cases[name][1]) for name in chosen)
        averaged = {
            key: np.asarray(sum(answers[name][key] * np.float32(len(cases[name][1]) / total) for name in chosen), np.float32)
            for key in model
        }
        model = control.settle(model, averaged, len(chosen) / len(cases))
    return model, shelves


def scaffold_by_the_book(rounds: int, cohort=None) -> tuple[list[Tensor], list[Tensor]]:
    """Algorithm 1 of Karimireddy et al. 2020 with option II and a global step of 1; means are by cases."""
    cases, x = sites(), tensors(first())
    c, own = [torch.zeros_like(each) for each in x], {name: [torch.zeros_like(each) for each in x] for name in cases}
    for number in range(1, rounds + 1):
        chosen, models, changes = cohort(number) if cohort else list(cases), {}, {}
        for name in chosen:
            y = [each.clone() for each in x]
            for _ in range(STEPS):
                y = [
                    w - RATE * (g - ci + ca) for w, g, ci, ca in zip(y, gradient(y, cases[name]), own[name], c, strict=True)
                ]
            new = [ci - ca + (w0 - w) / (STEPS * RATE) for ci, ca, w0, w in zip(own[name], c, x, y, strict=True)]
            changes[name] = [after_ - before_ for after_, before_ in zip(new, own[name], strict=True)]
            models[name], own[name] = y, new
        x = mean(models, cases)
        c = [ca + len(chosen) / len(cases) * change for ca, change in zip(c, mean(changes, cases), strict=True)]
    return x, c


@pytest.mark.parametrize("cohort", [None, lambda number: ["site-0", "site-2"] if number % 2 else ["site-1", "site-2"]])
def test_scaffold_is_the_papers(cohort):
    start = control.init(first(), NAMES)
    model, _ = federate(ROUNDS, lambda number: order(number, scaffold=True), start, cohort=cohort)
    x, c = scaffold_by_the_book(ROUNDS, cohort)
    shared, center = control.split(model)
    assert apart(shared, x) < 1e-5
    assert apart(center, c) < 1e-5
    assert apart(first(), x) > 0.1


def test_scaffold_stands_still_at_the_common_optimum_where_fedavg_drifts():
    cases = sites()
    best = tensors(first())
    joined = (torch.cat([x for x, _ in cases.values()]), torch.cat([y for _, y in cases.values()]))
    ridge = 0.3  # or there is no optimum

    def loss_gradient(model):
        return [g + ridge * w for g, w in zip(gradient(model, joined), model, strict=True)]

    for _ in range(1_000):
        best = [w - 0.5 * g for w, g in zip(best, loss_gradient(best), strict=True)]
    decay = {"weight_decay": ridge}
    drifted, _ = federate(50, lambda number: order(number, steps=8, **decay), first())
    corrected, _ = federate(50, lambda number: order(number, steps=8, scaffold=True, **decay), control.init(first(), NAMES))
    assert apart(corrected, best) < 0.005
    assert apart(drifted, best) > 5 * apart(corrected, best)


def test_scaffolds_first_round_is_fedavgs():
    plain, _ = federate(1, order, first())
    corrected, _ = federate(1, lambda number: order(number, scaffold=True), control.init(first(), NAMES))
    assert all(np.allclose(corrected[name], plain[name], atol=1e-7) for name in NAMES)


def test_the_mean_of_what_sites_keep_is_what_the_center_has():
    model, shelves = federate(4, lambda number: order(number, scaffold=True), control.init(first(), NAMES))
    cases, (_, center) = sites(), control.split(model)
    total = sum(len(y) for _, y in cases.values())
    for name in NAMES:
        kept = [below("control/", before(shelves[site].held(), 5))[name] * len(cases[site][1]) for site in cases]
        assert np.allclose(sum(kept) / total, center[name], atol=1e-5)


def test_ditto_is_the_papers():
    lam = 0.7
    model, shelves = federate(ROUNDS, lambda number: order(number, ditto=lam), first())
    cases, w = sites(), tensors(first())
    v = {name: [each.clone() for each in w] for name in cases}
    for _ in range(ROUNDS):
        models = {}
        for name in cases:
            y = [each.clone() for each in w]
            for _ in range(STEPS):
                y = [a - RATE * g for a, g in zip(y, gradient(y, cases[name]), strict=True)]
                v[name] = [
                    a - RATE * (g + lam * (a - b))
                    for a, g, b in zip(v[name], gradient(v[name], cases[name]), w, strict=True)
                ]
            models[name] = y
        w = mean(models, cases)
    assert apart(model, w) < 1e-5
    for name in cases:
        assert apart(below(PERSONAL, before(shelves[name].held(), ROUNDS + 1)), v[name]) < 1e-5


def test_ditto_leaves_the_shared_model_as_it_is_without():
    plain, _ = federate(3, order, first())
    beside, _ = federate(3, lambda number: order(number, ditto=0.3), first())
    assert all(np.array_equal(plain[name], beside[name]) for name in NAMES)


def test_ditto_of_hardly_any_pull_is_each_sites_own_training():
    _, shelves = federate(3, lambda number: order(number, ditto=1e-12), first())
    for name, cases in sites().items():
        model = first()
        for number in range(1, 4):
            network = weights.loaded(SPEC, model)
            train(network, cases, order(number), name)
            model = {key: value.copy() for key, value in weights.read(network).items()}
        assert apart(below(PERSONAL, before(shelves[name].held(), 4)), tensors(model)) < 1e-6


def test_local_tensors_are_each_sites_and_the_rest_is_shared():
    model, shelves = federate(ROUNDS, lambda number: order(number, local=("1.bias",)), first())
    cases, w = sites(), tensors(first())
    own = {name: w[1].clone() for name in cases}
    for _ in range(ROUNDS):
        models = {}
        for name in cases:
            y = [w[0].clone(), own[name]]
            for _ in range(STEPS):
                y = [a - RATE * g for a, g in zip(y, gradient(y, cases[name]), strict=True)]
            own[name], models[name] = y[1], y
        w = [mean(models, cases)[0], w[1]]
    assert apart(model, w) < 1e-5
    for name in cases:
        mine = own_model(model, ROUNDS, shelves[name])
        assert apart(mine, [w[0], own[name]]) < 1e-5
        assert set(below(LOCAL, before(shelves[name].held(), ROUNDS + 1))) == {"1.bias"}


def test_no_answer_holds_what_a_site_keeps():
    shelf, cases = Memory(), sites()["site-0"]
    told = answer("site-0", cases, order(1, local=("1.bias",), ditto=0.5), first(), shelf)
    assert np.array_equal(told["1.bias"], first()["1.bias"])
    kept = before(shelf.held(), 2)
    assert not np.array_equal(kept["local/1.bias"], first()["1.bias"])
    assert set(told) == set(NAMES)


@pytest.mark.parametrize("how", [{"scaffold": True}, {"ditto": 0.5}, {"local": ("1.bias",)}], ids=str)
def test_a_round_that_is_asked_twice_comes_to_the_same(how):
    start = control.init(first(), NAMES) if "scaffold" in how else first()
    model, shelves = federate(2, lambda number: order(number, **how), start)
    cases, shelf = sites()["site-1"], shelves["site-1"]
    once = answer("site-1", cases, order(3, **how), model, shelf)
    held = dict(shelf.held())
    again = answer("site-1", cases, order(3, **how), model, shelf)
    assert all(np.array_equal(once[name], again[name]) for name in once)
    assert shelf.held().keys() == held.keys()
    assert all(np.array_equal(held[name], shelf.held()[name]) for name in held)


def test_a_round_that_keeps_nothing_touches_no_shelf():
    class Forbidden:
        def held(self):
            raise AssertionError

        keep = held

    assert set(answer("site-0", sites()["site-0"], order(1), first(), Forbidden())) == set(NAMES)


def test_parts_and_wholes():
    given, trained = {"a": np.zeros(2), "b": np.zeros(2)}, {"a": np.ones(2), "b": np.ones(2)}
    assert normed.told(given, trained, {"a"})["a"].tolist() == [0, 0]
    assert normed.apply(given, normed.part(trained, {"a"}))["a"].tolist() == [1, 1]
    assert normed.apply(given, normed.part(trained, {"a"}))["b"].tolist() == [0, 0]
    assert after({}, 1, {}) == {}
