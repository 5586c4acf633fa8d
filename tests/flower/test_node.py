"""Nodes and centers that are killed, cut off and taken up again: nothing is lost, and nothing is done twice."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from flwr.app import Context, Message, RecordDict

from fedmed.center.engine import Engine
from fedmed.clock import SystemClock
from fedmed.errors import ConfigError
from fedmed.flower import arrays
from fedmed.flower.direct import DirectGrid
from fedmed.flower.fleet import CallFailed, Door, Fleet, Stopped
from fedmed.flower.node import Node
from fedmed.flower.spool import Shelf, Spool
from tests.center.pki import Authority, Client
from tests.flower.real import Federation, federation
from tests.flower.resting import REST

COUNT = 2_000_000  # more than one chunk, so that an answer takes more than one call


def doubled(message: Message, context: Context) -> Message:
    """Twice the array that came."""
    (array,) = arrays.all_views(message.content).values()
    return Message(RecordDict({"arrays": arrays.borrow({"w": 2 * array})}), reply_to=message)


def door(fed: Federation, client: Client, **other: Any) -> Door:
    return Door(
        **({"address": fed.address} | other),
        authority_pem=fed.authority.pem,
        chain_pem=client.chain_pem,
        key_pem=client.key_pem,
    )


@contextmanager
def running(fed: Federation, client: Client, call=doubled, told: list[str] | None = None, **other: Any):
    """A node in a thread of this process; Flower's identity is process-wide, which one node alone does not notice."""
    stop = threading.Event()
    tell = (told if told is not None else []).append
    fleet = Fleet(door(fed, client, **other), client.keys.transport_public, stop, tell)
    node = Node(fleet, Spool(fed.folder / "spool", REST), Shelf(fed.folder / "shelf", REST), {"app": call}, {}, stop, tell)
    thread = threading.Thread(target=node.serve)
    thread.start()
    try:
        yield node
    finally:
        stop.set()
        fed.engine.fence.close()
        thread.join()
        fleet.close()


@pytest.fixture
def fed(tmp_path: Path):
    with federation(tmp_path) as started:
        yield started


def ask(grid: DirectGrid, node: int) -> list[str]:
    content = RecordDict({"arrays": arrays.own({"w": np.arange(COUNT, dtype=np.float32)})})
    return list(grid.push_messages([Message(content, node, "train")]))


def answers(grid: DirectGrid, ids: list[str], seconds: float = 20) -> list[Message]:
    clock, found = SystemClock(), list[Message]()
    end = clock.now() + seconds
    while len(found) < len(ids) and clock.now() < end:
        for reply in grid.borrow_messages(ids):
            found.append(reply)
        grid.wait(0.2)
    return found


def is_doubled(replies: list[Message]) -> bool:
    return [np.array_equal(arrays.all_views(each.content)["w"], 2 * np.arange(COUNT)) for each in replies] == [True]


def test_a_message_is_answered_and_nothing_is_left_behind(fed: Federation):
    client = fed.admit("north")
    node = fed.engine.link.register(client.keys.transport_public)
    with running(fed, client):
        grid = DirectGrid(fed.engine.link, fed.engine.link.start_run("app"))
        for _ in range(3):
            assert is_doubled(answers(grid, ask(grid, node)))
    state = fed.engine.link.state
    assert state.num_message_ins() == state.num_message_res() == len(state.object_store) == 0
    assert list((fed.folder / "spool").iterdir()) == []


def test_send_and_receive_is_that_of_any_grid(fed: Federation):
    client = fed.admit("north")
    node = fed.engine.link.register(client.keys.transport_public)
    with running(fed, client):
        grid = DirectGrid(fed.engine.link, fed.engine.link.start_run("app"))
        content = RecordDict({"arrays": arrays.own({"w": np.arange(COUNT, dtype=np.float32)})})
        assert is_doubled(list(grid.send_and_receive([Message(content, node, "train")], timeout=20)))


def test_a_run_of_an_app_that_is_not_approved_is_answered_with_the_reason(fed: Federation):
    client = fed.admit("north")
    with running(fed, client):
        grid = DirectGrid(fed.engine.link, fed.engine.link.start_run("other"))
        (got,) = answers(grid, ask(grid, fed.engine.link.register(client.keys.transport_public)))
    assert got.error.reason == "app 'other' is not approved at this site; approved: app"


