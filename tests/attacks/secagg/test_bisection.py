"""A lying center that asks again and again, each time with another bound, to find one site's number by what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import pytest

from fedmed.errors import FederationError
from fedmed.flower.guard import Job
from fedmed.flower.keys import CENSUS
from fedmed.outbound import gate as gates
from fedmed.outbound.description import Sizes
from fedmed.outbound.gate import PURPOSES, WITHHELD, Books, Gate, Rules
from fedmed.outbound.outbox import Sent
from fedmed.privacy.secagg import masks, opening
from fedmed.privacy.secagg.layout import Layout, Sum, Tensor
from fedmed.privacy.secagg.questions import census_fields, loss_fields, score_fields, update_fields
from fedmed.privacy.secagg.round_messages import Header
from fedmed.privacy.secagg.schedule import vector_digest
from fedmed.store.keystore import MemoryKeystore
from fedmed.wire.digest import digest_of
from tests.identity.parties import Standing
from tests.outbound.clinics import outboxes
from tests.outbound.test_gate import Nowhere

MOST, VALIDATION = 20, 10
STEPS = 4  # rounds of an epoch
MODEL = {"w": np.ones(3, np.float32)}


@dataclass(frozen=True)
class Data:
    """What a site has; all sites declare 20 training and 10 validation cases."""

    loss: float
    change: float
    cases: int
    of_a_bin: int
    of_a_class: int
    feature: float

    def answers(self, kind: str):
        if kind == "train":
            return {"w": MODEL["w"] + np.float32(self.change)}, {"num-examples": self.cases, "loss": self.loss}
        if kind == CENSUS:
            counts = np.array([self.of_a_class, self.cases - self.of_a_class])
            sums = {"moments.n": self.cases, "moments.sum": [self.feature], "moments.sumsq": [self.feature**2]}
            return {"classes": counts, **sums}, {}
        return {"loss.sum": 10 * self.loss, "loss.weight": 10, "scores": np.array([self.of_a_bin, 0, 1, 0])}, {}


VICTIM, OTHER = Data(0.7, 0.3, 13, 7, 5, 3.0), Data(0.2, 0.9, 18, 9, 8, 7.5)
PLAIN = Data(0.0, 0.0, 1, 0, 0, 0.0)


@dataclass
class Center:
    """Three sites, of which the first has the data; `heard` is all that the center ever learned of it."""

    data: Data
    heard: list[str] = field(default_factory=list)
    asked: int = 0
    """Times that the first site's app looked at its data."""

    def __post_init__(self) -> None:
        self.clinics = outboxes(3, [MemoryKeystore() for _ in range(3)])
        self.number = 0
        self.gates = {}
        for index, box in self.clinics.boxes.items():
            books = Books(Nowhere(), "0" * 64, Standing(), lambda _: None, Sizes(MOST, VALIDATION))
            self.gates[index] = Gate(b"", box, Rules(), lambda _: bytes(24), books)

    def _app(self, index: int, kind: str):
        self.asked += index == 1
        return (self.data if index == 1 else PLAIN).answers(kind)

    def round(self, kind: str, layout: Layout) -> Sum | None:
        """The opened sum; None where a site sends nothing."""
        self.number += 1
        header = Header(
            self.number, PURPOSES[kind], (1, 2, 3), digest_of("{}", MODEL), layout.digest(), layout.size, layout.bits
        )
        job, sent = Job(kind, header.encode(), layout.canonical(), "{}", MODEL), dict[int, Sent]()
        for index, gate in self.gates.items():
            try:
                sent[index] = gate.work(job, partial(self._app, index, kind))
            except FederationError as error:
                if index == 1:
                    self.heard.append(f"{type(error).__name__}: {error}")
                    return None
                raise
        return self._opened(header, layout, sent)

    def _opened(self, header: Header, layout: Layout, sent: dict[int, Sent]) -> Sum:
        state, total = opening.begin(self.clinics.agreed, header), layout.zeros()
        for index, each in sent.items():
            state = opening.take(state, index, each.envelope, vector_digest(each.vector))
            total = total + each.vector
        masks.apply(total, self.clinics.opened(opening.close(state)).streams)
        found = layout.read(total, 3)
        self.heard.append(f"a sum: {sorted((name, str(value)) for name, value in found.fields.items())}")
        return found


