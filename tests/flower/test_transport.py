from __future__ import annotations

import time

import numpy as np
import pytest
from flwr.app import ConfigRecord, Error, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid

from fedmed.clock import SystemClock
from fedmed.errors import FederationError
from fedmed.federation.mean import WeightedMean
from fedmed.flower import arrays
from fedmed.flower.inprocess import FIRST_NODE
from fedmed.flower.transport import POLL_S, Reply, Transport, size_of

NODES = list(range(FIRST_NODE, FIRST_NODE + 4))
BOTH = pytest.mark.parametrize("workers", [0, 2])


class Post(Grid):
    """Any Flower Grid that is not ours: answers appear when the test says so."""

    def __init__(self, nodes: list[int]) -> None:
        self.nodes, self.sent, self.ready = nodes, {}, []

    def get_node_ids(self):
        return reversed(self.nodes)

    def push_messages(self, messages):
        ids = [f"p{len(self.sent) + i}" for i, _ in enumerate(messages)]
        self.sent |= dict(zip(ids, messages, strict=True))
        return ids

    def answer(self, message_id: str, content: RecordDict | Error) -> None:
        message = self.sent[message_id]
        message.metadata.__dict__["_message_id"] = message_id
        self.ready.append(Message(content, reply_to=message))

    def pull_messages(self, message_ids):
        asked = set(message_ids)
        found = [reply for reply in self.ready if reply.metadata.reply_to_message_id in asked]
        self.ready = [reply for reply in self.ready if reply not in found]
        return found

    def _unused(self, *_, **__):
        raise AssertionError("the transport pushes and pulls, and does nothing else")

    set_run = create_message = send_and_receive = _unused
    run = property(_unused)


