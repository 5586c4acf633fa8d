from __future__ import annotations

import gc
import itertools
import math
import time
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from flwr.app import ConfigRecord, Error, Message, MetricRecord, RecordDict

from fedmed.flower import arrays, virtual
from fedmed.flower.happenings import Happening
from fedmed.flower.inprocess import FIRST_NODE
from fedmed.flower.ours import OwnGrid
from fedmed.flower.transport import Reply, Transport
from fedmed.flower.virtual import LONGEST_LOOK_S, VirtualGrid, bytes_of
from tests.flower.times import NEVER, Instant, Lines, VirtualClock

NODES = list(range(FIRST_NODE, FIRST_NODE + 4))
EACH = pytest.mark.parametrize("workers", [0, 1, 2])
CASES = 10.0


class Stand:
    """A virtual grid and what it tells."""

    def __init__(self, grid: Any, trips: Any) -> None:
        self.clock, self.told = VirtualClock(), list[Happening]()
        self.grid = VirtualGrid(grid, trips, self.clock, lambda node, kind: CASES, self.told.append)
        self.transport = Transport(self.grid, self.clock)

    def all(self, pending: dict[str, int], seconds: float = math.inf) -> list[tuple[float, int]]:
        """When which node's answer came, until that many virtual seconds have passed."""
        pending, end, came = dict(pending), self.clock.now() + seconds, []
        while pending and self.clock.now() < end:
            for reply in self.transport.receive(pending, end - self.clock.now()):
                del pending[reply.message_id]
                came.append((self.clock.now(), reply.node))
        return came

    def what(self, what: str) -> list[tuple[float, int]]:
        return [(each.at, each.node) for each in self.told if each.what == what]


@pytest.fixture
def stands(grids) -> Callable[..., Stand]:
    return lambda trips, workers=2, sites=4: Stand(grids(sites, workers), trips)


def test_it_is_one_of_our_grids(stands):
    assert isinstance(stands(Instant(), 0).grid, OwnGrid)


@EACH
def test_answers_come_in_the_order_of_virtual_time_whoever_is_done_first(stands, messages, workers):
    stand = stands(Lines(1.0, 0.0, {2: 4.0, 3: 1.0, 4: 3.0, 5: 2.0}), workers)
    really_slow = messages(NODES, do="sleep", seconds=0.2, who=[1])  # node 3, the quickest in virtual time
    assert stand.all(stand.transport.send(really_slow)) == [(12.0, 3), (22.0, 5), (32.0, 4), (42.0, 2)]
    assert stand.what("heard") == [(1.0, node) for node in NODES]
    assert stand.what("done") == [(11.0, 3), (21.0, 5), (31.0, 4), (41.0, 2)]
    assert [each.at for each in stand.told] == sorted(each.at for each in stand.told)


@EACH
def test_at_the_same_moment_whoever_was_asked_first_is_first(stands, messages, workers):
    stand = stands(Instant(), workers)
    sent = messages(NODES[::-1], do="sleep", seconds=0.1, who=[3])
    assert stand.all(stand.transport.send(sent)) == [(0.0, node) for node in NODES[::-1]]


@EACH
def test_the_numbers_are_those_that_the_site_answered(stands, messages, workers):
    stand = stands(Lines(1.0, 0.0, {2: 4.0, 3: 1.0}), workers)
    pending = stand.transport.send(messages(NODES))
    seen: dict[int, Any] = {}
    while len(seen) < 4:
        for reply in stand.transport.receive(pending, 60.0):
            assert pending[reply.message_id] == reply.node
            assert reply.lane == 0
            seen[reply.node] = reply.tensors["w"].copy()
    for i, node in enumerate(NODES):
        np.testing.assert_array_equal(seen[node], np.arange(6, dtype=np.float32).reshape(2, 3) + i + 1)


