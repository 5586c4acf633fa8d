"""Noise that ten clinics add in shares, beside one trusted party's and each clinic's own, at equal epsilon: AUC.

    python benchmarks/dp_noise.py [--data FOLDER] [--seeds 10] [--jobs 1] [--json]

Opacus' MNIST recipe (its examples/mnist: network, SGD, learning rate .25, clip 1.5, noise multiplier 1.3, 15 epochs) on
PneumoniaMNIST, dealt evenly to ten clinics. The recipe's sampling rate of .004 takes 240 of 60,000 records a step; at
rate .05 a step here takes 235 of 4,708, hence the noise on a step is the recipe's, and 15 epochs are 300 steps. Epsilon is
that of these 300 releases at rate .05, per record (the set has no patient ids), for all arms alike. Official test split;
nothing was tuned on it: all settings are the recipe's.

- central: the clipped gradients of all clinics in one place, one party adds all the noise;
- shares: the product's own steps (`learning.private_training.descent`, `privacy.dp.terms`, `privacy.secagg.layout`): each
  clinic clips, sums, rounds to lanes of 32 bits and adds its share of discrete Gaussian noise; the sum of lanes mod 2^32 is
  read. Masks are left out: they cancel exactly in that sum (tests/privacy/dp/test_terms.py shows that both are one);
- local: DP-SGD at each clinic (`train_privately`), an epoch a round, weights averaged alike.

For context, on the first three seeds: shares enough for one clinic lost and one that adds none, though all are there and
add theirs, and the recipe without noise.

Central and shares have the same first weights, clinics and Poisson samples under a seed, and each its own noise; differences
are taken pair by pair. Seconds are those of the processor. The seeds of noise are made of the run's: it protects nobody.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import math
import os
import sys
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

import numpy as np
import torch
from form import Row, data_root, make_row, need, show
from scipy import stats
from torch import nn

from fedmed.config.catalogue import find
from fedmed.config.loading import load
from fedmed.config.privacy import DifferentialPrivacy
from fedmed.config.scenario import Training
from fedmed.learning.inputs import prepare
from fedmed.learning.metrics import binary_auc
from fedmed.learning.order import ModelSpec, Order, Preparation
from fedmed.learning.prediction import predict
from fedmed.learning.private_training import clipped_sum, descent, train_privately, work_of
from fedmed.privacy.dp import searching
from fedmed.privacy.dp.local import noised
from fedmed.privacy.dp.sampling import poisson
from fedmed.privacy.dp.terms import Cohort, Terms, hide, terms
from fedmed.privacy.secagg.layout import Layout, Tensor
from fedmed.sites.cases import patient_rows
from fedmed.sites.prepare import sites_of

CLINICS, RATE, EPOCHS, CLIP, NOISE, LEARNING_RATE, DELTA = 10, 0.05, 15, 1.5, 1.3, 0.25, 1e-5
STEPS = EPOCHS * math.ceil(1 / RATE)
MOST_HALF_WIDTH = 0.01
SPEC = ModelSpec(name="opacus-mnist", inputs=(1, 28, 28), classes=2)
CPU = torch.device("cpu")
CONTEXT = 3
"""Seeds of the arms that are there for context."""
Arm = Callable[["Federation"], float]


def network() -> nn.Module:
    """SampleConvNet of Opacus' examples/mnist.py, with one logit for two classes: 25,713 weights."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 8, 2, padding=3),
        nn.ReLU(),
        nn.MaxPool2d(2, 1),
        nn.Conv2d(16, 32, 4, 2),
        nn.ReLU(),
        nn.MaxPool2d(2, 1),
        nn.Flatten(),
        nn.Linear(32 * 4 * 4, 32),
        nn.ReLU(),
        nn.Linear(32, 1),
    )


class Seeds:
    """24 bytes a call, of one use of one seed."""

    def __init__(self, *path: str | int) -> None:
        self._path, self._count = repr(path), itertools.count()

    def __call__(self) -> bytes:
        """The next."""
        return hashlib.sha256(f"{self._path} {next(self._count)}".encode()).digest()[:24]


