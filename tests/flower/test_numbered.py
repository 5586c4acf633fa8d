from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.serverapp import Grid

from fedmed.errors import FederationError
from fedmed.flower import identity, numbered
from fedmed.flower.apps import AppRef
from fedmed.flower.inprocess import FIRST_NODE
from fedmed.flower.numbered import NumberedGrid
from fedmed.flower.ours import OwnGrid
from fedmed.flower.ray import Node

DRAWN = {7_771: 1, 42: 2, 900_001: 0}
"""Numbers as Flower draws them, with their partitions."""


class Runtime(Grid):
    """Flower's runtime as its Grid shows it: an answer is handed over once, and asked for again it is an error."""

    def __init__(self, partitions: dict[int, int] = DRAWN) -> None:
        identity.assume(identity.SERVER_NODE)
        self.partitions, self.answers, self.asked = partitions, dict[str, Message](), list[int]()
        self.node = Node(AppRef(Path(__file__).resolve().parents[2], "clients.app:app"), 60.0)

    def get_node_ids(self) -> Iterable[int]:
        return list(self.partitions)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        ids = []
        for message in messages:
            ids.append(f"m{len(self.answers)}")
            identity.set_message_id(message, ids[-1])
            node = message.metadata.dst_node_id
            self.asked.append(node)
            self.answers[ids[-1]] = self.answer(message, node)
        return ids

    def answer(self, message: Message, node: int) -> Message:
        identity.assume(node)
        context = Context(run_id=1, node_id=node, node_config={}, state=RecordDict(), run_config={})
        context.node_config["partition-id"] = self.partitions[node]
        try:
            if message.metadata.message_type == numbered.PLACE:
                return self.node(message, context)
            return Message(RecordDict({"said": ConfigRecord({"node": node})}), reply_to=message)
        finally:
            identity.assume(identity.SERVER_NODE)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        return [self.answers.pop(each) for each in message_ids]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        return self.pull_messages(self.push_messages(messages))

    def set_run(self, run: Any) -> None:
        raise NotImplementedError

    @property
    def run(self) -> Any:
        raise NotImplementedError

    def create_message(self, *args: Any, **kwargs: Any) -> Message:
        raise NotImplementedError


def test_nodes_have_the_numbers_of_their_partitions_both_ways():
    grid = NumberedGrid(runtime := Runtime(), 3)
    assert isinstance(grid, OwnGrid)
    assert list(grid.get_node_ids()) == [FIRST_NODE, FIRST_NODE + 1, FIRST_NODE + 2]
    runtime.asked.clear()
    ids = list(grid.push_messages([Message(RecordDict(), FIRST_NODE + i, "train") for i in range(3)]))
    assert runtime.asked == [900_001, 7_771, 42]
    answers = list(grid.pull_messages(ids))
    assert [answer.metadata.src_node_id for answer in answers] == [FIRST_NODE, FIRST_NODE + 1, FIRST_NODE + 2]
    assert [answer.content["said"]["node"] for answer in answers] == [900_001, 7_771, 42]


def test_an_answer_that_was_not_taken_is_there_the_next_time():
    grid = NumberedGrid(Runtime(), 3)
    ids = list(grid.push_messages([Message(RecordDict(), FIRST_NODE + i, "train") for i in range(3)]))
    lent = grid.borrow_messages(ids)
    first = next(lent).metadata.reply_to_message_id
    lent.close()
    rest = [answer.metadata.reply_to_message_id for answer in grid.borrow_messages(ids[1:])]
    assert [first, *rest] == ids


def test_nodes_of_one_place_end_the_run():
    with pytest.raises(FederationError, match="2 of 3 simulated nodes"):
        NumberedGrid(Runtime({1: 0, 2: 1, 3: 1}), 3)
