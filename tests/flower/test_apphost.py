from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from flwr.app import ConfigRecord, Context, Message, RecordDict

from fedmed.confinement.cell import Cell
from fedmed.flower import arrays, identity, keys, packing
from fedmed.flower.apphost import AppHost
from fedmed.flower.apps import AppRef
from fedmed.flower.worker import guarded
from tests.flower.resting import REST

REF = AppRef(Path(__file__).with_name("apps"), "obedient:app", ("json",))
CONFIG = {"partition-id": 3}
CELL = Cell(policy="as-available")


def context(run: int = 1, **config: Any) -> Context:
    return Context(run, 2, {"secret": "the gate's own"}, RecordDict(), config)


def message(do: str = "add", name: str = "m1", kind: str = "train", length: int = 4, **more: Any) -> Message:
    identity.assume(identity.SERVER_NODE)
    content = RecordDict({"config": ConfigRecord({"do": do, **more})})
    content["arrays"] = arrays.own({"w": np.arange(length, dtype=np.float32), "n": np.array(5)})
    made = Message(content, 2, kind, group_id="4")
    identity.set_message_id(made, name)
    return made


@pytest.fixture
def make(tmp_path) -> Iterator[Callable[..., AppHost]]:
    made: list[AppHost] = []

    def host(ref: AppRef = REF, cell: Cell = CELL, tell: Callable[[str], None] = lambda text: None, **more: Any) -> AppHost:
        made.append(AppHost(ref, CONFIG, cell, tell, tmp_path / "states", REST, **more))
        return made[-1]

    yield host
    for each in made:
        each.close()


def told(reply: Message) -> dict[str, Any]:
    assert not reply.has_error(), reply.error.reason
    return dict(reply.content["metrics"])


def test_it_answers_as_the_app_in_this_process_does(make):
    host, here = make(), guarded(REF)
    for kind, do in (
        ("train", "add"),
        ("evaluate", "add"),
        ("query.describe", "add"),
        ("train", "raise"),
        ("train", "raise-much"),
    ):
        asked = message(do, kind=kind, length=1000)
        beside = Context(1, 2, CONFIG, RecordDict(), {})
        ours, theirs = host(asked, context()), here(asked, beside)
        if theirs.has_error():
            assert ours.error.reason == theirs.error.reason
            continue
        for name, record in theirs.content.items():
            if name == "metrics":
                assert {**record, "pid": 0, "calls": 0} == {**ours.content[name], "pid": 0, "calls": 0}
            elif name != "arrays":
                assert dict(ours.content[name]) == dict(record)
        assert packing.flatten(ours.content).keys() == packing.flatten(theirs.content).keys()
        for name, value in packing.flatten(theirs.content).items():
            assert packing.flatten(ours.content)[name].tobytes() == value.tobytes()
        assert ours.metadata.reply_to_message_id == asked.metadata.message_id


def test_it_stays_warm_and_is_another_process(make):
    host = make()
    host.begin()
    first, second = (told(host(message(name=name), context())) for name in ("m1", "m2"))
    assert (first["calls"], second["calls"], first["pid"]) == (1, 2, second["pid"])
    assert first["pid"] != os.getpid()


def test_what_the_app_keeps_outlives_its_process_and_the_daemon(make):
    host = make()
    assert told(host(message(name="m1"), context()))["calls"] == 1
    assert "process ended with exit code 7" in host(message("die", "m2"), context()).error.reason
    assert told(host(message(name="m3"), context()))["calls"] == 2
    assert told(host(message(name="m4"), context(run=2)))["calls"] == 1
    host.close()
    assert told(make()(message(name="m5"), context()))["calls"] == 3


def test_a_message_that_comes_again_is_counted_once(make):
    host = make()
    host(message(name="m1"), context())
    assert [told(host(message(name="m2"), context()))["calls"] for _ in range(3)] == [2, 2, 2]
    assert told(make()(message(name="m2"), context()))["calls"] == 2
    assert told(host(message(name="m3"), context()))["calls"] == 3


def test_the_app_is_told_nothing_of_the_gates_configuration(make):
    reply = make()(message("add", kind="query.describe"), context())
    assert reply.content["config"]["fedmed.order"] == "site 3"  # its own configuration, not the context's


FAILS = {
    "die": "the app's process ended with exit code 7",
    "exit": "the app's process ended with exit code 3",
    "nothing": "the answer cannot be sent: AttributeError",
    "complex": "the answer cannot be sent: DataError",
    "raise": "ValueError: site 3 raises this",
    "huge": "no memory for a message of",  # its own limit on files stops it before its owner would
}


@pytest.mark.parametrize(("do", "reason"), FAILS.items())
def test_whatever_the_app_does_the_next_message_is_answered(make, do, reason):
    host = make(cell=replace(CELL, answer_bytes=2**20))
    assert told(host(message(name="m0"), context()))["calls"] == 1
    failed = host(message(do, "m1", size=2**19), context())
    assert reason in failed.error.reason
    assert told(host(message(name="m2"), context()))["calls"] == 2


def test_an_answer_that_takes_too_long_is_given_up(make):
    heard: list[str] = []
    host = make(tell=heard.append, limit_s=2.0)
    told(host(message(name="m0"), context()))
    assert "did not answer within 2 s" in host(message("hang"), context()).error.reason
    assert heard == ["obedient:app: the app did not answer within 2 s, and was ended"]
    assert told(host(message(name="m2"), context()))["calls"] == 2


def stopped(host: AppHost, how: Callable[[], None]) -> Message:
    replies: list[Message] = []
    working = threading.Thread(target=lambda: replies.append(host(message("hang"), context())))
    working.start()
    while working.is_alive():
        how()
        working.join(0.2)
    return replies[0]


def test_work_is_stopped_from_another_thread(make):
    host = make()
    host.stop_work()  # nothing is done
    told(host(message(name="m0"), context()))
    assert stopped(host, host.stop_work).error.reason == "the app's work was stopped"
    assert told(host(message(name="m2"), context()))["calls"] == 2


def test_a_closed_host_answers_nothing_and_leaves_no_process(make):
    host, before = make(), set(psutil.Process().children(recursive=True))  # what other tests keep, which ends when they do
    told(host(message(name="m0"), context()))
    below = set(psutil.Process().children(recursive=True)) - before
    assert below
    assert stopped(host, host.close).has_error()
    assert "was closed" in host(message(), context()).error.reason
    _, alive = psutil.wait_procs(below, 30)
    assert not alive


def test_an_app_that_cannot_be_loaded_says_so_each_time(make):
    host = make(AppRef(REF.root, "not_there:app"))
    for name in ("m1", "m2"):
        assert "app 'not_there:app' cannot be loaded" in host(message(name=name), context()).error.reason


def test_kinds_of_messages_and_numbers_of_rounds_reach_the_app(make):
    asked = message("add", kind="query.describe", more=[1, 2])
    assert make()(asked, context()).content["config"]["more"] == [1, 2]
    assert asked.metadata.group_id == "4"
    assert keys.DESCRIBE == "query.describe"
