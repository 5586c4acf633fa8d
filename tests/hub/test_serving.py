"""A hub that goes on: whatever fails beside its devices' calls is seen, told once, and tried again."""

from __future__ import annotations

import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from fedmed.errors import DeviceRefused, StoreError, Unreachable
from fedmed.hub import client
from fedmed.hub.borrowing import Question
from fedmed.hub.folder import CERTIFICATE_FILE, KEYS_FILE
from fedmed.hub.landing import ARRIVING
from fedmed.hub.looks import MOST_TENSOR
from fedmed.hub.messages import MOST_BODY, Message
from fedmed.hub.service import ANSWERED_AT_ONCE
from fedmed.hub.tls import grpc
from fedmed.identity import files
from fedmed.identity.issuing import MOST_DAYS, certificate_pem
from fedmed.identity.member import MemberKeys
from fedmed.store.standing import read_status
from tests.hub.clinic import Place, serving, shown_at
from tests.hub.test_lending import INPUT, PACKAGE, Box
from tests.system.hospitals import until


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with serving(tmp_path, beat_s=1) as found:
        found.hub.folder = replace(found.folder, config=found.folder.config.model_copy(update={"beat_s": 0.05}))
        yield found


def newer_certificate(place: Place) -> bytes:
    made = place.folder.authority().hub(place.folder.keys().transport_public, MOST_DAYS)
    files.replace(place.folder.path / CERTIFICATE_FILE, certificate_pem(made))
    return made


def test_a_certificate_that_cannot_be_shown_leaves_the_old_one_and_is_tried_again(place: Place, tmp_path: Path):
    ports, before = (place.hub.ports.port, place.hub.ports.enrolment_port), place.folder.certificate()
    keys, own = place.folder.path / KEYS_FILE, (place.folder.path / KEYS_FILE).read_bytes()
    made = newer_certificate(place)
    MemberKeys.generate().save(tmp_path / "other.keys")
    files.replace(keys, (tmp_path / "other.keys").read_bytes())
    with place.client("echo") as line:
        for _ in range(3):
            place.hub.look()
            assert [shown_at(port) for port in ports] == [before, before]
            line.beat("idle", {})
        assert len([each for each in place.told if "no certificate and its key" in each]) == 1
        assert read_status(place.folder.path)["state"] == "up"
        files.replace(keys, own)
        place.hub.look()
        assert [shown_at(port) for port in ports] == [made, made]
        line.beat("idle", {})  # an open line stays
    assert [each.resource for each in place.events if each.action == "renew"] == ["the hub's certificate"]


def states_of(line) -> list[object]:
    states: list[object] = []
    line._channel.subscribe(states.append)
    return states


def test_the_line_of_a_device_that_is_revoked_ends_then_and_not_with_its_next_call(place: Place):
    ready = grpc.ChannelConnectivity.READY
    with place.client("echo") as line, place.client("mri") as other:
        states, callers = states_of(line), place.hub.ports._relay._callers
        line.beat("idle", {})
        other.beat("idle", {})
        until(lambda: ready in states)
        place.hub.look()
        assert len(callers) == 2
        place.folder.revoke("echo")
        place.hub.look()
        until(lambda: states[-1] is not ready)
        until(lambda: len(callers) == 1)
        assert [each.certificate for each in callers.values()] == [other.folder.certificate()]
        assert place.told[-1] == "connections of devices that are let in no more, cut: 1"
        with pytest.raises(DeviceRefused, match="revoked"):  # on a line of its own, where it hears why
            line.beat("idle", {})
        assert len(callers) == 2
        place.hub._renews_at = 0.0
        place.hub.look()
        until(lambda: len(callers) == 1)
        other.beat("idle", {})


def test_a_device_is_cut_in_the_midst_of_a_call_too(place: Place):
    asked, open_ = threading.Event(), threading.Event()

    def owed(device: str) -> list[object]:
        asked.set()
        assert open_.wait(30)
        return []

    with place.client("echo") as line:
        line.beat("idle", {})
        place.hub.calls._desk.owed = owed  # type: ignore[method-assign,assignment]
        said: list[str] = []

        def call() -> None:
            with pytest.raises(Unreachable) as error:
                line.beat("idle", {})
            said.append(str(error.value))

        calling = threading.Thread(target=call)
        calling.start()
        assert asked.wait(30)
        place.folder.revoke("echo")
        place.hub.look()
        calling.join(30)
        assert len(said) == 1
        open_.set()