class Hands:
    """A clock that moves only when somebody sleeps."""

    def __init__(self) -> None:
        self.time, self.slept = 100.0, []

    def now(self) -> float:
        self.time += 1e-4  # even looking takes time
        return self.time

    def unix(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        if seconds < 0:
            raise ValueError("sleep length must be non-negative")
        self.slept.append(seconds)
        self.time += seconds


def receive_all(transport: Transport, pending: dict[str, int]) -> dict[int, Reply]:
    seen, end = {}, time.monotonic() + 30
    while len(seen) < len(pending) and time.monotonic() < end:
        for reply in transport.receive(pending, 1.0):
            kept = {name: value.copy() for name, value in reply.tensors.items()}
            seen[reply.node] = (reply, kept)
    return seen


@BOTH
def test_answers_come_as_plain_values(grids, messages, workers):
    grid = grids(workers=workers)
    transport = Transport(grid, SystemClock())
    assert transport.nodes() == NODES
    pending = transport.send(messages(NODES, {"w": np.zeros(5, np.float32)}, do="raise", who=[3]))
    assert sorted(pending.values()) == NODES
    seen = receive_all(transport, pending)
    for i, node in enumerate(NODES[:3]):
        reply, tensors = seen[node]
        assert reply.error is None
        assert tensors["w"].tolist() == [i + 1] * 5
        assert reply.metrics["num-examples"] == 10
        assert pending[reply.message_id] == node
        assert reply.lane == grid.lane_of(node)
    assert seen[NODES[3]][0].error == "ValueError: site 3 raises this"
    assert seen[NODES[3]][0].tensors == {}


@BOTH
def test_bytes_count_every_tensor_that_travels(grids, messages, workers):
    transport = Transport(grids(workers=workers), SystemClock())
    model = {"w": np.zeros(5, np.float32), "n": np.array(1)}
    receive_all(transport, transport.send(messages(NODES, model, do="raise", who=[0])))
    assert transport.bytes_down == 4 * (5 * 4 + 8)
    assert transport.bytes_up == 3 * (5 * 4 + 8)
    assert size_of(messages(NODES[:1], model)[0].content) == 28


@BOTH
def test_a_query_is_asked_of_every_node(grids, workers):
    answers = Transport(grids(workers=workers), SystemClock()).ask("query.describe", NODES, "who?", 30)
    assert {node: reply.config["fedmed.order"] for node, reply in answers.items()} == {
        node: f"site {i}" for i, node in enumerate(NODES)
    }


def test_cancelled_messages_are_given_up(grids, messages):
    transport = Transport(grids(2, 2), SystemClock())
    pending = transport.send(messages(NODES[:2], do="hang", who=[0]))
    seen = receive_all(transport, {k: v for k, v in pending.items() if v == NODES[1]})
    assert sorted(seen) == [NODES[1]]
    transport.cancel(pending)
    again = transport.send(messages(NODES[:2]))
    assert sorted(receive_all(transport, again)) == NODES[:2]


def test_nothing_to_wait_for_takes_no_time(grids):
    transport, began = Transport(grids(1, 1), SystemClock()), time.monotonic()
    assert list(transport.receive([], 60)) == []
    assert time.monotonic() - began < 5


def test_a_grid_that_cannot_wait_is_looked_at_often():
    clock, post = Hands(), Post([7, 3])
    transport = Transport(post, clock)
    assert transport.nodes() == [3, 7]
    pending = transport.send([Message(RecordDict({"m": MetricRecord({"a": 1})}), node, "train") for node in (3, 7)])
    assert list(transport.receive(pending, 5)) == []
    assert clock.slept == [POLL_S]
    post.answer("p0", RecordDict({"arrays": arrays.own({"w": np.ones(2)}), "metrics": MetricRecord({"x": 1.5})}))
    post.answer("p1", Error(1, ""))
    first, second = transport.receive(pending, 5)
    assert (first.node, first.metrics, first.tensors["w"].tolist(), first.lane) == (3, {"x": 1.5}, [1, 1], 0)
    assert (second.node, second.error) == (7, "unknown error")
    assert clock.slept == [POLL_S]


def test_a_deadline_that_has_just_passed_is_no_error():
    clock = Hands()
    transport = Transport(Post([3]), clock)
    pending = transport.send([Message(RecordDict(), 3, "train")])
    assert list(transport.receive(pending, -0.001)) == []
    assert clock.slept == [0.0]


def test_a_query_that_nobody_answers_ends_in_time():
    clock, post = Hands(), Post([3, 7])
    transport = Transport(post, clock)
    assert transport.ask("query.describe", [3, 7], "who?", 2.0) == {}
    assert 102 <= clock.time < 102.2
    config = post.sent["p0"].content["config"]
    assert isinstance(config, ConfigRecord)
    assert config["fedmed.order"] == "who?"


def test_nodes_that_never_come_online_end_the_wait_with_their_number():
    clock = Hands()
    Transport(Post([3, 7]), clock).await_nodes(2, 5)
    assert clock.slept == []
    with pytest.raises(FederationError, match="2 of 3 sites are online after 5 s"):
        Transport(Post([3, 7]), clock).await_nodes(3, 5)
    assert 105 <= clock.time < 105.2


def test_who_answers_first_does_not_change_a_bit_of_the_mean(grids, messages):
    transport = Transport(grids(6, 2), SystemClock())
    model = {"w": np.random.default_rng(1).normal(size=1000).astype(np.float32)}
    orders, means = set(), set()
    for slow in ([0], [1], [0, 1, 2], []):
        pending = transport.send(messages(list(range(FIRST_NODE, FIRST_NODE + 6)), model, do="sleep", seconds=0.2, who=slow))
        mean, came = WeightedMean(model), []
        while len(came) < 6:
            for reply in transport.receive(pending, 5.0):
                mean.add(reply.lane, reply.tensors, 0.1 + reply.metrics["number"])
                came.append(reply.node)
        orders.add(tuple(came))
        means.add(mean.result()["w"].tobytes())
    assert len(orders) > 1
    assert len(means) == 1
