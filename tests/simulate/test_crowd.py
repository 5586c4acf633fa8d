from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from unittest import mock

import numpy as np
import psutil
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fedmed.config.scenario import Training
from fedmed.errors import ConfigError, FederationError
from fedmed.federation import updates
from fedmed.learning import crowd as crowds
from fedmed.learning import weights
from fedmed.learning.crowd import Member
from fedmed.learning.kinds import KINDS
from fedmed.learning.order import ModelSpec, Order, Preparation
from fedmed.learning.training import train
from fedmed.simulate.crowd import Crowd

LR = ModelSpec(name="logistic-regression", inputs=(1, 4, 4), classes=5)
BINARY = LR.model_copy(update={"classes": 2})
CNN = ModelSpec(name="small-cnn", inputs=(1, 8, 8), classes=5, options={"widths": [8, 8]})


def order(spec: ModelSpec, number: int = 1, balanced: bool = True, **training) -> Order:
    given = {"batch_size": 6, "epochs": 1, "learning_rate": 0.1, **training}
    return Order(
        round=number, seed=3, model=spec, preparation=Preparation(), training=Training(**given), learning_rate=0.1,
        class_weights=tuple(0.5 + (i if balanced else 0) for i in range(spec.classes)), device="cpu",
    )  # fmt: skip


def members(spec: ModelSpec, sizes=(3, 6, 17, 9, 1, 4)) -> list[Member]:
    random = np.random.default_rng(0)
    return [
        Member(
            f"site-{i}",
            (
                torch.from_numpy(random.normal(size=(size, *spec.inputs)).astype(np.float32)),
                torch.from_numpy(random.integers(0, spec.classes, size)),
            ),
        )
        for i, size in enumerate(sizes)
    ]


def one_by_one(crowd: list[Member], cohort, start, an_order: Order) -> dict[str, np.ndarray]:
    total = {name: np.zeros(value.shape) for name, value in start.items()}
    for number in cohort:
        model, cases = weights.loaded(an_order.model, start), crowd[number].cases
        train(model, cases, an_order, crowd[number].name)
        for name, value in weights.read(model).items():
            total[name] += value.astype(np.float64) * len(cases[1])
    count = sum(len(crowd[number].cases[1]) for number in cohort)
    return {name: (value / count).astype(np.float32) for name, value in total.items()}


def apart(ours, theirs) -> float:
    return max(float(np.abs(ours[name] - theirs[name]).max()) for name in theirs)


@pytest.mark.parametrize("spec", [LR, BINARY], ids=["classes", "binary"])
@pytest.mark.parametrize("balanced", [True, False])
@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("work", [{}, {"epochs": 2}, {"epochs": None, "steps": 1}, {"epochs": None, "steps": 4}], ids=str)
def test_any_rounds_of_a_linear_model_are_those_of_clinics(spec, balanced, fast, work):
    crowd, cohort = members(spec), [4, 0, 2, 1]
    ours = theirs = first = weights.fresh(spec, 0)
    with Crowd(crowd, order(spec, balanced=balanced, **work), 2, fast) as run:
        assert (not run.why_not_fast) is fast
        for number in range(1, 5):
            an_order = order(spec, number, balanced, **work)
            ours, theirs = run.train(cohort, ours, an_order).mean, one_by_one(crowd, cohort, theirs, an_order)
    assert apart(ours, theirs) < 1e-6
    assert apart(first, theirs) > 1e-2


@pytest.mark.parametrize(
    ("spec", "work", "why"),
    [
        (CNN, {}, "not one linear layer"),
        (LR, {"momentum": 0.9}, "momentum"),
        (LR, {"l2": 0.1}, "l2"),
        (LR, {"proximal_mu": 0.1}, "proximal"),
        (LR, {"weight_decay": 0.1}, "weight decay"),
        (LR, {"optimiser": "adam"}, "optimiser is adam"),
    ],
)
def test_what_has_no_closed_form_is_trained_as_a_clinic_does(spec, work, why):
    crowd, start, an_order = members(spec), weights.fresh(spec, 0), order(spec, **work)
    with Crowd(crowd, an_order, 2) as run:
        assert why in " ".join(run.why_not_fast)
        ours = run.train(range(6), start, an_order).mean
    assert apart(ours, one_by_one(crowd, range(6), start, an_order)) < 1e-5


def test_same_workers_same_bits():
    crowd, start, an_order = members(LR), weights.fresh(LR, 0), order(LR)
    runs = []
    for _ in range(2):
        with Crowd(crowd, an_order, 2) as run:
            runs.append({name: value.tobytes() for name, value in run.train([5, 1, 2], start, an_order).mean.items()})
    assert runs[0] == runs[1]


def test_a_worker_that_dies_is_an_error_that_names_its_sites():
    crowd, start, an_order = members(LR), weights.fresh(LR, 0), order(LR)
    with Crowd(crowd, an_order, 2) as run:
        os.kill(run._workers[0].process.pid, signal.SIGKILL)
        with pytest.raises(FederationError, match=r"exit code -9 .* sites \(site-2"):
            run.train(range(6), start, an_order)


