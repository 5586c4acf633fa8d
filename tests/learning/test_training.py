from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss
from torch import Tensor, nn

from fedmed.errors import ConfigError
from fedmed.learning import weights
from fedmed.learning.losses import loss_of
from fedmed.learning.prediction import device_of, predict
from fedmed.learning.training import train
from tests.learning.parts import CNN, MLP, SPEC, order, site

CPU = torch.device("cpu")


def data(count: int = 40, classes: int = 2, shape: tuple[int, ...] = (3,)) -> tuple[Tensor, Tensor]:
    random = np.random.default_rng(0)
    y = random.integers(0, classes, count)
    x = random.normal(size=(count, *shape)) + y.reshape(-1, *(1 for _ in shape))
    return torch.from_numpy(x.astype(np.float32)), torch.from_numpy(y)


def trained(an_order, batch=None, name: str = "north", seed: int = 0) -> dict[str, np.ndarray]:
    spec = an_order.model
    start = weights.fresh(spec, seed)
    shape, classes = spec.inputs, spec.classes
    model = weights.loaded(spec, start)
    train(model, batch or data(classes=classes, shape=shape), an_order, name)
    return {key: value.copy() for key, value in weights.read(model).items()}


def bits(tensors: dict[str, np.ndarray]) -> dict[str, bytes]:
    return {name: value.tobytes() for name, value in tensors.items()}