class Federation:
    """Ten clinics under one seed."""

    def __init__(self, seed: int, root: Path) -> None:
        settings = ["data.partition.by=iid", f"data.partition.sites={CLINICS}", f"seed={seed}"]
        scenario = load(find("pneumonia"), settings)
        sites = sites_of(scenario.data, root, seed, scenario.source)
        inputs = [prepare(site, Preparation(features="standardised-image")) for site in sites]
        self.seed = seed
        self.data = [each.train for each in inputs]
        self.groups = [patient_rows(site.train) for site in sites]
        self.test = tuple(torch.cat([each.test[axis] for each in inputs]) for axis in (0, 1))
        sizes = [len(groups) for groups in self.groups]
        self.cohort = Cohort(CLINICS, CLINICS, sum(sizes) / CLINICS, max(sizes))

    def model(self) -> nn.Module:
        """The first weights."""
        torch.manual_seed(self.seed)
        return network()

    def order(self, found: Terms, steps: int) -> Order:
        """A round's."""
        return Order(
            round=1,
            seed=self.seed,
            model=SPEC,
            preparation=Preparation(),
            training=Training(learning_rate=LEARNING_RATE, steps=steps),
            learning_rate=LEARNING_RATE,
            class_weights=(1.0, 1.0),
            device="cpu",
            privacy=work_of(found),
        )

    def terms(self, mode: Any, honest: int, rounds: int, steps: int) -> Terms:
        """Of this recipe in a mode."""
        private = DifferentialPrivacy(mode=mode, epsilon=1000, delta=DELTA, clip=CLIP, noise=NOISE, rate=RATE)
        cohort = Cohort(CLINICS, honest, self.cohort.patients, self.cohort.most_patients)
        dimensions = sum(value.numel() for value in network().parameters())
        return terms(private, Training(steps=steps), rounds, dimensions, cohort)

    def auc(self, model: nn.Module) -> float:
        """On the official test split."""
        found = binary_auc(predict(model, self.test[0], CPU)[:, 1], self.test[1])
        assert found is not None
        return found


def central(federation: Federation, noise: float = NOISE) -> float:
    """One party sees all clipped sums and adds all the noise."""
    found = federation.terms("record-distributed", CLINICS, STEPS, 1)
    order, model = federation.order(found, 1), federation.model()
    data = tuple(torch.cat([each[axis] for each in federation.data]) for axis in (0, 1))
    starts = np.cumsum([0, *(len(each[1]) for each in federation.data)])
    samples, hidden = _samples(federation), Seeds(federation.seed, "central noise")
    for _ in range(STEPS):
        rows = [
            start + poisson(groups, RATE, seeds())
            for start, groups, seeds in zip(starts, federation.groups, samples, strict=False)
        ]
        [seeds() for seeds in samples]  # the clinics take one more each, for augmentation
        total = clipped_sum(model, (data[0], data[1]), np.concatenate(rows), order, hidden()).numpy()
        step = noised(total, CLIP, noise, hidden()) if noise else total
        _move(model, torch.from_numpy(step * (-LEARNING_RATE / (RATE * len(data[1])))))
    return federation.auc(model)


def shares(federation: Federation, honest: int) -> float:
    """Each clinic adds its share to its lanes; only their sum is read."""
    found = federation.terms("record-distributed", honest, STEPS, 1)
    order, model = federation.order(found, 1), federation.model()
    tensors = tuple(Tensor(name, tuple(value.shape)) for name, value in model.state_dict().items())
    form = Layout(tensors, (), 32, CLINICS, found.bound(32, LEARNING_RATE), 1)
    share = found.share(LEARNING_RATE, form.scale.factor)
    samples, hidden = _samples(federation), Seeds(federation.seed, "shares", honest)
    for _ in range(STEPS):
        total = np.zeros(form.size, np.uint32)
        for data, groups, seeds in zip(federation.data, federation.groups, samples, strict=True):
            part = found.clipped(descent(model, data, groups, order, seeds), LEARNING_RATE)
            lanes = form.write(part, 1, {}, hidden())
            hide(lanes, form.parameters, share, hidden())
            total += lanes
        means = form.read(total, CLINICS).mean(CLINICS)
        _move(model, torch.cat([torch.from_numpy(means[tensor.name]).flatten() for tensor in tensors]))
    return federation.auc(model)


def local(federation: Federation) -> float:
    """DP-SGD at every clinic, an epoch a round, then the plain mean of the weights."""
    each = STEPS // EPOCHS
    found = federation.terms("record-local", CLINICS, EPOCHS, each)
    order, model, seeds = federation.order(found, each), federation.model(), Seeds(federation.seed, "local")
    for _ in range(EPOCHS):
        ends = []
        for data, groups in zip(federation.data, federation.groups, strict=True):
            own = network()
            own.load_state_dict(model.state_dict())
            train_privately(own, data, groups, order, len(groups), seeds)
            ends.append(own.state_dict())
        model.load_state_dict({name: torch.stack([end[name] for end in ends]).mean(0) for name in ends[0]})
    return federation.auc(model)


def _samples(federation: Federation) -> list[Seeds]:
    """Of each clinic; the same in the arms that are compared pair by pair."""
    return [Seeds(federation.seed, "samples", clinic) for clinic in range(CLINICS)]


def _move(model: nn.Module, change: torch.Tensor) -> None:
    with torch.no_grad():
        flat = torch.cat([value.flatten() for value in model.parameters()]).double() + change
        nn.utils.vector_to_parameters(flat.float(), model.parameters())