def test_a_node_that_is_admitted_later_begins_by_itself(fed: Federation, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("fedmed.flower.node.AGAIN_S", 0.2)
    client, told = fed.authority.client("north"), list[str]()
    with running(fed, client, told=told):
        while not told:
            threading.Event().wait(0.05)
        fed.admit("north", client.keys)
        grid = DirectGrid(fed.engine.link, fed.engine.link.start_run("app"))
        while not list(grid.get_node_ids()):
            threading.Event().wait(0.05)
    assert told[0] == "the center answers 401: north is not admitted"


def test_the_order_of_starting_does_not_matter_and_a_center_that_is_gone_is_waited_for(tmp_path: Path):
    database, told = tmp_path / "state.db", list[str]()
    with federation(tmp_path, database) as fed:
        client = fed.admit("north")
        node, port = fed.engine.link.register(client.keys.transport_public), fed.engine.listener.port
        run = fed.engine.link.start_run("app")
        ids = ask(DirectGrid(fed.engine.link, run), node)
    with running(fed, client, told=told):
        while not told:
            threading.Event().wait(0.05)
        assert "cannot be reached" in told[0]
        with Engine(database, REST, fed.authority.server(), "127.0.0.1", port, fed.roll) as again:
            again.link.take_up(run)
            grid = DirectGrid(again.link, run)
            grid.expect({ids[0]: node})
            assert is_doubled(answers(grid, ids))
            again.fence.close()


def test_an_answer_that_was_fetched_and_not_acknowledged_can_be_fetched_again(fed: Federation):
    client = fed.admit("north")
    node = fed.engine.link.register(client.keys.transport_public)
    with running(fed, client):
        run = fed.engine.link.start_run("app")
        ids = ask(first := DirectGrid(fed.engine.link, run, keeps=True), node)
        assert is_doubled(answers(first, ids))
        fed.engine.link.take_up(run)
        second = DirectGrid(fed.engine.link, run, keeps=True)
        second.expect({ids[0]: node})
        assert is_doubled(answers(second, ids))
        assert is_doubled([second.again(each) for each in ids])
        assert second.again("other") is None
        second.acknowledge(ids)
        assert second.again(ids[0]) is None
        fed.engine.link.take_up(run)
        third = DirectGrid(fed.engine.link, run)
        third.expect({ids[0]: node})
        assert answers(third, ids, 0.5) == []


def test_a_message_that_was_given_up_reaches_no_node_any_more(fed: Federation):
    client = fed.admit("north")
    node = fed.engine.link.register(client.keys.transport_public)
    grid, seen = DirectGrid(fed.engine.link, fed.engine.link.start_run("app")), list[str]()
    given_up = ask(grid, node)
    grid.cancel(given_up)
    ids = ask(grid, node)

    def call(message: Message, context: Context) -> Message:
        seen.append(message.metadata.message_id)
        return doubled(message, context)

    with running(fed, client, call):
        assert is_doubled(answers(grid, [*given_up, *ids], 3))
    assert seen == ids


def test_who_was_already_at_work_when_it_was_given_up_answers_late(fed: Federation):
    client = fed.admit("north")
    node = fed.engine.link.register(client.keys.transport_public)
    begun, goes_on = threading.Event(), threading.Event()

    def slow(message: Message, context: Context) -> Message:
        begun.set()
        goes_on.wait(10)
        return doubled(message, context)

    with running(fed, client, slow):
        grid = DirectGrid(fed.engine.link, fed.engine.link.start_run("app"))
        ids = ask(grid, node)
        begun.wait(10)
        grid.cancel(ids)
        goes_on.set()
        assert is_doubled(answers(grid, ids))


def test_a_run_that_has_ended_costs_a_node_its_message_and_no_more(fed: Federation):
    client = fed.admit("north")
    node = fed.engine.link.register(client.keys.transport_public)
    begun, goes_on, told = threading.Event(), threading.Event(), list[str]()

    def slow(message: Message, context: Context) -> Message:
        begun.set()
        goes_on.wait(10)
        return doubled(message, context)

    with running(fed, client, slow, told):
        run = fed.engine.link.start_run("app")
        ask(DirectGrid(fed.engine.link, run), node)
        begun.wait(10)
        fed.engine.link.end_run(run)
        goes_on.set()
        grid = DirectGrid(fed.engine.link, fed.engine.link.start_run("app"))
        assert is_doubled(answers(grid, ask(grid, node)))
    assert ["the run is over" in each for each in told] == [True]


class Killed(BaseException):
    """Stands for kill -9 at one place: nothing between it and the thread's end may catch it."""


@pytest.mark.parametrize("place", ["Spool.keep", "Fleet.give", "Fleet.more", "Spool.drop"])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_node_that_is_killed_answers_after_its_restart(fed: Federation, monkeypatch: pytest.MonkeyPatch, place: str):
    client = fed.admit("north")
    node = fed.engine.link.register(client.keys.transport_public)
    grid, died = DirectGrid(fed.engine.link, fed.engine.link.start_run("app")), threading.Event()
    ids = ask(grid, node)

    def die(*_: object) -> None:
        died.set()
        raise Killed

    with monkeypatch.context() as patch:
        owner, _, name = place.partition(".")
        patch.setattr({"Spool": Spool, "Fleet": Fleet}[owner], name, die)
        with running(fed, client):
            died.wait(10)
    fed.engine.fence._is_closing = False
    with running(fed, client):
        assert is_doubled(answers(grid, ids))
    assert list((fed.folder / "spool").iterdir()) == []


def test_a_half_written_answer_is_made_anew(tmp_path: Path):
    Spool(tmp_path, REST)
    (tmp_path / ".abc.new").write_bytes(b"half")
    assert Spool(tmp_path, REST).kept() == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("how", ["with http proxy", "with a proxy that is not there"])
def test_a_node_goes_through_its_proxy_and_no_other(fed: Federation, monkeypatch: pytest.MonkeyPatch, how: str):
    client, told = fed.admit("north"), list[str]()
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")  # somebody's environment does not decide
    with proxy() as (address, asked):
        chosen = address if how == "with http proxy" else "http://127.0.0.1:1"
        stop = threading.Event()
        fleet = Fleet(door(fed, client, proxy=chosen), client.keys.transport_public, stop, told.append)
        if chosen == address:
            assert fleet.activate() == fed.engine.link.register(client.keys.transport_public)
            assert asked == [f"CONNECT {fed.address} HTTP/1.1"]
        else:
            threading.Timer(0.5, stop.set).start()
            with pytest.raises(Stopped):
                fleet.activate()
            assert "cannot be reached (ConnectError" in told[0]
        fleet.close()


@contextmanager
def proxy():
    """A proxy that knows CONNECT alone."""
    asked: list[str] = []
    listening = socket.create_server(("127.0.0.1", 0))

    def carry(source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65_536):
                target.sendall(data)
        except OSError:
            pass
        for each in (source, target):
            each.close()

    def serve() -> None:
        while True:
            try:
                near, _ = listening.accept()
            except OSError:
                return
            line = near.recv(65_536).split(b"\r\n")[0].decode()
            asked.append(line)
            host, port = line.split()[1].split(":")
            far = socket.create_connection((host, int(port)))
            near.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            for pair in ((near, far), (far, near)):
                threading.Thread(target=carry, args=pair, daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", asked
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()


def test_a_server_with_a_certificate_of_another_authority_is_not_spoken_to(fed: Federation, tmp_path: Path):
    client, other = fed.admit("north"), Authority(tmp_path / "other")
    wrong = Door(fed.address, other.pem, client.chain_pem, client.key_pem)
    told, stop = list[str](), threading.Event()
    fleet = Fleet(wrong, client.keys.transport_public, stop, told.append)
    threading.Timer(0.3, stop.set).start()
    with pytest.raises(Stopped):
        fleet.activate()
    assert "CERTIFICATE_VERIFY_FAILED" in told[0]
    fleet.close()


def test_a_door_without_files_says_what_to_do(fed: Federation, tmp_path: Path):
    client = fed.authority.client("north")
    with pytest.raises(ConfigError, match="join the federation again"):
        Door(fed.address, fed.authority.pem, client.chain_pem, tmp_path / "none").context()


def test_a_call_that_is_refused_gives_the_reason(fed: Federation):
    client = fed.admit("north")
    fleet = Fleet(door(fed, client), client.keys.transport_public, threading.Event())
    fleet.activate()
    with pytest.raises(CallFailed, match="Flower's error") as caught:
        fleet.run(5)
    assert caught.value.status == httpx.codes.BAD_REQUEST
    fleet.close()