class Counts(nn.Module):
    """Notes the batches it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(1, 1)
        self.batches: list[list[int]] = []

    def forward(self, x: Tensor) -> Tensor:
        self.batches.append([int(value) for value in x[:, 0]])
        return self.linear(x)


def batches(count: int, **training) -> list[list[int]]:
    model = Counts()
    x = torch.arange(count, dtype=torch.float32).reshape(-1, 1)
    train(model, (x, torch.zeros(count, dtype=torch.int64)), order(training=training, learning_rate=1e-6), "north")
    return model.batches


@pytest.mark.parametrize(
    ("training", "sizes"),
    [
        ({"epochs": 1, "batch_size": 4}, [4, 4, 2]),
        ({"epochs": 2, "batch_size": 4}, [4, 4, 2, 4, 4, 2]),
        ({"epochs": 1, "batch_size": 64}, [10]),
        ({"epochs": 1, "batch_size": 10}, [10]),
        ({"epochs": None, "steps": 1, "batch_size": 4}, [4]),
        ({"epochs": None, "steps": 5, "batch_size": 4}, [4, 4, 2, 4, 4]),
        ({"epochs": None, "steps": 4, "batch_size": 64}, [10, 10, 10, 10]),
    ],
)
def test_epochs_and_steps_are_counted(training, sizes):
    assert [len(batch) for batch in batches(10, **training)] == sizes


def test_a_pass_shows_every_case_once_in_an_order_of_its_own():
    seen = batches(10, epochs=3, batch_size=4)
    passes = [[case for batch in seen[i : i + 3] for case in batch] for i in (0, 3, 6)]
    assert [sorted(each) for each in passes] == [list(range(10))] * 3
    assert len({tuple(each) for each in passes}) == 3
    assert seen == batches(10, epochs=3, batch_size=4)


@pytest.mark.parametrize("spec", [SPEC, MLP, CNN], ids=lambda spec: spec.name)
def test_the_same_seed_site_and_round_make_the_same_bits_whatever_ran_before(spec):
    an_order = order(number=3, spec=spec, training={"optimiser": "adam"}, augment="xray" if spec is CNN else "none")
    first = bits(trained(an_order))
    torch.manual_seed(123)
    torch.rand(1000)
    trained(order(number=9, spec=spec, training={"momentum": 0.9}), name="south", seed=5)
    model = weights.loaded(spec, weights.fresh(spec, 0))
    predict(model, data(shape=spec.inputs)[0], CPU)  # leaves dropout switched off
    assert bits(trained(an_order)) == first


@pytest.mark.parametrize("change", [{"number": 4}, {"seed": 43}, {"name": "south"}])
def test_another_seed_site_or_round_makes_others(change):
    name = change.pop("name", "north")
    same = {"number": 3, "seed": 42, "spec": MLP}
    assert bits(trained(order(**same))) != bits(trained(order(**(same | change)), name=name))


def sgd_by_hand(steps: int, rate: float, mu: float = 0.0, l2: float = 0.0, momentum: float = 0.0, decay: float = 0.0):
    """Full-batch logistic regression in float64."""
    x, y = (part.numpy().astype(np.float64) for part in data())
    start = weights.fresh(SPEC, 0)
    w0, b0 = start["1.weight"][0].astype(np.float64), float(start["1.bias"][0])
    w, b, vw, vb = w0.copy(), b0, np.zeros(3), 0.0
    for _ in range(steps):
        error = 1 / (1 + np.exp(-(x @ w + b))) - y
        gw = (error[:, None] * x).mean(0) + mu * (w - w0) + 2 * l2 * w + decay * w
        gb = error.mean() + mu * (b - b0) + decay * b
        vw, vb = momentum * vw + gw, momentum * vb + gb
        w, b = w - rate * vw, b - rate * vb
    return w, b


@pytest.mark.parametrize(
    ("training", "by_hand"),
    [
        ({}, {}),
        ({"proximal_mu": 0.5}, {"mu": 0.5}),
        ({"l2": 0.1}, {"l2": 0.1}),
        ({"weight_decay": 0.1}, {"decay": 0.1}),
        ({"momentum": 0.9}, {"momentum": 0.9}),
        ({"proximal_mu": 0.5, "l2": 0.1, "momentum": 0.5}, {"mu": 0.5, "l2": 0.1, "momentum": 0.5}),
    ],
    ids=str,
)
def test_sgd_and_its_penalties_are_those_of_the_textbook(training, by_hand):
    an_order = order(training={"epochs": 5, "batch_size": 40, **training}, learning_rate=0.2)
    got = trained(an_order)
    w, b = sgd_by_hand(5, 0.2, **by_hand)
    np.testing.assert_allclose(got["1.weight"][0], w, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(got["1.bias"][0], b, rtol=1e-5, atol=1e-6)


def moved(mu: float) -> float:
    start = weights.fresh(MLP, 0)
    got = trained(order(spec=MLP, training={"epochs": 3, "proximal_mu": mu}))
    return float(sum(np.square(got[name] - start[name]).sum() for name in start)) ** 0.5


def test_the_proximal_term_holds_a_site_near_the_global_model():
    distances = [moved(mu) for mu in (0.0, 0.3, 3.0)]
    assert distances[0] > 1.05 * distances[1] > 1.1 * distances[2] > 0


@pytest.mark.parametrize("optimiser", ["sgd", "adam", "adamw"])
def test_every_optimiser_learns(optimiser):
    spec, batch = MLP, data(200)
    model = weights.loaded(spec, weights.fresh(spec, 0))
    before = loss_of(model(batch[0]), batch[1], torch.ones(2)).item()
    rate = 0.1 if optimiser == "sgd" else 0.01
    training = {"epochs": 10, "batch_size": 20, "optimiser": optimiser}
    first = train(model, batch, order(spec=spec, training=training, learning_rate=rate), "north")
    model.eval()
    assert loss_of(model(batch[0]), batch[1], torch.ones(2)).item() < before - 0.05
    assert 0 < first < 1


def test_weight_decay_of_adamw_is_not_that_of_adam():
    made = [
        trained(order(training={"optimiser": name, "weight_decay": 0.5}, learning_rate=0.01)) for name in ("adam", "adamw")
    ]
    assert bits(made[0]) != bits(made[1])


def test_the_loss_told_is_the_mean_of_the_steps_without_penalties():
    batch = data(10)
    start = weights.fresh(SPEC, 0)
    model = weights.loaded(SPEC, start)
    expected = loss_of(model(batch[0]), batch[1], torch.ones(2)).item()
    training = {"batch_size": 10, "l2": 0.5, "proximal_mu": 1.0}
    assert train(model, batch, order(training=training, learning_rate=1e-9), "n") == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("classes", [2, 4])
def test_the_loss_is_the_weighted_cross_entropy(classes):
    random = np.random.default_rng(3)
    y = random.integers(0, classes, 50)
    each = random.uniform(0.2, 3, classes)
    logits = random.normal(size=(50, 1 if classes == 2 else classes))
    rows = np.hstack([np.zeros((50, 1)), logits]) if classes == 2 else logits
    probabilities = np.exp(rows) / np.exp(rows).sum(1, keepdims=True)
    expected = log_loss(y, probabilities, sample_weight=each[y])
    got = loss_of(torch.from_numpy(logits), torch.from_numpy(y), torch.from_numpy(each))
    assert float(got) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("spec", [MLP, CNN], ids=lambda spec: spec.name)
def test_a_class_that_weighs_nothing_teaches_nothing(spec):
    spec = spec.model_copy(update={"options": {**spec.options, "dropout": 0.0}})
    x, y = data(30, spec.classes, spec.inputs)
    weighing = (1.0,) * (spec.classes - 1) + (0.0,)
    others = y != spec.classes - 1
    an_order = order(spec=spec, class_weights=weighing, training={"batch_size": 64})
    assert others.any()
    assert not others.all()
    with_it, without = trained(an_order, (x, y)), trained(an_order, (x[others], y[others]))
    for name, value in with_it.items():
        np.testing.assert_allclose(value, without[name], rtol=1e-4, atol=1e-5)


def test_a_site_with_one_class_trains():
    x, y = data()
    got = trained(order(), (x, torch.ones_like(y)))
    assert all(np.isfinite(value).all() for value in got.values())


def test_probabilities_are_a_row_a_case_that_sums_to_one():
    for spec in (SPEC, CNN):
        model = weights.loaded(spec, weights.fresh(spec, 0))
        x = data(700, spec.classes, spec.inputs)[0]
        probabilities = predict(model, x, CPU)
        assert probabilities.shape == (700, spec.classes)
        torch.testing.assert_close(probabilities.sum(1), torch.ones(700))
        torch.testing.assert_close(predict(model, x, CPU, batch=9), probabilities, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("spec", [SPEC, CNN], ids=lambda spec: spec.name)
def test_no_cases_have_no_probabilities(spec):
    model = weights.loaded(spec, weights.fresh(spec, 0))
    assert predict(model, torch.zeros(0, *spec.inputs), CPU).shape == (0, spec.classes)


def test_the_device_is_the_one_wished_for():
    assert device_of("cpu") == CPU
    assert device_of("cuda") == torch.device("cuda")
    assert device_of("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_the_cases_of_a_site_are_not_touched():
    north = site(shape=(1, 16, 16), classes=3)
    x, y = torch.from_numpy(north.train.x), torch.from_numpy(north.train.y)
    before = x.clone(), y.clone()
    train(weights.loaded(CNN, weights.fresh(CNN, 0)), (x, y), order(spec=CNN, augment="xray"), "north")
    assert torch.equal(x, before[0])
    assert torch.equal(y, before[1])


class Normed(nn.Module):
    """Two layers of batch normalisation, the first within a part of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU())
        self.norm = nn.BatchNorm1d(4)
        self.head = nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.stem(x)))


