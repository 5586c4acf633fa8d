from __future__ import annotations

import hashlib
import itertools
import math
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from fedmed.config.scenario import Patches
from fedmed.learning import private_training, weights
from fedmed.learning.kinds import KINDS
from fedmed.learning.metrics import binary_auc
from fedmed.learning.order import ModelSpec, Order, PrivateWork
from fedmed.learning.prediction import predict
from fedmed.learning.private_training import clipped_sum, descent, train_privately
from fedmed.privacy.dp.terms import Cohort, Terms
from tests.learning.parts import CNN, MLP, SPEC, order

SURE_MLP = MLP.model_copy(update={"options": {"hidden": 8, "dropout": 0.0}})
SURE_CNN = CNN.model_copy(update={"options": {"widths": [8, 16], "dropout": 0.0, "standardise": True}})
UNET = ModelSpec(
    name="unet", inputs=(1, 16, 16), classes=2, kind="segmentation", options={"channels": [4, 8], "strides": [2]}
)
SEED = bytes(range(24))


class Seeds:
    def __init__(self, name: object = 0) -> None:
        self._name, self._numbers = name, itertools.count()

    def __call__(self) -> bytes:
        return hashlib.sha256(f"{self._name} {next(self._numbers)}".encode()).digest()[:24]


def data(spec: ModelSpec = SPEC, count: int = 30, spread: float = 1.0):
    random = np.random.default_rng(0)
    shape = (count, *spec.inputs[1:]) if spec.kind == "segmentation" else (count,)
    y = random.integers(0, spec.classes, shape)
    case = y if spec.kind == "classification" else y.reshape(count, -1).mean(1)
    x = random.normal(size=(count, *spec.inputs)) * spread + np.reshape(case, (count, *[1] * len(spec.inputs)))
    return torch.from_numpy(x.astype(np.float32)), torch.from_numpy(y.astype(np.uint8 if len(shape) > 1 else np.int64))


def asked(spec: ModelSpec = SPEC, mode: str = "record-local", **more) -> Order:
    work = {"clip": 0.7, "noise_multiplier": 1.0, "rate": 1.0, "patients": 30.0} | more.pop("work", {})
    training = {"epochs": None, "steps": 1} | more.pop("training", {})
    return order(spec=spec, privacy=PrivateWork(mode=mode, **work), training=training, **more)


def model_of(spec: ModelSpec) -> nn.Module:
    return weights.loaded(spec, weights.fresh(spec, 0))


def singles(count: int = 30) -> list[np.ndarray]:
    return [np.array([row]) for row in range(count)]


def clipped_one_by_one(model: nn.Module, batch, spec: ModelSpec, rows, clip: float) -> np.ndarray:
    """By a loop and autograd, in float64."""
    total = np.zeros(sum(p.numel() for p in model.parameters()))
    model.train()
    for row in rows:
        model.zero_grad()
        loss = KINDS[spec.kind].loss(model(batch[0][[row]]), batch[1][[row]], torch.ones(spec.classes))
        loss.backward()
        flat = np.concatenate([p.grad.numpy().astype(np.float64).ravel() for p in model.parameters()])
        total += flat * min(1.0, clip / np.linalg.norm(flat))
    model.zero_grad()
    return total


@pytest.mark.parametrize("spec", [SPEC, SURE_MLP, SURE_CNN, UNET], ids=lambda spec: spec.name)
@pytest.mark.parametrize("clip", [0.05, 0.7, 100.0])
@pytest.mark.parametrize("at_once", [1, 7, 128])
def test_the_sum_of_clipped_gradients_is_that_of_a_loop(monkeypatch, spec, clip, at_once):
    monkeypatch.setattr(private_training, "_MOST_AT_ONCE", at_once)
    model, batch, rows = model_of(spec), data(spec), np.array([3, 1, 4, 29, 5, 9, 2, 6, 12, 17])
    got = clipped_sum(model, batch, rows, asked(spec, work={"clip": clip}), SEED).numpy()
    wanted = clipped_one_by_one(model, batch, spec, rows, clip)
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5 * clip)


