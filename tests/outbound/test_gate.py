from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from fedmed.errors import ProtocolRefused, StoreError, UpdateRefused
from fedmed.flower.guard import AppFailed, Job
from fedmed.flower.keys import CENSUS
from fedmed.outbound.description import Sizes
from fedmed.outbound.gate import WITHHELD, Books, Gate, Rules
from fedmed.outbound.outbox import Outbox, Sent
from fedmed.privacy.purposes import Purpose
from fedmed.privacy.secagg import masks, opening
from fedmed.privacy.secagg.layout import Fixed, Layout, Tensor, Whole
from fedmed.privacy.secagg.questions import census_fields, loss_fields, mask_fields, score_fields, update_fields
from fedmed.privacy.secagg.round_messages import Header
from fedmed.privacy.secagg.schedule import vector_digest
from fedmed.store.departures import Departures, verify
from fedmed.store.keystore import MemoryKeystore
from fedmed.wire.confided import for_log
from fedmed.wire.digest import digest_of
from tests.identity.parties import Standing
from tests.outbound.clinics import Clinics, outboxes

MOST, COUNT = 20, 3
LAYOUT = Layout((Tensor("w", (2, 2)),), update_fields(MOST), 32, COUNT, 64.0, MOST)
COUNTS = Layout((), census_fields(2, None, MOST), 32, COUNT, 64.0, MOST)
SCORES = Layout((), (*loss_fields(10), *score_fields(8, None, 10)), 32, COUNT, 64.0, 10)
SIZES = Sizes(MOST, 10)
MODEL = {"w": np.ones((2, 2), np.float32)}
TEXT = '{"config":{"server-round":4}}'


@dataclass
class Here:
    """Clinics whose first has a gate."""

    clinics: Clinics
    gate: Gate
    ledger: Path
    told: list[str] = field(default_factory=list)

    def job(self, number=1, kind="train", layout=LAYOUT, model=MODEL, **changes) -> Job:
        purpose = {"train": Purpose.UPDATE, "evaluate": Purpose.EVALUATION, CENSUS: Purpose.CENSUS}[kind]
        given = digest_of(TEXT, model)
        header = Header(number, purpose, (1, 2, 3), given, layout.digest(), layout.size, layout.bits)
        return Job(
            **{
                "kind": kind,
                "header": header.encode(),
                "layout": layout.canonical(),
                "text": TEXT,
                "model": model,
                **changes,
            }
        )


def standing(tmp_path: Path, most_norm: float | None = None, least_bound: float = 64.0) -> Here:
    clinics, told = outboxes(COUNT, [MemoryKeystore() for _ in range(COUNT)]), list[str]()
    ledger = tmp_path / "clinic.departures.jsonl"
    books = Books(Departures(ledger), "0" * 64, Standing(), told.append, SIZES)
    gate = Gate(b"certificate", clinics.boxes[1], Rules(most_norm, least_bound=least_bound), lambda what: bytes(24), books)
    return Here(clinics, gate, ledger, told)


@pytest.fixture
def here(tmp_path) -> Here:
    return standing(tmp_path)


def trained(step=0.5, **metrics):
    return lambda: ({"w": MODEL["w"] + np.float32(step)}, {"num-examples": 7, "loss": 0.25, **metrics})


def opened(there: Clinics, job: Job, sent: Sent, layout: Layout):
    """The sum with two other clinics' vectors, as the center opens it."""
    header = Header.decode(job.header)
    state, total = opening.begin(there.agreed, header), layout.zeros()
    uploads = {1: sent}
    for index in (2, 3):
        other = Gate(
            b"", there.boxes[index], Rules(), lambda what: bytes(24), Books(Nowhere(), "0" * 64, Standing(), print, SIZES)
        )
        uploads[index] = other.work(job, trained())
    for index, each in uploads.items():
        state = opening.take(state, index, each.envelope, vector_digest(each.vector))
        total = total + each.vector
    masks.apply(total, there.opened(opening.close(state)).streams)
    return layout.read(total, 3)


