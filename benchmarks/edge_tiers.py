"""Tiered aggregation on real cases: three clinics with four devices each, as processes, against flat aggregation.

    python benchmarks/edge_tiers.py [--rounds 5] [--kills 20] [--json]

Skin lesions of three clinics (HAM10000); each clinic's training cases are dealt to itself and four devices, by patient. Both
arms do the same training in the same processes, in turn: tiered, with real masks among each clinic's devices and among the
clinics behind their gates; flat, all fifteen as sites of one mean, without masks. Then devices are killed (SIGKILL) at
random moments of rounds: the center's round is never lost, and what it learns is flat over those who are in it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import secrets
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from edge_devices import FLAT, LEAST_BOUND, Box, Pipes, Running
from form import Row, data_root, make_row, need, show

from fedmed.clinic.withdevices import Own, WithDevices
from fedmed.clock import SystemClock
from fedmed.config.catalogue import find
from fedmed.config.loading import load
from fedmed.errors import FedmedError
from fedmed.federation.masked import moved, trained
from fedmed.flower.guard import Job
from fedmed.flower.keys import CONFIG_KEY
from fedmed.identity.member import MemberKeys
from fedmed.learning.clinic import Clinic
from fedmed.learning.order import Inquiry, text_of
from fedmed.learning.plan import Described, Plan, first_preparation, make
from fedmed.outbound.description import Sizes, declared
from fedmed.outbound.gate import Books, Gate, Rules
from fedmed.outbound.outbox import Outbox
from fedmed.privacy.purposes import Purpose
from fedmed.privacy.secagg import convening, masks, opening
from fedmed.privacy.secagg.convening import Agreed, Convening
from fedmed.privacy.secagg.layout import Layout
from fedmed.privacy.secagg.member import Member
from fedmed.privacy.secagg.parameters import Parameters, Policy
from fedmed.privacy.secagg.questions import update_fields
from fedmed.privacy.secagg.round_messages import Header
from fedmed.privacy.secagg.schedule import vector_digest
from fedmed.sites.cases import Site, patient_rows
from fedmed.sites.prepare import sites_of
from fedmed.store.departures import Departures
from fedmed.store.keystore import MemoryKeystore
from fedmed.tiers import fold
from fedmed.tiers.asking import Devices, Gathered
from fedmed.tiers.fold import Part
from fedmed.tiers.messages import Plain, Task
from fedmed.tiers.playing import Work
from fedmed.tiers.round import Rules as DeviceRules
from fedmed.tiers.terms import Device, Way, scope
from fedmed.wire.digest import digest_of
from fedmed.wire.tensors import Tensors

CLINICS, DEVICES, FOLDER = ("vidir_modern", "rosendahl", "vidir_molemax"), 4, "ham10000_8x8"
CLOSE = 1e-6


HERE = "clinic"
"""What a clinic's own share of its cases is called among its devices."""


def for_ever() -> float:
    """No deadline."""
    return float("inf")


class Listening(Devices):
    """Devices that remember how the last round went."""

    last: Gathered | None = None

    def ask(self, work: Work, is_trained: Callable[[], bool] = lambda: False) -> Gathered:
        """One round."""
        self.last = super().ask(work, is_trained)
        return self.last


@dataclass
class Hospital:
    """A clinic with its devices."""

    name: str
    running: dict[str, Running]
    gate: WithDevices
    devices: Listening
    app: Pipes
    outbox: Outbox


@dataclass
class Federation:
    """All of it, and what the center knows."""

    hospitals: list[Hospital]
    agreed: Agreed
    plan: Plan
    model: Tensors
    most: int
    number: int = 0
    told: list[str] = field(default_factory=list)

    @property
    def everybody(self) -> dict[str, Running]:
        """Every trainer by clinic and name."""
        return {f"{each.name}/{name}": one for each in self.hospitals for name, one in each.running.items()}

    def tiered(self, order: str, kill: Any = None) -> tuple[Tensors, int]:
        """One round of two tiers: the new model, and the cases in it."""
        text = json.dumps({"config": {CONFIG_KEY: order}})
        self.number += 1
        tensors = trained(self.model, ())
        layout = Layout(tensors, update_fields(self.most), 32, len(self.hospitals), LEAST_BOUND, self.most)
        cohort = tuple(range(1, len(self.hospitals) + 1))
        given = digest_of(text, self.model)
        header = Header(self.number, Purpose.UPDATE, cohort, given, layout.digest(), layout.size, 32)
        job = Job("train", header.encode(), layout.canonical(), text, self.model)
        state, total = opening.begin(self.agreed, header), layout.zeros()
        with ThreadPoolExecutor(len(self.hospitals)) as pool:
            sent = [
                pool.submit(each.gate.work, job, lambda each=each: _own(each, order, self.model)) for each in self.hospitals
            ]
            if kill is not None:
                kill()
            for hospital, future in zip(self.hospitals, sent, strict=True):
                index, found = self.agreed.terms.index_of(_fingerprint(hospital)), future.result()
                state = opening.take(state, index, found.envelope, vector_digest(found.vector))
                np.add(total, found.vector, out=total)
        state = opening.close(state)
        for ask, take in ((opening.confirm_request, opening.confirm), (opening.reveal_request, opening.reveal)):
            request = ask(state)
            for hospital in self.hospitals:
                state = take(state, self.agreed.terms.index_of(_fingerprint(hospital)), hospital.gate.answer(request))
        masks.apply(total, opening.open_sum(state).streams)
        found = layout.read(total, len(self.hospitals))
        weight = found.count("weight")
        return moved(self.model, found.mean(weight)), weight

    def flat(self, order: str) -> dict[str, Part]:
        """What every trainer says, each a site of its own."""
        request = FLAT + Task(Way.PLAIN, b"", b"", order, self.model).encode()
        line = Pipes(self.everybody)
        answers = list(line.exchange(dict.fromkeys(line.devices(), request), for_ever))
        read = {each.device: Plain.decode(each.body) for each in answers if each.body is not None}
        return {name: fold.of_one(each.change, each.cases, each.metrics) for name, each in read.items()}

    def joined(self) -> set[str]:
        """Who is in the last round of two tiers."""
        found = {f"{each.name}/{HERE}" for each in self.hospitals}
        for each in self.hospitals:
            assert each.devices.last is not None
            found |= {f"{each.name}/{device}" for device in each.devices.last.joined if each.devices.last.parts}
        return found