def replaced(layout: Layout, name: str, **changes: float) -> Layout:
    return replace(layout, fields=tuple(replace(each, **changes) if each.name == name else each for each in layout.fields))


UPDATE = Layout((Tensor("w", (3,)),), update_fields(MOST), 32, 3, 64.0, MOST)
SCORES = Layout((), (*loss_fields(VALIDATION), *score_fields(4, None, VALIDATION)), 32, 3, 64.0, VALIDATION)
MOMENTS = Layout((), census_fields(2, 1, MOST), 32, 3, 64.0, MOST)


@dataclass(frozen=True)
class Lie:
    """How a layout tries a threshold, and what it is after."""

    kind: str
    layout: Callable[[float], Layout]
    secret: Callable[[Data], float]
    most: float
    """The secret lies within 0 to it."""
    lacks: Callable[[Sum], bool] = lambda _: False
    """Whether an opened sum lacks the first site's number."""


LIES = {
    "loss": Lie(
        "train",
        lambda t: replaced(UPDATE, "loss.sum", bound=t * MOST),
        lambda data: data.loss,
        1.0,
        lambda total: total.count("loss.weight") < total.count("weight"),
    ),
    "largest change": Lie("train", lambda t: replace(UPDATE, bound=t), lambda data: data.change, 1.0),
    "cases": Lie(
        "train",
        lambda t: replace(UPDATE, most_weight=int(t), fields=update_fields(int(t))),
        lambda data: data.cases,
        20.0,
    ),
    "loss of a validation": Lie(
        "evaluate", lambda t: replaced(SCORES, "loss.sum", bound=10 * t), lambda data: data.loss, 1.0
    ),
    "cases of a bin": Lie("evaluate", lambda t: replaced(SCORES, "scores", most=int(t)), lambda data: data.of_a_bin, 10.0),
    "cases of a class": Lie(
        CENSUS,
        lambda t: replaced(MOMENTS, "classes", most=int(t)),
        lambda data: max(data.of_a_class, data.cases - data.of_a_class),
        20.0,
    ),
    "sum of a feature": Lie(CENSUS, lambda t: replaced(MOMENTS, "moments.sum", bound=t), lambda data: data.feature, 10.0),
}


def bisected(center: Center, lie: Lie) -> float:
    """Where the center believes the secret after a few rounds: it lies at or below a threshold that is answered."""
    low, high = 0.0, lie.most
    for _ in range(STEPS):
        middle = (low + high) / 2
        total = center.round(lie.kind, lie.layout(middle))
        if total is None or lie.lacks(total):
            low = middle
        else:
            high = middle
    return high


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_whatever_a_site_has_a_center_that_bisects_hears_the_same(lie):
    one, other = Center(VICTIM), Center(OTHER)
    assert bisected(one, lie) == bisected(other, lie) == lie.most
    assert one.heard == other.heard
    assert len(one.heard) == STEPS
    assert all(line.startswith("ProtocolRefused: the center asks for ") for line in one.heard)
    assert one.asked == other.asked == 0, "no data was looked at"


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_without_the_judgement_it_would_find_the_number(lie, monkeypatch):
    monkeypatch.setattr(gates, "judge_fields", lambda *_: None)
    monkeypatch.setattr(gates, "judge_bound", lambda *_: None)
    found = []
    for data in (VICTIM, OTHER):
        center = Center(data)
        found.append(bisected(center, lie))
        assert all(line == f"UpdateRefused: {WITHHELD}" or line.startswith("a sum: ") for line in center.heard)
        assert abs(found[-1] - lie.secret(data)) <= max(lie.most / 2**STEPS, lie.most > 1)
    assert found[0] != found[1]
