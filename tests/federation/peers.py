"""Whole sites in memory as test doubles: a Grid that answers as told, on a clock that the test owns."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from flwr.app import ConfigRecord, Error, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid

from fedmed.clock import generator
from fedmed.flower import arrays, identity
from fedmed.flower.client import order_in, tensors_in
from fedmed.flower.keys import CONFIG_KEY, WEIGHT_KEY

Answers = list[tuple[float, Message]]
"""Seconds from now, and what comes then."""
Act = Callable[["Peer", Message], Answers]


class FakeClock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.time = 1000.0

    def now(self) -> float:
        return self.time

    def unix(self) -> float:
        return 1.7e9 + self.time

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.time += max(seconds, 1e-6)


def reply(message: Message, tensors: dict[str, Any], metrics: dict[str, Any]) -> Message:
    content = RecordDict({"metrics": MetricRecord(metrics)})
    if tensors:
        content["arrays"] = arrays.own(tensors)
    return Message(content, reply_to=message)


def trained(peer: Peer, message: Message) -> tuple[dict[str, Any], dict[str, Any]]:
    """What an honest site makes of a model: the same for the same site, order and model."""
    rng = generator(1, peer.name, order_in(message))
    made = {
        name: value + rng.normal(size=value.shape).astype(value.dtype) if value.dtype.kind == "f" else value + 1
        for name, value in tensors_in(message).items()
    }
    return made, {WEIGHT_KEY: peer.examples, "loss": float(rng.uniform())}


def honest(peer: Peer, message: Message) -> Answers:
    match message.metadata.message_type:
        case "query.describe":
            content = RecordDict({"answer": ConfigRecord({CONFIG_KEY: json.dumps(peer.description())})})
            return [(0.0, Message(content, reply_to=message))]
        case "train":
            return [(0.0, reply(message, *trained(peer, message)))]
    return [(0.0, reply(message, {}, {WEIGHT_KEY: 4, "loss": 0.5, "auc": 0.75}))]


def silent(peer: Peer, message: Message) -> Answers:
    return []


def erring(peer: Peer, message: Message) -> Answers:
    return [(0.0, Message(Error(2, "ValueError: the scanner is on fire"), reply_to=message))]


def twice(peer: Peer, message: Message) -> Answers:
    return honest(peer, message) * 2


def after(seconds: float) -> Act:
    return lambda peer, message: [(seconds, answer) for _, answer in honest(peer, message)]


def spoilt(spoil: Callable[[dict[str, Any], dict[str, Any]], None]) -> Act:
    """An answer in which `spoil` changed the tensors or the metrics."""

    def act(peer: Peer, message: Message) -> Answers:
        tensors, metrics = trained(peer, message)
        spoil(tensors, metrics)
        return [(0.0, reply(message, tensors, metrics))]

    return act


def poisoned(value: float) -> Act:
    return spoilt(lambda tensors, _: tensors.update(w=np.full_like(tensors["w"], value)))


def says(**metrics: Any) -> Act:
    """Metrics other than an honest site's; None leaves one out."""

    def act(peer: Peer, message: Message) -> Answers:
        tensors, told = trained(peer, message) if message.metadata.message_type == "train" else ({}, {WEIGHT_KEY: 4})
        told = {name: value for name, value in (told | metrics).items() if value is not None}
        return [(0.0, reply(message, tensors, told))]

    return act


@dataclass
class Peer:
    """One site, and how it behaves: `acts` by kind of message, `at` by the number of a training request, from 1."""

    name: str
    examples: int = 10
    acts: dict[str, Act] = field(default_factory=dict)
    at: dict[int, Act] = field(default_factory=dict)
    trainings: int = 0

    def description(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "classes": ["well", "ill"],
            "inputs": [3],
            "examples": {"train": self.examples, "validation": 4, "test": 4},
            "class_counts": [self.examples // 2, self.examples - self.examples // 2],
        }

    def answers(self, message: Message) -> Answers:
        kind = message.metadata.message_type
        act = self.acts.get(kind, honest)
        if kind == "train":
            self.trainings += 1
            act = self.at.get(self.trainings, act)
        return act(self, message)


class FakeGrid(Grid):
    """Peers behind Flower's Grid interface; answers come when the clock says so, in the order in which they fall due."""

    def __init__(self, peers: Iterable[Peer], clock: FakeClock) -> None:
        identity.assume(identity.SERVER_NODE)
        self.peers = {10 + number: peer for number, peer in enumerate(peers)}
        self.clock = clock
        self.sent: list[Message] = []
        self._due: list[tuple[float, Message]] = []

    def node(self, name: str) -> int:
        return next(node for node, peer in self.peers.items() if peer.name == name)

    def get_node_ids(self) -> Iterable[int]:
        return list(self.peers)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        ids = []
        for message in messages:
            self.sent.append(message)
            ids.append(f"m{len(self.sent)}")
            identity.set_message_id(message, ids[-1])
            node = message.metadata.dst_node_id
            for delay, answer in self.peers[node].answers(message):
                self._due.append((self.clock.now() + delay, answer))
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        wanted = set(message_ids)
        ready = [
            (due, answer)
            for due, answer in self._due
            if due <= self.clock.now() and answer.metadata.reply_to_message_id in wanted
        ]
        self._due = [item for item in self._due if item not in ready]
        return [answer for _, answer in sorted(ready, key=lambda item: item[0])]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        raise AssertionError("the round loop sends and receives by itself")

    def set_run(self, run: Any) -> None:
        raise AssertionError("one grid, one run")

    run = None

    def create_message(self, *_: Any, **__: Any) -> Message:
        raise AssertionError("deprecated")