def _own(hospital: Hospital, order: str, model: Tensors) -> tuple[Tensors, dict[str, Any]]:
    """The clinic's own app, which trains in a process of its own."""
    request = FLAT + Task(Way.PLAIN, b"", b"", order, model).encode()
    (answer,) = hospital.app.exchange({HERE: request}, for_ever)
    assert answer.body is not None, answer.reason
    read = Plain.decode(answer.body)
    made = {name: value + read.change[name] if name in read.change else value for name, value in model.items()}
    return made, {"num-examples": read.cases, **read.metrics}


def _fingerprint(hospital: Hospital) -> bytes:
    return hospital.outbox._member.signer.fingerprint


def dealt(site: Site, rng: np.random.Generator) -> dict[str, Site]:
    """A clinic's training cases among itself and its devices, by patient."""
    groups = patient_rows(site.train)
    order = rng.permutation(len(groups))
    names = (HERE, *(f"device-{number}" for number in range(1, DEVICES + 1)))
    found = {}
    for place, name in enumerate(names):
        rows = np.concatenate([groups[each] for each in order[place :: len(names)]])
        own = site.train.take(np.sort(rows))
        found[name] = replace(site, name=f"{site.name}.{name}", train=own, validation=site.validation.take(rows[:0]))
    return found


def hospital(site: Site, split: dict[str, Site], place: Path, member: Member, told: list[str]) -> Hospital:
    """A clinic whose devices are up."""
    keys = {name: secrets.token_bytes(32) for name in split}
    made = {name: MemberKeys.generate(each) for name, each in keys.items()}
    pins = {each.fingerprint: each.signing_public for name, each in made.items() if name != HERE}
    bound = scope("skin", site.name.replace("_", "-"))
    running = {
        name: Running(Box(name, site.name, own, made[name], pins, bound, place), keys[name]) for name, own in split.items()
    }
    for each in running.values():
        each.begin()
    known = [
        Device(name, made[name].fingerprint, made[name].signing_public, len(own.train))
        for name, own in split.items()
        if name != HERE
    ]
    line = Pipes({name: each for name, each in running.items() if name != HERE})
    devices = Listening(line, lambda: known, bound, DeviceRules(60, opening_s=10), SystemClock(), told.append)
    sizes = Sizes.of(len(split[HERE].train), 0)
    books = Books(Departures(place / f"{site.name}.jsonl"), "0" * 64, SystemClock(), told.append, sizes)
    outbox = Outbox(member, MemoryKeystore(), threads=1)
    gate = Gate(b"certificate", outbox, Rules(), lambda what: secrets.token_bytes(24), books)
    with_devices = WithDevices(gate, devices, Own("skin", sizes), told.append)
    return Hospital(site.name, running, with_devices, devices, Pipes({HERE: running[HERE]}), outbox)


def federation(place: Path) -> Federation:
    """Three clinics with four devices each, all up, and an epoch among the clinics."""
    root = data_root()
    need(root / FOLDER, "HAM10000 as skin reads it")
    scenario = load(find("skin"), ["rounds=30"])
    sites = [each for each in sites_of(scenario.data, root, scenario.seed, scenario.source) if each.name in CLINICS]
    inquiry = text_of(Inquiry(**first_preparation(scenario).model_dump()))
    plan = make(scenario, [Described.parse(Clinic(each).describe(inquiry)) for each in sites])
    keys, rng, told = [MemberKeys.generate() for _ in sites], np.random.default_rng(7), list[str]()
    policy = Policy("skin", {each.fingerprint: each.signing_public for each in keys})
    hospitals = [
        hospital(site, dealt(site, rng), place, Member(own, policy, secrets.token_bytes), told)
        for site, own in zip(sites, keys, strict=True)
    ]
    for each in hospitals:
        for one in each.running.values():
            one.up()
    roster = tuple(sorted(each.fingerprint for each in keys))
    agreed = set_up(Parameters("skin", "run", 1, roster, 0, 0, 128), hospitals)
    return Federation(
        hospitals, agreed, plan, plan.first_weights(), declared(max(len(each.train) for each in sites)), told=told
    )