def test_bytes_of_both_ways_take_their_time(stands, messages):
    stand = stands(Lines(0.5, 0.001), 1)
    [message] = messages(NODES[:1], {"w": np.zeros(1000, np.float32)})
    assert bytes_of(message) == 4000
    [reply] = receive(stand, stand.transport.send([message]), 60.0)
    up = 4000 + 4 * 8  # four numbers
    assert stand.clock.now() == pytest.approx(0.5 + 4.0 + 0.5 + up / 1000)
    assert reply.line_s == pytest.approx(0.5 + up / 1000)
    assert [(each.what, each.bytes) for each in stand.told] == [("sent", 4000), ("heard", 0), ("done", 0), ("there", up)]


def receive(stand: Stand, pending: dict[str, int], wait_s: float) -> list[Reply]:
    found: list[Reply] = []
    while not found and pending:
        found = list(stand.transport.receive(pending, wait_s))
    return found


@EACH
def test_a_lost_answer_never_comes_and_costs_no_real_time(stands, messages, workers):
    stand = stands(Lines(1.0, 0.0, dark={3: (0.0, NEVER)}), workers)
    began = time.monotonic()
    pending = stand.transport.send(messages(NODES, do="hang", who=[1]))
    assert stand.all(pending, 86_400.0) == [(2.0, 2), (2.0, 4), (2.0, 5)]
    assert stand.clock.now() == 86_400.0
    assert time.monotonic() - began < 60
    assert stand.what("lost") == [(0.0, 3)]
    assert [each.why for each in stand.told if each.what == "lost"] == ["dark"]


def test_what_is_given_up_and_never_comes_is_remembered_by_nobody(stands, messages):
    stand = stands(Lines(1.0, 0.0, dark={3: (0.5, NEVER)}), 0)
    pending = stand.transport.send(messages([3]))
    content = weakref.ref(stand.grid._by_id[next(iter(pending))].message)
    assert stand.all(pending, 60.0) == []
    stand.transport.close(pending)
    gc.collect()
    assert content() is None


def test_an_answer_may_be_lost_by_its_bytes_alone(stands, messages):
    class Narrow(Lines):
        def trip(self, node, at, down_bytes, work, up_bytes):
            self.lost = lambda node, at: "the line was cut" if up_bytes > 100 else ""
            return super().trip(node, at, down_bytes, work, up_bytes)

    stand = stands(Narrow(1.0), 2)
    assert stand.all(stand.transport.send(messages(NODES[:1], {"w": np.zeros(100)})), 90.0) == []
    assert stand.what("lost") == [(2.0, 2)]
    assert stand.all(stand.transport.send(messages(NODES[:1], {"w": np.zeros(1)})), 90.0) == [(92.0, 2)]


@EACH
def test_a_late_answer_comes_late_and_the_next_message_waits_for_its_node(stands, messages, workers):
    stand = stands(Lines(0.0, 0.0, {2: 1.0, 3: 9.0}), workers)
    first = stand.transport.send(messages(NODES[:2]))
    assert stand.all(first, 20.0) == [(10.0, 2)]
    stand.transport.close([each for each, node in first.items() if node == 3])
    second = stand.transport.send(messages(NODES[:2]))
    assert stand.all({**first, **second}, 200.0)[:1] == [(30.0, 2)]
    assert stand.what("there") == [(10.0, 2), (30.0, 2), (90.0, 3), (180.0, 3)]


@EACH
def test_what_no_site_has_begun_is_withdrawn_and_the_site_never_hears_of_it(stands, messages, workers):
    stand = stands(Lines(0.0, 0.0, {2: 1.0, 3: 9.0}, dark={4: (0.0, 300.0)}), workers)
    slow, dark = stand.transport.send(messages([3, 4])), stand.transport.send(messages([3]))
    assert stand.all(slow | dark, 50.0) == []
    stand.transport.close(slow | dark)
    assert stand.what("withdrawn") == []
    last = stand.transport.send(messages([3, 4]))
    assert stand.all(last, 500.0) == [(180.0, 3), (300.0, 4)]
    assert stand.what("withdrawn") == [(50.0, 4), (50.0, 3)]
    replies = {reply.node: reply for reply in receive(stand, stand.transport.send(messages([3, 4])), 600.0)}
    assert replies[4].metrics["calls"] == 2
    assert receive(stand, stand.transport.send(messages([3])), 600.0)[0].metrics["calls"] == 4