PULLING = {"weight_decay": 0.1, "l2": 0.1, "proximal_mu": 0.5, "momentum": 0.9}


def changed(model: nn.Module, an_order) -> dict[str, bool]:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    train(model, data(), an_order, "north")
    return {name: not torch.equal(value, before[name]) for name, value in model.state_dict().items()}


@pytest.mark.parametrize("optimiser", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize(
    "patterns", [("stem.*",), ("norm.*", "head.bias"), ("*.bias",), ("*.running_mean", "*.running_var", "*_tracked")]
)
def test_frozen_tensors_stay_to_the_last_bit_and_the_others_do_not(patterns, optimiser):
    torch.manual_seed(0)
    model, pull = Normed(), {**PULLING, "optimiser": optimiser}
    assert all(changed(model, order(training=pull)).values())  # leaves gradients and momenta behind
    frozen = weights.frozen_in(model, patterns)
    assert 0 < len(frozen) < len(model.state_dict())
    got = changed(model, order(training=pull, frozen=patterns))
    assert {name for name, moved in got.items() if not moved} == set(frozen)
    assert all(changed(model, order(number=2, training=pull)).values())  # and are free again in the next order


def test_freezing_changes_nothing_for_the_first_step_of_the_others():
    training = {"batch_size": 40}
    free, held = (trained(order(spec=MLP, training=training, frozen=frozen)) for frozen in ((), ("1.*",)))
    start = weights.fresh(MLP, 0)
    assert bits({n: v for n, v in held.items() if n.startswith("1.")}) == bits(
        {n: v for n, v in start.items() if n.startswith("1.")}
    )
    rest = [name for name in start if not name.startswith("1.")]
    assert rest
    for name in rest:
        np.testing.assert_array_equal(held[name], free[name])


def test_a_tensor_with_two_names_is_frozen_by_either():
    model = Normed()
    model.tail = model.head
    assert not changed(model, order(frozen=("tail.*",)))["head.weight"]


def test_a_site_does_not_train_with_nothing_to_train():
    model = Normed()
    with pytest.raises(ConfigError, match="names every weight"):
        train(model, data(), order(frozen=("*.weight", "*.bias")), "north")
    assert all(parameter.requires_grad for parameter in model.parameters())