def test_a_roll_that_cannot_be_read_cuts_nobody(place: Place):
    roll = place.folder.devices.path
    with place.client("echo") as line:
        line.beat("idle", {})
        kept = roll.read_bytes()
        files.replace(roll, b"damaged")
        place.hub.look()
        place.hub.look()
        assert len(place.hub.ports._relay._callers) == 1
        assert len([each for each in place.told if "put a copy of it back" in each]) == 1
        files.replace(roll, kept)
        place.hub.look()
        line.beat("idle", {})


def failing(*errors: Exception) -> tuple[Callable[[], None], threading.Event]:
    """Raises each of these once, and from then on says that it was called."""
    left, well = list(errors), threading.Event()

    def tend() -> None:
        if left:
            raise left.pop(0)
        well.set()

    return tend, well


def test_a_fault_in_what_is_tended_is_seen_and_it_is_tended_again(place: Place, monkeypatch: pytest.MonkeyPatch):
    ended: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", ended.append)
    place.hub._tend, well = failing(KeyError("a fault"), KeyError("a fault"))
    for number in (1, 2):
        until(lambda count=number: len(ended) == count)  # type: ignore[misc]
        [reason] = place.hub._duty().unready()
        assert "the thread 'tend' ended by a fault (KeyError)" in reason
        assert place.told.count(reason) == 1
        assert b"fedmed_ready 0.0" in place.hub._metrics.exposition()
        place.hub.look()
        assert read_status(place.folder.path)["faults"] == [reason]
    until(well.is_set)
    until(lambda: not place.hub._duty().unready())
    assert b"fedmed_ready 1.0" in place.hub._metrics.exposition()


def test_a_disk_that_fails_what_is_tended_is_told_once_and_it_goes_on(place: Place):
    place.hub._tend, well = failing(OSError("no room"), OSError("no room"), StoreError("no room"))
    until(well.is_set)
    assert place.told.count("no room") == 1
    assert place.hub._duty().unready() == []


def test_a_folder_that_cannot_be_emptied_is_told_and_does_not_end_the_hub(place: Place):
    stuck = place.folder.path / ARRIVING / "echo" / ("a" * 64)
    stuck.mkdir(parents=True)  # no file, so it cannot be removed as one
    with place.client("echo") as line:
        line.beat("idle", {})
        place.folder.revoke("echo")
        place.hub.look()
        assert "nothing can be removed there" in place.told[-1]
        place.hub.look()
        assert read_status(place.folder.path)["devices"] == {}


def test_calls_whose_messages_do_not_come_hold_nobody_up(place: Place):
    come = threading.Event()

    def message() -> Iterator[bytes]:
        come.wait(30)
        yield b""

    with place.client("slow") as slow, place.client("mri") as other, ExitStack() as undo:
        undo.callback(come.set)
        asking = slow._channel.stream_unary("/fedmed.hub.v1/beat")
        for _ in range(16):  # as many as one connection may have
            undo.callback(asking.future(message()).cancel)
        until(lambda: len(place.hub.ports._pool._threads) >= 16)
        assert other.beat("idle", {}).hub_unix > 0


def test_a_call_whose_caller_went_while_it_waited_is_not_worked_on(place: Place, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(client, "DEADLINE_S", 0.5)
    turns = place.hub.ports._turns
    with place.client("echo") as line:
        for _ in range(ANSWERED_AT_ONCE):
            assert turns.acquire(timeout=30)
        with pytest.raises(Unreachable):
            line.beat("idle", {})
        time.sleep(2)  # the hub's own end keeps the same deadline by its own clock
        turns.release(ANSWERED_AT_ONCE)
        place.hub.ports.stop()
    assert place.hub.calls.state.devices == {}
    assert place.refusals() == []


def test_a_piece_of_an_input_costs_that_piece_and_not_the_whole(place: Place):
    asker, helper = Box(place, "us-1", isolated="gpu0: hot"), Box(place, "us-2")
    place.hub.look()
    asker.line.ask(Question(PACKAGE, INPUT))
    order, [look] = helper.only(), place.hub.lending._looks.values()
    look.content, look.size = bytearray(MOST_TENSOR), MOST_TENSOR
    asked = Message({"task": order.task, "attempt": order.attempt, "offset": MOST_TENSOR - MOST_BODY - 1})
    tracemalloc.start()
    try:
        answer = place.hub.lending.call("input", helper.name, asked)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (answer.head["size"], len(answer.body)) == (MOST_TENSOR, MOST_BODY)
    assert most < 2 * MOST_BODY
    asker.client.close()
    helper.client.close()