def test_what_is_no_round_of_the_crowd_is_refused():
    crowd, start, an_order = members(LR, (3, 0)), weights.fresh(LR, 0), order(LR)
    with Crowd(crowd, an_order, 1) as run:
        with pytest.raises(ConfigError, match="nobody"):
            run.train([], start, an_order)
        with pytest.raises(ConfigError, match="another model"):
            run.train([0], start, order(BINARY))
    with pytest.raises(ConfigError, match="from 1"):
        Crowd(crowd, an_order, 0)


def losses_one_by_one(crowd, cohort, start, an_order) -> dict[str, float]:
    each = {}
    for number in cohort:
        each[crowd[number].name] = train(
            weights.loaded(an_order.model, start), crowd[number].cases, an_order, crowd[number].name
        )
    return each


@pytest.mark.parametrize("spec", [LR, BINARY, CNN], ids=["classes", "binary", "network"])
@pytest.mark.parametrize("work", [{}, {"epochs": 2}], ids=str)
def test_each_members_loss_is_told(spec, work):
    crowd, start, an_order = members(spec), weights.fresh(spec, 0), order(spec, **work)
    with Crowd(crowd, an_order, 2) as run:
        told = run.train(range(6), start, an_order).told
    assert told.losses == pytest.approx(losses_one_by_one(crowd, range(6), start, an_order), abs=1e-5)
    assert not told.failed
    assert not told.refused


def test_who_has_no_cases_or_comes_to_nothing_finite_is_named_and_the_others_go_on():
    crowd, start, an_order = members(LR, (3, 0, 5, 9)), weights.fresh(LR, 0), order(LR)
    crowd[2].cases[0][1, 0, 0, 0] = torch.inf
    with Crowd(crowd, an_order, 2) as run:
        found = run.train(range(4), start, an_order)
    assert list(found.told.failed) == ["site-1"]
    assert "has no training cases" in found.told.failed["site-1"]
    assert list(found.told.refused) == ["site-2"]
    assert "are not finite" in found.told.refused["site-2"]
    assert apart(found.mean, one_by_one(crowd, [0, 3], start, an_order)) < 1e-6


@pytest.mark.parametrize("spec", [LR, CNN], ids=["closed", "network"])
def test_an_update_that_is_too_long_is_refused(spec):
    crowd, start, an_order = members(spec), weights.fresh(spec, 0), order(spec)
    norms = {}
    for member in crowd:
        model = weights.loaded(spec, start)
        train(model, member.cases, an_order, member.name)
        norms[member.name] = updates.distance(weights.read(model), start)
    most = sorted(norms.values())[2] * 1.001
    with Crowd(crowd, an_order, 2, most_norm=most) as run:
        found = run.train(range(6), start, an_order).told
    assert set(found.refused) == {name for name, norm in norms.items() if norm > most}
    assert set(found.losses) == norms.keys() - found.refused.keys()


def test_validation_is_that_of_each_clinic():
    crowd = [dataclasses.replace(each, validation=each.cases) for each in members(LR, (30, 40))] + members(LR, (3,))
    start, an_order = weights.fresh(LR, 0), order(LR)
    with Crowd(crowd, an_order, 2) as run:
        run.train(range(3), start, an_order)  # leaves another model in the processes
        found = run.validate(range(3), start, an_order)
    assert set(found) == {"site-0", "site-1"}
    for member in crowd[:2]:
        expected = KINDS["classification"].validate(weights.loaded(LR, start), member.cases, an_order, torch.device("cpu"))
        assert found[member.name] == pytest.approx({"num-examples": len(member.cases[1]), **expected})


OWNER = """
import sys, time
from tests.simulate.test_crowd import LR, Crowd, members, order
run = Crowd(members(LR), order(LR), 2)
print(*(worker.process.pid for worker in run._workers), flush=True)
time.sleep(600)
"""


def test_workers_end_with_an_owner_that_is_killed():
    with subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        pids = [int(word) for word in owner.stdout.readline().split()]
        assert len(pids) == 2
        assert all(is_running(pid) for pid in pids)
        owner.kill()
    until = time.monotonic() + 30
    while any(is_running(pid) for pid in pids) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(is_running(pid) for pid in pids)


def is_running(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


@given(st.lists(st.integers(1, 30), max_size=20))
def test_members_are_joined_in_their_order_and_no_more_at_once_than_may_be(sizes):
    joined = members(LR, sizes)
    with mock.patch.object(crowds, "FOLDED", 40):
        parts = list(crowds._parts(joined))
    assert [member.name for part in parts for member in part] == [member.name for member in joined]
    assert all(sum(len(member.cases[1]) for member in part) <= 40 for part in parts)


def test_what_is_joined_in_parts_comes_to_the_same(monkeypatch):
    crowd, cohort = members(LR, [5, 6, 3, 6, 2, 4]), list(range(6))
    first = weights.fresh(LR, 0)
    monkeypatch.setattr(crowds, "FOLDED", 7)
    with Crowd(crowd, order(LR), 1) as parted:
        assert apart(parted.train(cohort, first, order(LR)).mean, one_by_one(crowd, cohort, first, order(LR))) < 1e-6
