"""Two tiers with all their machines: three clinics behind real gates, and devices behind each."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from fedmed.clinic.withdevices import Own, WithDevices
from fedmed.errors import UpdateRefused
from fedmed.federation.masked import moved
from fedmed.flower.guard import AppFailed, Job
from fedmed.flower.keys import CONFIG_KEY
from fedmed.outbound.description import Sizes
from fedmed.outbound.gate import Books, Gate, Rules
from fedmed.privacy.purposes import Purpose
from fedmed.privacy.secagg import masks, opening
from fedmed.privacy.secagg.layout import Layout, Sum, Tensor
from fedmed.privacy.secagg.questions import update_fields
from fedmed.privacy.secagg.round_messages import Header
from fedmed.privacy.secagg.scale import error_bound
from fedmed.privacy.secagg.schedule import vector_digest
from fedmed.store.departures import Departures
from fedmed.store.keystore import MemoryKeystore
from fedmed.tiers import fold
from fedmed.wire.digest import digest_of
from tests.identity.parties import Standing
from tests.outbound.clinics import outboxes
from tests.tiers.clinic import ORDER, Clinic, Data, clinic, data, model

MOST = 5000
TEXT = json.dumps({"config": {CONFIG_KEY: ORDER}})
MODEL = {name: value + np.array(0.25, value.dtype) if value.dtype.kind == "f" else value for name, value in model().items()}
TENSORS = tuple(Tensor(name, value.shape) for name, value in MODEL.items() if value.dtype.kind == "f")
LAYOUT = Layout(TENSORS, update_fields(MOST, {"lesions": 100.0}), 32, 3, 64.0, MOST)
SPLITS = ({f"d{n}": data(n, 40 + n) for n in range(4)}, {"d0": data(20, 90)}, {})
OWN = tuple(data(100 + place, 60 + place) for place in range(3))


@dataclass
class Two:
    """The federation; its clinics by the index of their members."""

    gates: dict[int, WithDevices]
    tiers: dict[int, Clinic]
    told: dict[int, list[str]]
    clinics: object

    def round(self, own=OWN, number: int = 1) -> Sum:
        """What the center learns of a round."""
        header = Header(number, Purpose.UPDATE, (1, 2, 3), digest_of(TEXT, MODEL), LAYOUT.digest(), LAYOUT.size, 32)
        job = Job("train", header.encode(), LAYOUT.canonical(), TEXT, MODEL)
        state, total = opening.begin(self.clinics.agreed, header), LAYOUT.zeros()
        for index, gate in self.gates.items():
            sent = gate.work(job, lambda index=index: own[index - 1].train(ORDER, MODEL))
            state = opening.take(state, index, sent.envelope, vector_digest(sent.vector))
            total += sent.vector
        state = opening.close(state)
        masks.apply(total, self.clinics.opened(state).streams)
        return LAYOUT.read(total, 3)


def two(folder: Path, splits=SPLITS, most_norm: float | None = None, before=lambda device, request: request) -> Two:
    clinics = outboxes(3, [MemoryKeystore() for _ in range(3)])
    there = Two({}, {}, {}, clinics)
    for index, split in enumerate(splits, 1):
        told = there.told.setdefault(index, [])
        books = Books(Departures(folder / f"{index}.jsonl"), "0" * 64, Standing(), told.append, Sizes(MOST, 10))
        gate = Gate(b"certificate", clinics.boxes[index], Rules(most_norm), lambda what: bytes(24), books)
        tier = there.tiers[index] = clinic(split, f"clinic-{index}", before=before)
        there.gates[index] = WithDevices(gate, tier.hub, Own("run", Sizes(100, 10), most_norm), told.append)
    return there


def flat(*groups: dict[str, Data], own=OWN) -> fold.Folded:
    return fold.fold([each.part for each in (*own, *(one for group in groups for one in group.values()))], MODEL)


def equal(total: Sum, expected: fold.Folded, tiers: float = 1e-6) -> None:
    weight = total.count("weight")
    assert weight == expected.values["num-examples"]
    new, whole = moved(MODEL, total.mean(weight)), fold.trained(MODEL, expected)
    rounding = error_bound(LAYOUT.scale, 3, weight)
    for name in MODEL:
        assert np.abs(new[name] - whole[name]).max() <= tiers + rounding
    assert total.number("loss.sum") / weight == pytest.approx(expected.values["loss"], abs=1e-5)


def test_the_center_learns_what_it_would_of_flat_clinics(tmp_path):
    equal(two(tmp_path).round(), flat(*SPLITS))


def test_a_device_that_is_lost_costs_its_own_part_alone(tmp_path):
    def before(device: str, request: bytes) -> bytes:
        if device == "d3":
            raise ConnectionError
        return request

    there = two(tmp_path, before=before)
    equal(there.round(), flat({name: each for name, each in SPLITS[0].items() if name != "d3"}, SPLITS[1]))


@pytest.mark.parametrize("error", [ConnectionError, TimeoutError])
def test_all_devices_lost_leave_the_round_of_the_clinics(tmp_path, error):
    def before(device: str, request: bytes) -> bytes:
        raise error

    there = two(tmp_path, before=before)
    equal(there.round(), flat())
    assert any("goes on without its devices" in each for each in there.tiers[1].told)


def test_a_part_that_would_break_the_staffs_limit_is_left_out(tmp_path):
    wild = {"d0": data(7, 900, reach=60.0)}
    there = two(tmp_path, ({}, wild, {}), most_norm=30.0)
    equal(there.round(), flat())
    assert any("the devices' part was left out: with it the L2 norm" in each for each in there.told[2])


def test_an_app_that_fails_is_refused_as_without_devices(tmp_path):
    there = two(tmp_path)

    def fails():
        raise AppFailed("it ended")

    header = Header(1, Purpose.UPDATE, (1, 2, 3), digest_of(TEXT, MODEL), LAYOUT.digest(), LAYOUT.size, 32)
    with pytest.raises(UpdateRefused, match="sends nothing"):
        there.gates[1].work(Job("train", header.encode(), LAYOUT.canonical(), TEXT, MODEL), fails)


def test_an_order_in_other_words_asks_no_device(tmp_path):
    there = two(tmp_path)
    text = '{"config":{"server-round":4}}'
    plain = Layout(TENSORS, update_fields(MOST), 32, 3, 64.0, MOST)
    header = Header(1, Purpose.UPDATE, (1, 2, 3), digest_of(text, MODEL), plain.digest(), plain.size, 32)
    job = Job("train", header.encode(), plain.canonical(), text, MODEL)
    assert there.gates[1].work(job, lambda: OWN[0].train(ORDER, MODEL)).vector.size == plain.size
    assert any("no device was asked" in each for each in there.told[1])
    assert there.tiers[1].heard == {}


def test_the_declared_size_holds_the_devices_cases(tmp_path):
    there = two(tmp_path)
    text = json.dumps({"name": "clinic-1", "examples": {"train": 100, "validation": 10}})
    assert json.loads(there.gates[1].describe(lambda: text))["examples"] == {"train": 500, "validation": 10}
    assert there.gates[3].describe(lambda: text) == text


def test_only_training_asks_devices(tmp_path):
    there = two(tmp_path)
    asked = []
    there.gates[1]._gate = type("Gate", (), {"work": lambda self, job, app: asked.append(app())})()
    there.gates[1].work(Job("evaluate", b"", b"", TEXT, MODEL), lambda: "own")
    assert asked == ["own"]
    assert there.tiers[1].heard == {}