@EACH
def test_work_whose_answer_is_lost_is_done_all_the_same(stands, messages, workers):
    stand = stands(Lines(1.0, 0.0, lost=lambda node, at: "cut" if at < 5 else ""), workers)
    assert stand.all(stand.transport.send(messages(NODES[:1])), 10.0) == []
    [reply] = receive(stand, stand.transport.send(messages(NODES[:1])), 60.0)
    assert reply.metrics["calls"] == 2


def test_who_is_away_is_no_node_but_when_sites_meet_all_are_there(stands, messages):
    stand = stands(Lines(1.0, dark={3: (0.0, 40.0)}), 1)
    assert stand.transport.nodes() == NODES
    answers = stand.transport.ask("query.describe", NODES, "who?", 30)
    assert sorted(answers) == NODES
    assert stand.clock.now() == 0.0
    pending = stand.transport.send(messages(NODES))
    assert stand.transport.nodes() == [2, 4, 5]
    assert stand.all(pending, 60.0) == [(2.0, 2), (2.0, 4), (2.0, 5), (42.0, 3)]
    assert stand.transport.nodes() == NODES


def test_nobody_is_waited_for_longer_than_signs_of_life_are_apart(stands, messages):
    stand = stands(Lines(dark={2: (0.0, NEVER)}), 0)
    assert list(stand.transport.receive(stand.transport.send(messages([2])), math.inf)) == []
    assert stand.clock.now() == LONGEST_LOOK_S


@EACH
def test_an_app_that_raises_or_dies_is_an_answer_of_its_own_time(stands, messages, workers):
    stand = stands(Lines(1.0, 0.0, {2: 1.0}), workers)
    do = "die" if workers else "raise"
    pending = stand.transport.send(messages(NODES, do=do, who=[0]))
    errors = {}
    while len(errors) < 4:
        errors |= {reply.node: (stand.clock.now(), reply.error) for reply in stand.transport.receive(pending, 60.0)}
    assert errors[2][0] == 12.0
    assert ("exit code 7" if workers else "site 0 raises this") in errors[2][1]
    assert [errors[node] for node in NODES[1:]] == [(2.0, None)] * 3


def test_with_much_held_only_what_is_in_the_way_is_read(stands, messages, monkeypatch):
    def run() -> list[tuple[float, int]]:
        stand = stands(Lines(1.0, 0.0, dict(zip(range(2, 14), itertools.cycle((9.0, 1.0, 5.0)), strict=False))), 2, 12)
        asked = messages(list(range(2, 14)), {"w": np.zeros(1000)})
        return stand.all(stand.transport.send(asked))

    came = run()
    monkeypatch.setattr(virtual, "HELD_BYTES", 1)
    assert run() == came
    assert len(came) == 12


@EACH
def test_flowers_own_way_of_sending_works_too(stands, messages, workers):
    stand = stands(Lines(1.0, 0.0, {2: 9.0}), workers)
    replies = list(stand.grid.send_and_receive(messages(NODES), timeout=10))
    assert [reply.metadata.src_node_id for reply in replies] == [3, 4, 5]
    assert stand.clock.now() == 10.0


def test_bytes_of_all_that_a_message_carries():
    content = RecordDict(
        {
            "arrays": arrays.borrow({"w": np.zeros(5, np.float32)}),
            "metrics": MetricRecord({"a": 1, "b": [1.0, 2.0]}),
            "config": ConfigRecord({"text": "é", "bytes": b"123", "list": ["ab", "c"]}),
        }
    )
    message = Message(content, 2, "train")
    assert bytes_of(message) == 20 + 24 + 2 + 3 + 3
    message.metadata.__dict__["_message_id"] = "m1"
    assert bytes_of(Message(Error(2, "é!"), reply_to=message)) == 3
