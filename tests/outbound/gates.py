"""Clinics behind gates, and a center that plays rounds of updates with them: who is late, and who hears of the end."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from fedmed.clock import generator
from fedmed.flower.guard import Job
from fedmed.outbound.description import Sizes
from fedmed.outbound.gate import Books, Gate, Rules
from fedmed.outbound.outbox import Outbox, Sent
from fedmed.privacy.purposes import Purpose
from fedmed.privacy.secagg import masks, opening
from fedmed.privacy.secagg.convening import Agreed
from fedmed.privacy.secagg.layout import Layout, Sum, Tensor
from fedmed.privacy.secagg.opening import Opening
from fedmed.privacy.secagg.parameters import Mode
from fedmed.privacy.secagg.quantise import centred
from fedmed.privacy.secagg.questions import update_fields
from fedmed.privacy.secagg.round_messages import Header
from fedmed.privacy.secagg.rounding import Lanes
from fedmed.privacy.secagg.schedule import vector_digest
from fedmed.store.departures import Departures
from fedmed.store.keystore import Keystore, MemoryKeystore
from fedmed.wire.digest import digest_of
from fedmed.wire.tensors import Tensors
from tests.identity.parties import Standing
from tests.outbound.clinics import set_up
from tests.privacy.secagg.federation import clinics_for, terms_for

MOST, SHAPE = 20, (3, 5)
DITHER = bytes(24)


def layout_for(count: int, bits: Any = 32, bound: float = 1.0, shape: tuple[int, ...] = SHAPE) -> Layout:
    return Layout((Tensor("w", shape),), update_fields(MOST), bits, count, bound, MOST)


def text_for(number: int) -> str:
    return f'{{"config":{{"server-round":{number}}}}}'


def step_of(number: int, index: int, shape: tuple[int, ...] = SHAPE) -> Tensors:
    """What training changes at a clinic in a round."""
    return {"w": generator(number, str(index)).uniform(-0.4, 0.4, shape).astype(np.float32)}


@dataclass
class Gates:
    """All that a test of late updates turns on."""

    folder: Path
    count: int = 4
    bits: Any = 32
    mode: Mode = "malicious"
    rules: Callable[[int], Rules] = lambda index: Rules()
    keystore: Callable[[int], Keystore] = lambda index: MemoryKeystore()
    step: Callable[[int, int], Tensors] = step_of
    shape: tuple[int, ...] = SHAPE
    weights: dict[tuple[int, int], int] = field(default_factory=dict)
    """Weight by number and index where it is not 10."""

    def __post_init__(self) -> None:
        self.terms = terms_for(self.count, mode=self.mode)
        self.model: Tensors = {"w": np.zeros(self.shape, np.float32)}
        self.layout = layout_for(self.count, self.bits, shape=self.shape)
        self.members = {index: each.member for index, each in clinics_for(self.terms, modes=("malicious", "hbc")).items()}
        self.keystores = {index: self.keystore(index) for index in self.members}
        self.told: dict[int, list[str]] = {index: [] for index in self.members}
        self.boxes: dict[int, Outbox] = {}
        self.gates: dict[int, Gate] = {}
        for index in self.members:
            self.start(index)
        self.agreed: Agreed = set_up(self.terms, self.boxes)

    def ledger(self, index: int) -> Path:
        return self.folder / f"{index}.departures.jsonl"

    def start(self, index: int) -> None:
        """A clinic's process, or a new one after its end."""
        books = Books(Departures(self.ledger(index)), "0" * 64, Standing(), self.told[index].append, Sizes(MOST, MOST))
        self.boxes[index] = Outbox(self.members[index], self.keystores[index], threads=1)
        rules = replace(self.rules(index), least_bound=self.layout.bound)
        self.gates[index] = Gate(b"", self.boxes[index], rules, lambda what: DITHER, books)

    def renew(self, **terms: Any) -> None:
        """The next epoch."""
        self.terms = replace(self.terms, epoch=self.terms.epoch + 1, **terms)
        self.agreed = set_up(self.terms, self.boxes)

    def job(self, number: int, text: str | None = None, kind: str = "train") -> Job:
        text = text_for(number) if text is None else text
        purpose = Purpose.UPDATE if kind == "train" else Purpose.EVALUATION
        layout, cohort = self.layout, tuple(self.members)
        header = Header(number, purpose, cohort, digest_of(text, self.model), layout.digest(), layout.size, layout.bits)
        return Job(kind, header.encode(), layout.canonical(), text, self.model)

    def weight(self, number: int, index: int) -> int:
        return self.weights.get((number, index), 10)

    def plain(self, number: int, index: int) -> Lanes:
        """The vector of a clinic that carries nothing."""
        weight = self.weight(number, index)
        fields = {"weight": weight, "loss.sum": 0.5 * weight, "loss.weight": weight}
        return self.layout.write(self.step(number, index), weight, fields, DITHER)

    def work(self, job: Job, index: int) -> Sent:
        number = Header.decode(job.header).number
        if job.kind == "evaluate":
            measures = {"loss.sum": 0.0, "loss.weight": 10, "cases": 10, "dice.sum": 0.0, "dice.weight": 10}
            return self.gates[index].work(job, lambda: ({name: np.array(value) for name, value in measures.items()}, {}))
        made = {"w": self.model["w"] + self.step(number, index)["w"]}
        return self.gates[index].work(job, lambda: (made, {"num-examples": self.weight(number, index), "loss": 0.5}))

    def uploads(self, number: int, late: Collection[int] = (), **job: Any) -> tuple[Opening, Lanes, dict[int, Sent]]:
        """All clinics work; the center closes without those that are late."""
        asked = self.job(number, **job)
        sent = {index: self.work(asked, index) for index in self.members}
        state, total = opening.begin(self.agreed, Header.decode(asked.header)), self.layout.zeros()
        for index in set(sent) - set(late):
            state = opening.take(state, index, sent[index].envelope, vector_digest(sent[index].vector))
            total = total + sent[index].vector
        return opening.close(state), total, sent

    def confirmed(self, state: Opening) -> Opening:
        for index in self.members if self.mode == "malicious" else ():
            state = opening.confirm(state, index, self.gates[index].answer(opening.confirm_request(state)))
        return state

    def revealed(self, state: Opening, who: Iterable[int]) -> Opening:
        for index in who:
            state = opening.reveal(state, index, self.gates[index].answer(opening.reveal_request(state)))
        return state

    def round(self, number: int, late: Collection[int] = (), deaf: Collection[int] = (), **job: Any) -> Sum:
        """The sum without those that are late; the `deaf` are not asked to reveal anything."""
        state, total, _ = self.uploads(number, late, **job)
        state = self.revealed(self.confirmed(state), set(self.members) - set(deaf))
        masks.apply(total, opening.open_sum(state).streams)
        return self.layout.read(total, self.count - len(late))

    def tensors(self, *parts: tuple[int, int]) -> list[int]:
        """The exact sum of what clinics changed, as whole numbers: the parts are numbers and indices."""
        lanes = [centred(self.plain(*part))[: self.layout.parameters].astype(int) for part in parts]
        return [int(each) for each in np.sum(lanes, 0)]

    def everybody(self, number: int, without: Collection[int] = ()) -> list[tuple[int, int]]:
        return [(number, index) for index in self.members if index not in without]


def opened(total: Sum) -> list[int]:
    return centred(total.lanes)[: total.layout.parameters].astype(int).tolist()