class Nowhere:
    """A ledger that keeps nothing."""

    def record(self, departure) -> None:
        return None


def test_what_leaves_opens_to_the_sum_of_the_changes(here):
    job = here.job()
    total = opened(here.clinics, job, here.gate.work(job, trained()), LAYOUT)
    assert total.count("weight") == 21
    np.testing.assert_allclose(total.mean(21)["w"], np.full((2, 2), 0.5), atol=1e-5)
    assert here.told == []


def test_it_is_in_the_ledger_before_it_leaves_and_the_same_when_asked_again(here):
    job = here.job()
    first = here.gate.work(job, trained())
    (written,) = verify(here.ledger)
    assert (written.purpose, written.round, written.number, written.cohort) == ("update", 4, 1, 3)
    assert written.vector_blake3 == vector_digest(first.vector).hex()
    assert written.norm == pytest.approx(1.0)

    def never():
        raise AssertionError("the app is not asked twice")

    again = here.gate.work(job, never)
    assert (again.envelope, again.vector.tobytes()) == (first.envelope, first.vector.tobytes())
    assert len(verify(here.ledger)) == 1


def test_counts_leave_as_the_layout_says(here):
    job = here.job(kind=CENSUS, layout=COUNTS)
    here.gate.work(job, lambda: ({"classes": np.array([3, 4])}, {}))
    (written,) = verify(here.ledger)
    assert (written.purpose, written.norm, written.tensors) == ("census", None, ())


def failed():
    raise AppFailed("ValueError: patient 17 is odd")


@pytest.mark.parametrize(
    ("app", "why"),
    [
        (failed, "ValueError: patient 17 is odd"),
        (lambda: ({}, {"num-examples": 7, "loss": 0.1}), "UpdateRefused: tensor 'w': the app answers with none"),
        (lambda: ({"w": np.ones((2, 3), np.float32)}, {"num-examples": 7, "loss": 0.1}), "UpdateRefused: tensor 'w'"),
        (trained(np.nan), "not finite"),
        (trained(65), "UpdateRefused"),
        (trained(**{"num-examples": MOST + 1}), f"UpdateRefused: num-examples is {MOST + 1}; allowed: 1 to {MOST}"),
    ],
)
def test_what_is_wrong_with_an_answer_is_told_to_the_staff_only(here, app, why):
    with pytest.raises(UpdateRefused) as caught:
        here.gate.work(here.job(), app)
    assert str(caught.value) == WITHHELD
    (told,) = here.told
    assert why in told
    assert "patient 17" not in for_log(told)
    assert not here.ledger.exists() or verify(here.ledger) == []


def test_a_metric_that_nobody_declared_is_left_out_and_the_staff_told_once_by_name(here):
    job = here.job(1)
    total = opened(here.clinics, job, here.gate.work(job, trained(patients=3.0)), LAYOUT)
    assert total.fields.keys() == {"weight", "loss.sum", "loss.weight"}
    here.gate.work(here.job(2), trained(patients=4.0))
    here.gate.work(here.job(3), trained(patients=4.0, **{f"x{number}": 0.5 for number in range(7)}))
    assert all("declare" in for_log(line) and "metric '" not in for_log(line) for line in here.told)
    assert [line.partition(". All else")[0] for line in here.told] == [
        "left out, for the scenario does not declare it: the app's metric 'patients'",
        "left out, for the scenario does not declare it: the app's metric 'x0', 'x1', 'x2', 'x3', 'x4' and 2 more",
    ]


def test_numbers_that_no_order_declares_are_not_asked_of_the_clinic(here):
    asked = Layout(LAYOUT.tensors, update_fields(MOST, {"patients": 100.0}), 32, COUNT, 64.0, MOST)
    with pytest.raises(
        ProtocolRefused, match=r"its order's training\.metrics have: patients\.sum, patients\.weight; got "
    ) as why:
        here.gate.work(here.job(layout=asked), never)
    assert here.told == [f"before any data was looked at: {why.value}"]