def accounted() -> list[Row]:
    """Epsilon by our accountant (dp-accounting's PLD) and by Opacus' PRV."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # other people's, while Opacus is imported
        from opacus.accountants import PRVAccountant
    cohort = Cohort(CLINICS, CLINICS, 470.8, 471)
    costs = {}
    for mode, rounds, steps in (("record-distributed", STEPS, 1), ("record-local", EPOCHS, STEPS // EPOCHS)):
        private = DifferentialPrivacy(mode=mode, epsilon=1000, delta=DELTA, clip=CLIP, noise=NOISE, rate=RATE)
        costs[mode] = terms(private, Training(steps=steps), rounds, 25_713, cohort).cost()
    theirs = PRVAccountant()
    theirs.history = [(NOISE, RATE, STEPS)]
    prv = float(theirs.get_epsilon(DELTA))
    ours, own = costs["record-distributed"], costs["record-local"]
    where = f"at delta {DELTA:g}, per record, {STEPS} releases at rate {RATE}"
    return [
        make_row("epsilon of central and shares, PLD", ours, where),
        make_row("epsilon of local, PLD", own, where, "equal within .001", abs(own - ours) < 1e-3),
        make_row("epsilon, Opacus PRV", prv, where),
        make_row("epsilon, PRV - PLD", prv - ours, "", "within .02", abs(prv - ours) < 0.02),
    ]


def compared(found: dict[str, list[float]]) -> list[Row]:
    """Each arm, and the paired differences from central with their 95 % intervals (Student's t)."""
    rows = []
    for arm, aucs in found.items():
        spread = stdev(aucs) if len(aucs) > 1 else math.nan
        unit = f"AUC, sd {spread:.4f}: {' '.join(f'{auc:.4f}' for auc in aucs)}"
        rows.append(make_row(f"{arm}, mean of {len(aucs)}", mean(aucs), unit))
    for arm in found:
        if arm not in ("shares", "local"):
            continue
        differences = [one - other for one, other in zip(found[arm], found["central"], strict=True)]
        middle = mean(differences)
        half = float(stats.t.ppf(0.975, len(differences) - 1)) * stdev(differences) / math.sqrt(len(differences))
        span = f"95 % {middle - half:+.4f} to {middle + half:+.4f}"
        if arm == "local":
            rows.append(make_row("local - central", middle, span, "whole interval < 0", middle + half < 0))
            continue
        rows.append(make_row(f"{arm} - central", middle, span, "interval holds 0", abs(middle) <= half))
        rows.append(make_row(f"{arm} - central, half-width", half, "AUC", f"<= {MOST_HALF_WIDTH}", half <= MOST_HALF_WIDTH))
    return rows


ARMS: dict[str, Arm] = {"central": central, "shares": lambda federation: shares(federation, CLINICS), "local": local}
FURTHER: dict[str, Arm] = {
    "shares enough for 1 lost, 1 colluding": lambda federation: shares(federation, CLINICS - 2),
    "no noise": lambda federation: central(federation, 0.0),
}


def one_seed(seed: int, root: Path) -> dict[str, tuple[float, float]]:
    """AUC and seconds of each arm."""
    torch.set_num_threads(1)
    searching.WORTH_COMPILING = 0  # the same draws, sooner: thousands of short vectors are worth it
    federation, result = Federation(seed, root), {}
    for name, arm in (ARMS | FURTHER if seed < CONTEXT else ARMS).items():
        began = time.process_time()
        result[name] = arm(federation), time.process_time() - began
        print(f"seed {seed}, {name}: AUC {result[name][0]:.4f}, {result[name][1]:.0f} s", file=sys.stderr, flush=True)
    return result


def main() -> None:
    """Read the options, run, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of all data sets, as FEDMED_DATA")
    parser.add_argument("--seeds", type=int, default=10, help="at least 3")
    parser.add_argument("--jobs", type=int, default=1, help="processes, one seed each at a time")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    root = options.data or data_root()
    need(root / "pneumoniamnist", "PneumoniaMNIST (docs/researcher.md)")
    found: dict[str, list[float]] = {name: [] for name in ARMS | FURTHER}
    taken: dict[str, list[float]] = {name: [] for name in ARMS | FURTHER}
    began_load = os.getloadavg()[0]
    with ProcessPoolExecutor(options.jobs, get_context("spawn")) as pool:
        for result in pool.map(one_seed, range(options.seeds), [root] * options.seeds):
            for name, (auc, seconds) in result.items():
                found[name].append(auc)
                taken[name].append(seconds)
    rows = [*accounted(), *compared(found)]
    for name, seconds in taken.items():
        rows.append(make_row(f"{name}: {STEPS} steps, min", min(seconds), "CPU s"))
        rows.append(make_row(f"{name}: {STEPS} steps, median", median(seconds), "CPU s"))
    rows.append(make_row("load when it began", began_load, ""))
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "opacus", "dp-accounting", "numpy"))
    rows.append(make_row("weights", sum(value.numel() for value in network().parameters()), versions))
    show("dp_noise", rows, options.json)


if __name__ == "__main__":
    main()
