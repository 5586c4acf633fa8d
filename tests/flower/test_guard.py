from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from flwr.app import ConfigRecord, Context, Error, Message, MetricRecord, RecordDict

from fedmed.errors import ProtocolRefused, UpdateRefused
from fedmed.flower import arrays, identity, keys
from fedmed.flower.guard import MAX_REASON, AppFailed, Guarded, Job

CONTEXT = Context(1, 2, {}, RecordDict(), {})
WORK = ["train", "evaluate", keys.CENSUS]
SECRET = np.array([1.5, 2.5], np.float32)


@dataclass
class Leaving:
    envelope: bytes = b"signed"
    vector: Any = field(default_factory=lambda: np.array([7, 8], np.uint32))


class Gate:
    """Lets everything out, or what `raises`; keeps what it was given."""

    certificate = b"who I am"

    def __init__(self, raises: Exception | None = None) -> None:
        self.raises, self.jobs, self.answers = raises, list[Job](), list[Any]()

    def answer(self, request: bytes) -> bytes:
        if self.raises:
            raise self.raises
        return b"answer to " + request

    def describe(self, app):
        return app().upper()

    def work(self, job, app):
        self.jobs.append(job)
        try:
            self.answers.append(app())
        except AppFailed as failed:
            self.answers.append(str(failed))
            raise UpdateRefused("withheld") from failed
        if self.raises:
            raise self.raises
        return Leaving()


def message(kind: str, round_: dict[str, Any] | None = None, **records: Any) -> Message:
    identity.assume(identity.SERVER_NODE)
    content = RecordDict(dict(records))
    if round_ is not None:
        content[keys.ROUND] = ConfigRecord(round_)
    made = Message(content, 2, kind)
    identity.set_message_id(made, "m1")
    return made


def masked(kind: str, **records: Any) -> Message:
    return message(kind, {keys.HEADER: b"header", keys.LAYOUT: b"layout"}, **records)


def telling(asked: Message, context: Context) -> Message:
    """An app that tells all it has, in records of every kind."""
    content = RecordDict({"a": MetricRecord({"loss": 0.25}), "b": ConfigRecord({"names": "patients"})})
    content["c"] = arrays.own({"w": SECRET})
    return Message(content, reply_to=asked)


def failing(asked: Message, context: Context) -> Message:
    return Message(Error(2, "ValueError: patient 17 is odd"), reply_to=asked)


@pytest.mark.parametrize("kind", WORK)
def test_of_work_an_envelope_and_a_vector_leave_and_nothing_else(kind):
    gate = Gate()
    made = Guarded(telling, gate)(masked(kind), CONTEXT)
    assert {name: dict(record) for name, record in made.content.config_records.items()} == {
        keys.SEALED: {keys.ENVELOPE: b"signed"}
    }
    assert set(made.content) == {keys.SEALED, "arrays"}
    assert {name: value.tolist() for name, value in arrays.all_views(made.content).items()} == {keys.VECTOR: [7, 8]}
    ((tensors, metrics),) = gate.answers
    assert (tensors["w"].tolist(), metrics) == (SECRET.tolist(), {"loss": 0.25})


@pytest.mark.parametrize("kind", WORK)
def test_an_apps_error_is_the_gates_to_tell(kind):
    gate = Gate()
    made = Guarded(failing, gate)(masked(kind), CONTEXT)
    assert (made.error.reason, gate.answers) == ("UpdateRefused: withheld", ["ValueError: patient 17 is odd"])


def test_a_job_is_all_that_the_message_says(monkeypatch):
    gate, given = Gate(), arrays.own({"w": SECRET})
    config = ConfigRecord({"lr": 0.5, "raw": b"\1", "many": [1, 2]})
    Guarded(telling, gate)(masked("train", arrays=given, config=config), CONTEXT)
    (job,) = gate.jobs
    assert (job.kind, job.header, job.layout) == ("train", b"header", b"layout")
    assert job.text == '{"config":{"lr":0.5,"many":[1,2],"raw":{"hex":"01"}}}'
    assert job.model["w"].tolist() == SECRET.tolist()


@pytest.mark.parametrize("kind", WORK)
@pytest.mark.parametrize(
    "told", [None, {}, {keys.HEADER: b"h"}, {keys.LAYOUT: b"l"}, {keys.HEADER: "text", keys.LAYOUT: b"l"}]
)
def test_work_that_belongs_to_no_masked_round_is_refused_before_the_app_hears_of_it(kind, told):
    def never(asked, context):
        raise AssertionError("asked")

    made = Guarded(never, Gate())(message(kind, told), CONTEXT)
    assert made.error.reason.startswith("ProtocolRefused: work that belongs to no masked round")


def test_a_round_told_in_a_record_of_another_kind_is_none():
    wrong = message("train", **{keys.ROUND: MetricRecord({"header": 1.0})})
    assert "no masked round" in Guarded(telling, Gate())(wrong, CONTEXT).error.reason


@pytest.mark.parametrize("kind", ["query", "query.anything", "train.other", "evaluate.mine", "system"])
def test_nothing_else_is_answered(kind):
    made = Guarded(telling, Gate())(message(kind), CONTEXT)
    assert made.has_error()
    assert kind in made.error.reason


def test_of_a_description_the_text_leaves_that_the_gate_lets_out():
    def describing(asked, context):
        content = telling(asked, context).content
        content["b"] = ConfigRecord({keys.CONFIG_KEY: "two rooms", "names": "patients"})
        return Message(content, reply_to=asked)

    made = Guarded(describing, Gate())(message(keys.DESCRIBE), CONTEXT)
    assert {name: dict(record) for name, record in made.content.items()} == {"answer": {keys.CONFIG_KEY: "TWO ROOMS"}}
    silent = Guarded(telling, Gate())(message(keys.DESCRIBE), CONTEXT)
    assert silent.content["answer"][keys.CONFIG_KEY] == ""


def test_the_protocol_is_answered_here():
    asked = message(keys.PROTOCOL, **{keys.SAID: ConfigRecord({keys.BYTES: b"request"})})
    assert Guarded(telling, Gate())(asked, CONTEXT).content[keys.SAID][keys.BYTES] == b"answer to request"
    assert Guarded(telling, Gate())(message(keys.MEMBER), CONTEXT).content[keys.SAID][keys.BYTES] == b"who I am"


@pytest.mark.parametrize("said", [None, "text", 4])
def test_a_request_without_bytes_is_an_empty_one(said):
    records = {} if said is None else {keys.SAID: ConfigRecord({keys.BYTES: said})}
    made = Guarded(telling, Gate())(message(keys.PROTOCOL, **records), CONTEXT)
    assert made.content[keys.SAID][keys.BYTES] == b"answer to "


def test_a_refusal_is_an_error_reply_of_bounded_length():
    gate = Gate(ProtocolRefused("x" * 10_000))
    for asked in (masked("train"), message(keys.PROTOCOL)):
        made = Guarded(telling, gate)(asked, CONTEXT)
        assert made.error.reason.startswith("ProtocolRefused: xxx")
        assert len(made.error.reason) == MAX_REASON