def test_a_round_that_came_to_nothing_does_not_stop_the_next(here):
    with pytest.raises(UpdateRefused):
        here.gate.work(here.job(1), failed)
    here.gate.work(here.job(2), trained())
    assert [written.number for written in verify(here.ledger)] == [2]


def test_the_staffs_own_limit_of_the_norm_holds(tmp_path):
    here = standing(tmp_path, most_norm=1.0)
    with pytest.raises(UpdateRefused):
        here.gate.work(here.job(1), trained(0.51))
    assert here.told == ["UpdateRefused: the update's L2 norm is 1.02; allowed: at most 1"]
    with pytest.raises(UpdateRefused):
        here.gate.work(here.job(2), trained(np.nan))
    here.gate.work(here.job(3), trained(0.5))


def never():
    raise AssertionError("nothing is worked on")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda here: {"layout": b"layout"}, "malformed"),
        (lambda here: {"layout": replace(LAYOUT, bound=65.0).canonical()}, "another round, cohort or model"),
        (lambda here: {"header": b"header"}, "malformed"),
        (lambda here: {"model": {"w": MODEL["w"] + 1}}, "another round, cohort or model"),
        (lambda here: {"text": "{}"}, "another round, cohort or model"),
        (lambda here: {"kind": "evaluate", "layout": SCORES.canonical()}, "another round, cohort or model"),
    ],
    ids=["no layout", "another layout", "no header", "model", "text", "purpose"],
)
def test_a_job_that_is_not_the_rounds_is_refused_before_the_app_is_asked(here, change, why):
    job = here.job()
    given = {"kind": job.kind, "header": job.header, "layout": job.layout, "text": job.text, "model": job.model}
    with pytest.raises(ProtocolRefused, match=why):
        here.gate.work(Job(**{**given, **change(here)}), never)
    assert here.told == []


def bounded(layout: Layout, name: str, bound: float) -> Layout:
    """The layout with another bound of one field."""
    fields = [
        replace(each, most=int(bound)) if isinstance(each, Whole) else replace(each, bound=bound)
        for each in layout.fields
        if each.name == name
    ]
    return replace(layout, fields=tuple(fields[0] if each.name == name else each for each in layout.fields))


MOMENTS = replace(COUNTS, fields=census_fields(2, 3, MOST))
MASKS = replace(SCORES, fields=(*loss_fields(10), *mask_fields(10)))
LIES = {
    "a loss": ("train", bounded(LAYOUT, "loss.sum", 0.3 * MOST), "loss.sum"),
    "steps of a loss": (
        "train",
        replace(LAYOUT, fields=tuple(replace(f, resolution=1.0) if isinstance(f, Fixed) else f for f in LAYOUT.fields)),
        "loss.sum",
    ),
    "a weight": ("train", bounded(LAYOUT, "weight", 7), "weight"),
    "cases": (
        "train",
        replace(LAYOUT, most_weight=7, fields=update_fields(7)),
        "a weight of at most 7; allowed: at least 20",
    ),
    "a change": ("train", replace(LAYOUT, bound=0.4), "within ±0.4; allowed: a bound of at least 64"),
    "nothing beside": ("train", replace(LAYOUT, fields=()), "weight"),
    "a loss of a validation": ("evaluate", bounded(SCORES, "loss.sum", 3.0), "loss.sum"),
    "a bin": ("evaluate", bounded(SCORES, "scores", 2), "scores"),
    "a dice": ("evaluate", bounded(MASKS, "dice.sum", 5.0), "dice.sum"),
    "validation cases": (
        "evaluate",
        replace(SCORES, most_weight=4, fields=(*loss_fields(4), *score_fields(8, None, 4))),
        "a weight of at most 4; allowed: at least 10",
    ),
    "another number": ("evaluate", replace(SCORES, fields=(*SCORES.fields, Whole("patients", 10))), "patients"),
    "tensors": ("evaluate", replace(SCORES, tensors=LAYOUT.tensors), "1 tensors; allowed: none"),
    "a class": (CENSUS, bounded(COUNTS, "classes", 3), "classes"),
    "training cases": (CENSUS, bounded(MOMENTS, "moments.n", 7), r"moments\.n"),
    "a sum of features": (CENSUS, bounded(MOMENTS, "moments.sum", 9.0), r"moments\.sum"),
    "a sum of squares": (CENSUS, bounded(MOMENTS, "moments.sumsq", 9.0), r"moments\.sumsq"),
}


