from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from fedmed.config.privacy import DifferentialPrivacy
from fedmed.config.scenario import Training
from fedmed.errors import FederationError, UpdateRefused
from fedmed.flower.guard import Job
from fedmed.flower.keys import CENSUS, CONFIG_KEY
from fedmed.outbound.description import Sizes
from fedmed.outbound.gate import WITHHELD, Books, Gate, Rules
from fedmed.outbound.private import Private
from fedmed.privacy.dp.history import Limit
from fedmed.privacy.purposes import Purpose
from fedmed.privacy.secagg.layout import Layout, Tensor, Whole
from fedmed.privacy.secagg.parameters import Parameters
from fedmed.privacy.secagg.round_messages import Header
from fedmed.store import departures
from fedmed.store.budgets import Budget
from fedmed.store.departures import Departures
from fedmed.store.keystore import MemoryKeystore
from fedmed.wire.digest import digest_of
from tests.outbound.clinics import outboxes
from tests.store.test_ledger import Fixed

RULES = DifferentialPrivacy(mode="record-local", epsilon=50.0, delta=1e-5, rate=0.1, noise=2.0, clip=1.5)
TRAINING = Training(steps=5, learning_rate=0.2)
LAYOUT = Layout((Tensor("w", (6,)),), (), 32, 10, 1.0, 1)
EPOCH = Parameters("federation", "run", 1, tuple(bytes([n]) * 32 for n in range(10)), 1, 1, 10)
WORK = {"mode": "record-local", "clip": 1.5, "rate": 0.1, "noise_multiplier": 2.0, "patients": 40.0, "most_patients": 50.0}


@pytest.fixture
def private(tmp_path) -> Private:
    budget = Budget(tmp_path / "budget.jsonl", Fixed(), Limit(50.0, 1e-5, "patient"))
    return Private(RULES, TRAINING, 10, "patient", "chest", budget, lambda what: what[:24])


def asked(work: dict[str, Any] | None = None, **change: Any) -> str:
    order = {
        "privacy": WORK | (work or {}),
        "learning_rate": 0.2,
        "training": json.loads(TRAINING.model_dump_json()),
        "preparation": {"features": "plain", "normalise": "none"},
    }
    return json.dumps({"config": {CONFIG_KEY: json.dumps(order | change)}})


def test_what_the_staff_has_allowed_is_agreed_to_and_every_step_is_charged(private):
    agreed = private.agree(asked(), LAYOUT, EPOCH, 10)
    [release] = agreed.terms.releases()
    assert (release.count, release.noise_multiplier, release.sampling_rate) == (5, 2.0, 0.1)
    assert agreed.terms.cohort.least_honest == EPOCH.least_survivors(10) - EPOCH.colluders == 4


@pytest.mark.parametrize(
    "change", [{"steps": 5000}, {"steps": None, "epochs": 3}, {"batch_size": 1}, {"momentum": 0.9}], ids=str
)
def test_more_steps_than_are_charged_for_are_refused(private, change):
    training = json.loads(TRAINING.model_dump_json()) | change
    with pytest.raises(UpdateRefused, match="every step is charged"):
        private.agree(asked(training=training), LAYOUT, EPOCH, 10)


@pytest.mark.parametrize("scale", ["site", "federated", None])
def test_a_scale_that_one_patient_moves_for_all_is_refused(private, scale):
    with pytest.raises(UpdateRefused, match="one patient moves for all others"):
        private.agree(asked(preparation={"normalise": scale}), LAYOUT, EPOCH, 10)


@pytest.mark.parametrize("work", [{"noise_multiplier": 0.1}, {"clip": 100.0}, {"rate": 1.0}, {"mode": "clinic"}], ids=str)
def test_less_noise_or_more_of_anything_is_refused(private, work):
    [name] = work
    with pytest.raises(UpdateRefused, match=f"allowed here: {name} "):
        private.agree(asked(work), LAYOUT, EPOCH, 10)


def test_work_without_privacy_and_numbers_beside_the_tensors_are_refused(private):
    with pytest.raises(UpdateRefused, match="without differential privacy"):
        private.agree(asked(privacy=None), LAYOUT, EPOCH, 10)
    more = Layout(LAYOUT.tensors, (Whole("loss", 1000),), 32, 10, 1.0, 1)
    heavier = Layout(LAYOUT.tensors, (), 32, 10, 1.0, 5)
    for layout in (more, heavier):
        with pytest.raises(UpdateRefused, match="opened without noise"):
            private.agree(asked(), layout, EPOCH, 10)


@pytest.mark.parametrize(
    ("mode", "least"),
    [("record-local", 64.0), ("clinic", 1.5), ("record-distributed", 0.2 * 1.5 / 4 * (5 + 6 * 5**0.5 + 6))],
)
def test_a_bound_that_no_data_can_pass_is_the_least_that_is_allowed(private, tmp_path, mode, least):
    is_clinic, steps = mode == "clinic", 5 if mode == "record-local" else 1
    rules = RULES.model_copy(update={"mode": mode, "rate": None if is_clinic else 0.1})
    training = TRAINING.model_copy(update={"steps": steps})
    work = {"mode": mode, "rate": 1.0 if is_clinic else 0.1}
    text = asked(work, training=json.loads(training.model_dump_json()))
    clinics, told = outboxes(3, [MemoryKeystore() for _ in range(3)]), list[str]()
    books = Books(Departures(tmp_path / "clinic.departures.jsonl"), "0" * 64, Fixed(), told.append, Sizes(50, 20))
    strict = replace(private, rules=rules, training=training)
    gate = Gate(b"", clinics.boxes[1], Rules(None, strict), lambda what: bytes(24), books)
    for number, bound in enumerate((0.99 * least, 1.01 * least), 1):
        layout = replace(LAYOUT, clients=3, bound=bound)
        header = Header(number, Purpose.UPDATE, (1, 2, 3), digest_of(text, {}), layout.digest(), layout.size, 32)
        job, calls = Job("train", header.encode(), layout.canonical(), text, {}), list[int]()
        with pytest.raises(FederationError) as caught:  # the app that is asked answers with nothing
            gate.work(job, lambda calls=calls, number=number: (calls.append(number) or {}, {}))
        is_asked = bound > least
        assert bool(calls) == is_asked
        assert ("which would tell of the data" in str(caught.value)) != is_asked


@pytest.mark.parametrize("kind", ["evaluate", CENSUS])
def test_no_other_sum_than_that_of_updates_is_made(private, tmp_path, kind):
    clinics, told = outboxes(3, [MemoryKeystore() for _ in range(3)]), list[str]()
    books = Books(Departures(tmp_path / "clinic.departures.jsonl"), "0" * 64, Fixed(), told.append, Sizes(50, 20))
    gate = Gate(b"", clinics.boxes[1], Rules(None, private), lambda what: bytes(24), books)
    layout = Layout((), (Whole("cases", 5),), 32, 3, 1.0, 1)
    with pytest.raises(UpdateRefused, match=WITHHELD):
        gate.work(Job(kind, b"", layout.canonical(), "{}", {}), lambda: pytest.fail("the app must not be asked"))
    assert "would be opened without noise" in told[0]
    assert departures.verify(tmp_path / "clinic.departures.jsonl") == []
