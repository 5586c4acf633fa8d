from __future__ import annotations

import gc
import math
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from flwr.app import ConfigRecord, Message, RecordDict

from fedmed.flower import keys
from fedmed.flower.inprocess import FIRST_NODE
from fedmed.flower.lying import Asked, Lie, LyingGrid
from fedmed.flower.ours import OwnGrid
from fedmed.flower.transport import Reply, Transport
from fedmed.flower.virtual import VirtualGrid
from tests.flower.times import NEVER, Instant, Lines, VirtualClock

NODES = list(range(FIRST_NODE, FIRST_NODE + 4))
EACH = pytest.mark.parametrize("workers", [0, 1, 2])
WORK = Lie(1, "one attack", "the same work for another round", "work", header=b"other")
SAID = Lie(1, "another attack", "a request that nobody answers here", "work", said=b"request")


class Script:
    """A liar that tells a node what it is to be told, and writes down what it hears."""

    def __init__(self, told: dict[int, list[Lie]]) -> None:
        self.told, self.times = told, list[float]()
        self.asked, self.honest = list[Asked](), list[int]()
        self.said = list[tuple[int, str, str | None]]()

    def lies(self, asked: Sequence[Asked], now: float) -> list[list[Lie]]:
        self.asked += asked
        self.times.append(now)
        return [self.told.get(each.node, []) for each in asked]

    def answered(self, asked: Asked) -> None:
        self.honest.append(asked.node)

    def heard(self, node: int, lie: Lie, refusal: str | None) -> None:
        self.said.append((node, lie.attack, refusal))


class Stand:
    def __init__(self, grid: Any, trips: Any, told: dict[int, list[Lie]]) -> None:
        self.clock, self.liar = VirtualClock(), Script(told)
        self.grid = LyingGrid(grid, lambda inner: VirtualGrid(inner, trips, self.clock, lambda *_: 10.0), self.liar)
        self.transport = Transport(self.grid, self.clock)

    def all(self, pending: dict[str, int], seconds: float = math.inf) -> dict[int, tuple[float, Reply]]:
        pending, end, came = dict(pending), self.clock.now() + seconds, dict[int, tuple[float, Reply]]()
        while pending and self.clock.now() < end:
            for reply in self.transport.receive(pending, end - self.clock.now()):
                del pending[reply.message_id]
                came[reply.node] = (self.clock.now(), reply)
        return came


@pytest.fixture
def stands(grids) -> Callable[..., Stand]:
    return lambda trips, told, workers=2: Stand(grids(4, workers), trips, told)


@pytest.fixture
def work(messages) -> Callable[..., list[Message]]:
    """Work that belongs to a masked round."""

    def made(nodes: list[int], **order: Any) -> list[Message]:
        found = messages(nodes, **order)
        found[0].content[keys.ROUND] = ConfigRecord({keys.HEADER: b"header", keys.LAYOUT: b"layout"})
        return list(found)

    return made


def test_it_is_one_of_our_grids(stands):
    grid = stands(Instant(), {}, 0).grid
    assert isinstance(grid, OwnGrid)
    assert list(grid.get_node_ids()) == NODES
    assert (grid.lane_of(3), grid.queued(["v1"])) == (0, frozenset())


@EACH
def test_lies_go_before_the_message_and_only_the_liar_hears_what_is_said_to_them(stands, work, workers):
    trips = Lines(1.0, 0.0, {2: 4.0, 3: 1.0, 4: 3.0, 5: 2.0})
    honest = stands(trips, {}, workers)
    lied = stands(trips, {2: [WORK], 3: [SAID, WORK], 5: [SAID]}, workers)
    plain, beside = honest.all(honest.transport.send(work(NODES))), lied.all(lied.transport.send(work(NODES)))
    assert [(at, node) for node, (at, _) in plain.items()] == [(at, node) for node, (at, _) in beside.items()]
    assert lied.transport.bytes_down == honest.transport.bytes_down
    # a site that counts its calls to the app: a lie of the protocol is none
    assert {node: reply.metrics["calls"] for node, (_, reply) in beside.items()} == {2: 2, 3: 2, 4: 1, 5: 1}
    told = [(3, SAID.attack), (3, WORK.attack), (5, SAID.attack), (2, WORK.attack)]
    assert [(node, attack) for node, attack, _ in lied.liar.said] == told
    assert [refusal is None for _, _, refusal in lied.liar.said] == [False, True, False, True]
    assert lied.liar.honest == [3, 5, 4, 2]
    assert lied.liar.asked == [Asked(node, "train", header=b"header") for node in NODES]


@EACH
def test_many_lies_hold_up_no_answer(stands, work, workers):
    stand = stands(Instant(), {node: [SAID] * 20 for node in NODES}, workers)
    for _ in range(3):
        assert stand.all(stand.transport.send(work(NODES))).keys() == set(NODES)
    assert len(stand.liar.said) == 3 * 4 * 20


def test_a_request_of_the_protocol_is_told_to_the_liar_and_what_is_neither_is_not(stands, messages):
    stand = stands(Instant(), {2: [SAID]}, 0)
    request = Message(RecordDict({keys.SAID: ConfigRecord({keys.BYTES: b"asked"})}), 2, keys.PROTOCOL)
    stand.all(stand.transport.send([request, *messages(NODES[1:])]))
    assert stand.liar.asked == [Asked(2, keys.PROTOCOL, said=b"asked")]
    assert stand.liar.honest == [], "an answer that is an error is none"
    assert [node for node, _, _ in stand.liar.said] == [2]


def test_what_was_said_to_lies_whose_message_is_answered_in_vain_is_told_at_the_end(stands, work):
    class Narrow(Lines):
        def trip(self, node, at, down_bytes, work, up_bytes):
            self.lost = lambda node, at: "the line was cut" if node == 3 and up_bytes else ""
            return super().trip(node, at, down_bytes, work, up_bytes)

    stand = stands(Narrow(1.0), {3: [WORK]}, 0)
    assert stand.all(stand.transport.send(work([3, 4])), 60.0).keys() == {4}
    assert stand.liar.said == []
    stand.grid.finish()
    assert stand.liar.said == [(3, WORK.attack, None)]


def test_lies_beside_what_is_given_up_before_it_began_are_remembered_by_nobody(stands, work):
    stand = stands(Lines(1.0, 0.0, dark={3: (0.0, NEVER)}), {3: [WORK]}, 0)
    (message,) = work([3])
    content = weakref.ref(message.content)
    pending = stand.transport.send([message])
    del message
    assert stand.all(pending, 60.0) == {}
    stand.transport.close(pending)
    gc.collect()
    assert content() is None
    stand.grid.finish()
    assert stand.liar.said == []


def test_flowers_own_way_to_ask_works_too(stands, work):
    stand = stands(Instant(), {2: [WORK]}, 0)
    answers = list(stand.grid.send_and_receive(work(NODES)))
    assert sorted(each.metadata.src_node_id for each in answers) == NODES
    assert stand.liar.said == [(2, WORK.attack, None)]