@pytest.mark.parametrize(("kind", "layout", "why"), LIES.values(), ids=LIES)
def test_a_bound_of_the_centers_own_is_refused_before_the_app_is_asked_and_all_are_told_why(here, kind, layout, why):
    with pytest.raises(ProtocolRefused, match=why) as caught:
        here.gate.work(here.job(kind=kind, layout=layout), never)
    assert here.told == [f"before any data was looked at: {caught.value}"]
    assert not here.ledger.exists()


@pytest.mark.parametrize("layout", [replace(LAYOUT, bound=1e6), replace(LAYOUT, most_weight=500, fields=update_fields(500))])
def test_a_bound_that_is_wide_is_allowed(here, layout):
    here.gate.work(here.job(layout=layout), trained())
    assert here.told == []


def test_a_narrow_bound_is_allowed_where_the_clinics_own_file_has_it(tmp_path):
    here, narrow = standing(tmp_path, least_bound=0.25), replace(LAYOUT, bound=0.5)
    here.gate.work(here.job(layout=narrow), trained())
    with pytest.raises(ProtocolRefused, match=r"±0\.2; allowed: a bound of at least 0\.25"):
        here.gate.work(here.job(2, layout=replace(LAYOUT, bound=0.2)), never)


@pytest.mark.parametrize("layout", [SCORES, MASKS])
def test_what_an_evaluation_has_is_asked_of_the_app(here, layout):
    puts = {field.name: np.zeros(field.count, int) for field in layout.fields}
    here.gate.work(here.job(kind="evaluate", layout=layout), lambda: (puts, {}))
    assert here.told == []


def test_a_layout_for_another_number_of_clinics_is_refused(here):
    wide = Layout(LAYOUT.tensors, LAYOUT.fields, 32, COUNT + 1, 64.0, MOST)
    with pytest.raises(ProtocolRefused, match="a layout for 4 clinics; this epoch has 3"):
        here.gate.work(here.job(layout=wide), never)


def test_outside_an_epoch_nothing_is_worked_on(tmp_path, here):
    member = here.clinics.members[1]
    books = Books(Departures(tmp_path / "x.departures.jsonl"), "0" * 64, Standing(), print, SIZES)
    gate = Gate(b"", Outbox(member, MemoryKeystore(), threads=1), Rules(), lambda what: bytes(24), books)
    with pytest.raises(ProtocolRefused):
        gate.work(here.job(), never)


def test_what_the_ledger_cannot_take_does_not_leave(tmp_path, here):
    class Full(Nowhere):
        def record(self, departure):
            raise StoreError("the disk is full")

    told = []
    gate = Gate(
        b"", here.clinics.boxes[1], Rules(), lambda what: bytes(24), Books(Full(), "0" * 64, Standing(), told.append, SIZES)
    )
    with pytest.raises(UpdateRefused, match=WITHHELD):
        gate.work(here.job(), trained())
    assert told == ["StoreError: the disk is full"]
    with pytest.raises(StoreError):  # sent before, as far as the keystore knows; still not in the ledger
        gate.work(here.job(), never)
    assert here.gate.work(here.job(), never).envelope, "once there is room, the same vector leaves"
    assert len(verify(here.ledger)) == 1