def test_it_is_opacus_sum_too():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # other people's
        grad_sample = pytest.importorskip("opacus.grad_sample", reason="opacus is not installed: pip install 'fedmed[dp]'")
        from opacus.optimizers import DPOptimizer

        model, batch = model_of(SURE_CNN), data(SURE_CNN)
        ours = clipped_sum(model, batch, np.arange(30), asked(SURE_CNN), SEED).numpy()
        theirs = grad_sample.GradSampleModule(weights.built(SURE_CNN), loss_reduction="sum")
        theirs._module.load_state_dict(model.state_dict())
        plain = torch.optim.SGD(theirs.parameters(), 1.0)
        optimiser = DPOptimizer(plain, noise_multiplier=0.0, max_grad_norm=0.7, expected_batch_size=1, loss_reduction="sum")
        nn.functional.cross_entropy(theirs(batch[0]), batch[1], reduction="sum").backward()
        optimiser.clip_and_accumulate()
        found = np.concatenate([p.summed_grad.numpy().ravel() for p in theirs.parameters()])
    np.testing.assert_allclose(ours, found, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("spec", [SPEC, MLP, CNN, UNET], ids=lambda spec: spec.name)
@pytest.mark.parametrize("scale", [1.0, 1e4, 0.0])
def test_nobody_adds_more_than_a_clip(spec, scale):
    x, y = data(spec)
    model = model_of(spec)
    for row in range(5):
        total = clipped_sum(model, (x * scale, y), np.array([row]), asked(spec, work={"clip": 1e-3}), SEED)
        assert float(torch.linalg.vector_norm(total)) <= 1e-3
    assert clipped_sum(model, (x, y), np.zeros(0, np.int64), asked(spec), SEED).norm() == 0


def test_memory_is_bounded_by_the_gradients_at_once(monkeypatch):
    monkeypatch.setattr(private_training, "GRADIENT_BYTES", 1)
    seen = []
    whole = private_training._add_clipped
    monkeypatch.setattr(
        private_training, "_add_clipped", lambda total, found, clip: (seen.append(len(found)), whole(total, found, clip))
    )
    clipped_sum(model_of(SPEC), data(), np.arange(5), asked(), SEED)
    assert seen == [1] * 5


@pytest.mark.parametrize("spec", [MLP, CNN], ids=lambda spec: spec.name)
def test_dropout_and_augmentation_hang_on_the_secret_seed_alone(spec):
    an_order = asked(spec, augment="xray" if spec is CNN else "none", seed=1)
    model, batch, rows = model_of(spec), data(spec), np.arange(20)
    first = clipped_sum(model, batch, rows, an_order, SEED)
    before = torch.random.get_rng_state()
    torch.manual_seed(99)
    again = clipped_sum(model, batch, rows, an_order.model_copy(update={"seed": 2}), SEED)
    assert torch.equal(first, again)
    assert not torch.equal(first, clipped_sum(model, batch, rows, an_order, SEED[::-1]))
    torch.random.set_rng_state(before)
    clipped_sum(model, batch, rows, an_order, SEED)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_patches_are_drawn_of_each_image():
    patches = Patches(size=(8, 8), per_case=1)
    spec = UNET.model_copy(update={"inputs": (1, 8, 8)})
    x, y = data(UNET)
    total = clipped_sum(model_of(spec), (x, y), np.arange(6), asked(spec, patches=patches, work={"clip": 1e-2}), SEED)
    assert 0 < float(total.norm()) <= 6e-2


def moved(model: nn.Module, spec: ModelSpec) -> np.ndarray:
    start = weights.fresh(spec, 0)
    return np.concatenate([(value - start[name]).ravel() for name, value in weights.read(model).items()])


def test_a_step_without_a_patient_is_noise_of_the_width_that_is_accounted_for():
    spec = SPEC.model_copy(update={"inputs": (20_000,)})
    model = model_of(spec)
    an_order = asked(spec, work={"rate": 1e-9, "noise_multiplier": 1.3, "clip": 2.0}, learning_rate=0.5)
    train_privately(model, data(spec), singles(), an_order, 1e9, Seeds())
    steps = moved(model, spec) / 0.5
    assert steps.std() == pytest.approx(1.3 * 2.0, rel=0.03)
    assert abs(steps.mean()) < 5 * 2.6 / math.sqrt(20_001)


@pytest.mark.parametrize(
    ("training", "weight"),
    [({}, 0.0), ({"l2": 0.5}, 1.0), ({"weight_decay": 0.3}, 0.3), ({"proximal_mu": 0.4}, 0.0)],
)
def test_with_hardly_any_noise_a_step_is_that_of_clipped_gradients_and_penalties(training, weight):
    model = model_of(SPEC)
    start, clipped = weights.fresh(SPEC, 0), clipped_one_by_one(model_of(SPEC), data(), SPEC, range(30), 0.7)
    an_order = asked(training=training, work={"noise_multiplier": 1e-7}, learning_rate=0.2)
    train_privately(model, data(), singles(), an_order, 25.0, Seeds())
    first = np.concatenate([value.ravel() for value in start.values()])
    pulled = first * weight
    if "l2" in training:
        pulled[-1] = 0  # biases are left out
    np.testing.assert_allclose(moved(model, SPEC), -0.2 * (clipped / 25.0 + pulled), rtol=1e-4, atol=1e-6)


def test_every_step_has_a_sample_and_noise_of_its_own(monkeypatch):
    samples, noises = [], []
    draw, hide = private_training.poisson, private_training.noised
    monkeypatch.setattr(private_training, "poisson", lambda *given: samples.append(draw(*given)) or samples[-1])
    monkeypatch.setattr(private_training, "noised", lambda *given: noises.append(given[3]) or hide(*given))
    train_privately(
        model_of(SPEC), data(), singles(), asked(training={"steps": None, "epochs": 2}, work={"rate": 0.3}), 30, Seeds()
    )
    assert len(samples) == len(set(noises)) == 8
    assert len({tuple(rows) for rows in samples}) == 8
    assert len({len(rows) for rows in samples}) > 1


def test_it_learns():
    spec = SURE_MLP
    x, y = data(spec, 400, spread=0.7)
    model = model_of(spec)
    an_order = asked(spec, training={"steps": 60}, work={"rate": 0.25, "noise_multiplier": 1.0}, learning_rate=1.0)
    train_privately(model, (x, y), singles(400), an_order, 400, Seeds())
    assert binary_auc(predict(model, x, torch.device("cpu"))[:, 1], y) > 0.85


def test_a_descent_is_the_step_on_all_patients_when_averaged_over_sites():
    batch, parts = data(), []
    an_order = asked(mode="record-distributed", work={"patients": 10.0}, learning_rate=0.2)
    for rows in np.split(np.arange(30), 3):
        parts.append(descent(model_of(SPEC), batch, [np.array([row]) for row in rows], an_order, Seeds()))
    mean = np.concatenate([np.mean([part[name] for part in parts], 0).ravel() for name in parts[0]])
    wanted = -0.2 * clipped_one_by_one(model_of(SPEC), batch, SPEC, range(30), 0.7) / 30
    np.testing.assert_allclose(mean, wanted, rtol=1e-4, atol=1e-6)
    assert set(parts[0]) == set(weights.fresh(SPEC, 0))


@pytest.mark.parametrize("records", [1, 9])
def test_a_patient_of_any_number_of_records_moves_a_descent_by_no_more_than_its_sensitivity(records):
    batch = data(count=40)
    an_order = asked(mode="record-distributed", work={"rate": 1.0, "patients": 31.0, "clip": 0.1}, learning_rate=0.2)
    others = [np.array([row]) for row in range(30)]
    more = [*others, np.arange(30, 30 + records)]
    parts = [descent(model_of(SPEC), batch, groups, an_order, Seeds()) for groups in (others, more)]
    apart = math.sqrt(sum(float(np.square(parts[1][name] - parts[0][name]).sum()) for name in parts[0]))
    found = Terms("record-distributed", 0.1, 1.0, 1.0, 1, 1, 1e-5, 4, Cohort(10, 8, 31.0, 31.0))
    assert 0.5 * found.sensitivity(0.2) < apart <= found.sensitivity(0.2) * (1 + 1e-5)


def test_weights_that_are_not_trained_change_by_nothing():
    model = weights.built(SURE_MLP)
    frozen = next(iter(model.state_dict()))
    model.get_parameter(frozen).requires_grad_(False)
    part = descent(model, data(SURE_MLP), singles(), asked(SURE_MLP, mode="record-distributed"), Seeds())
    assert not part[frozen].any()
    assert sum(bool(change.any()) for change in part.values()) == len(part) - 1


def test_an_order_of_another_mode_is_no_order():
    with pytest.raises(ValueError, match="mode clinic is not trained as record-local"):
        train_privately(model_of(SPEC), data(), singles(), asked(mode="clinic"), 30, Seeds())
    with pytest.raises(ValueError, match="mode None is not trained as record-distributed"):
        descent(model_of(SPEC), data(), singles(), order(), Seeds())
    with pytest.raises(ValueError, match="says nothing of privacy"):
        clipped_sum(model_of(SPEC), data(), np.arange(3), order(), SEED)