def set_up(terms: Parameters, hospitals: list[Hospital]) -> Agreed:
    """The clinics' epoch."""
    by_index = {terms.index_of(_fingerprint(each)): each for each in hospitals}
    public = {index: each.outbox._member.policy.pins[terms.roster[index - 1]] for index, each in by_index.items()}
    state: Convening | Agreed = convening.convene(terms, public)
    while isinstance(state, Convening):
        for index, request in convening.requests(state).items():
            state = convening.take(state, index, by_index[index].gate.answer(request))
        state = convening.proceed(state)
    return state


def apart(there: Federation, new: Tensors, parts: dict[str, Part]) -> float:
    """Largest difference of a weight from that of one flat mean."""
    whole = fold.trained(there.model, fold.fold(parts.values(), there.model))
    return max(float(np.abs(new[name] - value).max()) for name, value in whole.items() if value.dtype.kind == "f")


def equality(there: Federation, rounds: int) -> list[Row]:
    """Both arms in turn, from the same model in each round."""
    tiered_s, flat_s, difference, joined = list[float](), list[float](), 0.0, 0
    there.flat(text_of(there.plan.order(1)))  # a process's first training loads what it needs
    for number in range(1, rounds + 1):
        order = text_of(there.plan.order(number))
        began = time.perf_counter()
        new, weight = there.tiered(order)
        tiered_s.append(time.perf_counter() - began)
        began = time.perf_counter()
        parts = there.flat(order)
        flat_s.append(time.perf_counter() - began)
        assert weight == sum(part.weight for part in parts.values()), "not the same cases"
        difference, joined = max(difference, apart(there, new, parts)), joined + len(there.joined())
        there.model = new
    cases = sum(part.weight for part in parts.values())
    return [
        make_row(
            f"tiered and flat: largest difference of a weight, {rounds} rounds",
            difference,
            "",
            f"<= {CLOSE:g}",
            difference <= CLOSE,
        ),
        make_row("trainers in a round (3 clinics, 12 devices)", joined / rounds, "", "15", joined == 15 * rounds),
        make_row("training cases", cases, ""),
        make_row("parameters", sum(value.size for value in there.model.values()), ""),
        make_row("tiered round, min", min(tiered_s), "s"),
        make_row("tiered round, median", median(tiered_s), "s"),
        make_row("flat round without masks, min", min(flat_s), "s"),
        make_row("flat round without masks, median", median(flat_s), "s"),
    ]


def killing(there: Federation, kills: int, seed: int = 11) -> list[Row]:
    """Rounds in each of which a device is killed at a random moment."""
    rng, lost, wrong, missing = random.Random(seed), 0, 0.0, 0
    devices = [one for name, one in there.everybody.items() if not name.endswith(HERE)]
    typical = median(_seconds(there) for _ in range(2))
    for number in range(1, kills + 1):
        order = text_of(there.plan.order(1 + number % 30))
        victim, moment = rng.choice(devices), rng.uniform(0, typical)
        timer = threading.Timer(moment, victim.kill)
        try:
            new, _ = there.tiered(order, timer.start)
        except FedmedError as error:
            lost += 1
            print(f"round {number} is lost: {error}")
            continue
        finally:
            timer.join()
            victim.process.join()
            victim.start()
        joined = there.joined()
        missing += 15 - len(joined)
        parts = there.flat(order)
        wrong = max(wrong, apart(there, new, {name: part for name, part in parts.items() if name in joined}))
        there.model = new
    return [
        make_row(f"devices killed in a round, {kills} rounds: rounds lost at the center", lost, "", "0", lost == 0),
        make_row("devices missing in those rounds, by name", missing, ""),
        make_row("largest difference from flat over those who are in", wrong, "", f"<= {CLOSE:g}", wrong <= CLOSE),
    ]


def _seconds(there: Federation) -> float:
    began = time.perf_counter()
    there.tiered(text_of(there.plan.order(1)))
    return time.perf_counter() - began


def rows(rounds: int = 5, kills: int = 20) -> list[Row]:
    """All figures."""
    before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="fedmed-tiers-") as place:
        there = federation(Path(place))
        try:
            return [*equality(there, rounds), *killing(there, kills), make_row("load before", before, "")]
        finally:
            for each in there.everybody.values():
                each.kill()


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    show("edge_tiers", rows(chosen.rounds, chosen.kills), chosen.json)


if __name__ == "__main__":
    main()
