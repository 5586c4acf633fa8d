"""What the round loop needs of a Grid, in plain values: send, receive in any order, give up."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from flwr.app import ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid

from fedmed.clock import Clock
from fedmed.errors import FederationError
from fedmed.flower import keys
from fedmed.flower.arrays import all_views, numbers
from fedmed.flower.direct import DirectGrid
from fedmed.flower.keys import CONFIG_KEY
from fedmed.flower.lasting import Course, Lasting, Value
from fedmed.flower.ours import Crowding, MaskedCrowding, OwnGrid, Queueing
from fedmed.wire.tensors import Tensors

GRACE_S = 5.0  # that those have whose answers are not needed any more
POLL_S = 0.05  # between two looks at a grid that cannot wait


@dataclass(frozen=True)
class Reply:
    """A node's answer. The tensors of an in-process answer are valid until the next one is received."""

    node: int
    message_id: str
    error: str | None = None
    tensors: Tensors = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    message: Message | None = None
    lane: int = 0
    line_s: float = 0.0
    """Seconds that it was on its way, as far as that was seen."""


class Waiting(Protocol):
    """How long answers to messages that went out together are waited for; see `fedmed.federation.patience`."""

    def due(self, nodes: Collection[int]) -> float:
        """When it ends if none of `nodes` answers, on the clock's scale."""

    def heard(self, node: int, seconds: float, line_s: float) -> None:
        """An answer came, so long after its message went out; infinitely long where that is not known."""

    def over(self, nodes: Iterable[int]) -> None:
        """It has ended, and these had not answered."""


Begin = Callable[[Collection[int], float], Waiting]
"""Begins the waiting for some nodes, whose messages went out at a moment on the clock's scale."""


class Transport:
    """Messages over any Flower Grid; our own can also wait, cancel and lend memory."""

    def __init__(self, grid: Grid, clock: Clock, course: Course | None = None) -> None:
        """`course`: for a `DirectGrid` whose messages a later process shall go on with."""
        self.grid = grid
        if course is not None and not isinstance(grid, DirectGrid):
            raise FederationError(f"a {type(grid).__name__} ends with its process; what lasts needs a DirectGrid")
        self._lasting = Lasting(grid, course) if course is not None and isinstance(grid, DirectGrid) else None
        self._clock = clock
        self._own: OwnGrid | None = grid if isinstance(grid, OwnGrid) else None
        self._queue: Queueing | None = grid if isinstance(grid, Queueing) else None
        self.crowd: Crowding | None = grid if isinstance(grid, Crowding) else None
        """Nodes that are trained together, where they are; `masked_crowd`: and mask."""
        self.masked_crowd: MaskedCrowding | None = grid if isinstance(grid, MaskedCrowding) else None
        self.bytes_down = 0
        self.bytes_up = 0
        self.said_down = 0
        """Bytes of a protocol's requests, which are no tensors; `said_up` those of its answers."""
        self.said_up = 0

    def nodes(self) -> list[int]:
        """Nodes that are online."""
        return sorted(self.grid.get_node_ids())

    def take_up(self, after: int) -> bool:
        """Whether messages of an earlier process are gone on with, after the commit of round `after` (0: none yet)."""
        return self._lasting is not None and self._lasting.take_up(after)

    def committed(self, number: int) -> None:
        """The commit of round `number` is on the disk: nothing that led to it is needed any more."""
        if self._lasting is not None:
            self._lasting.committed(number)

    def draw(self, name: str, make: Callable[[], Value]) -> Value:
        """What `make` takes from outside; a process that goes on takes what the earlier one took."""
        return make() if self._lasting is None else self._lasting.course.draw(name, make)

    @property
    def lasts(self) -> bool:
        """Whether a later process can go on with what is sent."""
        return self._lasting is not None

    @property
    def steps_left(self) -> int:
        """What an earlier process had done and this one has not gone through yet."""
        return 0 if self._lasting is None else self._lasting.course.steps_left

    @property
    def waited_s(self) -> float:
        """Seconds that an earlier process waited for what was sent last; infinite where it had ended the waiting."""
        return 0.0 if self._lasting is None else self._lasting.course.waited_s

    def await_nodes(self, expected: int, timeout_s: float) -> None:
        """Wait until `expected` nodes are online. Raises FederationError after `timeout_s` seconds."""
        end = self._clock.now() + timeout_s
        while (online := len(self.nodes())) < expected:
            if self._clock.now() >= end:
                raise FederationError(f"{online} of {expected} sites are online after {timeout_s:g} s; start the others")
            self._clock.sleep(POLL_S)

    def send(self, messages: Iterable[Message]) -> dict[str, int]:
        """Send; returns the node of each message id."""
        messages = list(messages)
        sizes: dict[int, int] = {}
        for message in messages:
            if id(message.content) not in sizes:
                sizes[id(message.content)] = size_of(message.content)
        self.bytes_down += sum(sizes[id(message.content)] for message in messages)
        ids = list(self._lasting.send(messages) if self._lasting else self.grid.push_messages(messages))
        return {message_id: message.metadata.dst_node_id for message_id, message in zip(ids, messages, strict=True)}

    def receive(self, ids: Iterable[str], wait_s: float) -> Iterator[Reply]:
        """Answers that are there; when there are none, waits up to `wait_s` seconds for the first."""
        ids = list(ids)
        found = False
        if self._lasting:
            yield from map(self._plain, self._lasting.receive(ids, wait_s))
            return
        for message in self._own.borrow_messages(ids) if self._own else self.grid.pull_messages(ids):
            found = True
            yield self._plain(message)
        if found or not ids:
            return
        if self._own:
            self._own.wait(wait_s)
        else:
            self._clock.sleep(max(0.0, min(wait_s, POLL_S)))

    def again(self, message_id: str) -> Tensors:
        """The tensors of an answer that was received before; on a grid that `lasts`, until its round is committed.

        Raises CourseLost where it is gone.
        """
        assert self._lasting is not None
        return all_views(self._lasting.again(message_id).content)

    def queued(self, ids: Iterable[str]) -> frozenset[str]:
        """Those of `ids` that perhaps no site has begun to work on; empty on a grid that does not tell."""
        return self._queue.queued(ids) if self._queue else frozenset()

    def cancel(self, ids: Iterable[str]) -> None:
        """Stop waiting for these; an in-process site that still works on one is stopped."""
        if self._own:
            self._own.cancel(ids)

    def close(self, ids: Iterable[str]) -> None:
        """What was sent last is waited for no more; these have not answered."""
        if self._lasting:
            self._lasting.close(ids)
        else:
            self.cancel(ids)

    def ask(self, kind: str, nodes: Iterable[int], text: str, timeout_s: float) -> dict[int, Reply]:
        """Send one query to each node and collect the answers that come in time."""
        content = RecordDict({"config": ConfigRecord({CONFIG_KEY: text})})
        answers: dict[int, Reply] = {}
        for reply in self._exchange([Message(content, node, kind) for node in nodes], lambda _, at: _Until(at + timeout_s)):
            answers[reply.node] = reply
        return answers

    def exchange(
        self, kind: str, requests: Mapping[int, bytes], begin: Begin, is_enough: Callable[[], bool] = lambda: False
    ) -> Iterator[Reply]:
        """Send each node its own bytes; the answers as they come, until all are there or the waiting is over.

        Once `is_enough`, looked at after each answer, the others have `GRACE_S` seconds left.
        """
        if self.masked_crowd is not None:
            yield from self._at_once(self.masked_crowd, kind, requests, is_enough)
            return
        messages = [
            Message(RecordDict({keys.SAID: ConfigRecord({keys.BYTES: said})}), node, kind) for node, said in requests.items()
        ]
        self.said_down += sum(map(len, requests.values()))
        for reply in self._exchange(messages, begin, is_enough):
            answer = reply.config.get(keys.BYTES)
            self.said_up += len(answer) if isinstance(answer, bytes) else 0
            yield reply

    def _at_once(
        self, crowd: MaskedCrowding, kind: str, requests: Mapping[int, bytes], is_enough: Callable[[], bool]
    ) -> Iterator[Reply]:
        self.said_down += sum(map(len, requests.values()))
        for node, said, error in crowd.answer_all(kind, requests):
            self.said_up += len(said)
            yield Reply(node, "", error=error, config={keys.BYTES: said})
            if is_enough():
                return

    def _exchange(
        self, messages: Iterable[Message], begin: Begin, is_enough: Callable[[], bool] = lambda: False
    ) -> Iterator[Reply]:
        began, grace = self._clock.now(), math.inf
        pending = self.send(messages)
        began -= self.waited_s
        waiting = begin(set(pending.values()), began)
        while pending:
            end = min(grace, waiting.due(set(pending.values())))
            for reply in self.receive(pending, end - self._clock.now()):
                node = pending.pop(reply.message_id, None)
                if node is not None:
                    if reply.error is None:
                        waiting.heard(node, self.measured(began), reply.line_s)
                    yield replace(reply, node=node)  # whom it was sent to, whatever the answer says of itself
                    grace = min(grace, self._clock.now() + GRACE_S) if is_enough() else grace
            if self._clock.now() >= min(grace, waiting.due(set(pending.values()))):
                break
        if pending and math.isinf(grace):
            waiting.over(pending.values())
        self.close(pending)

    def measured(self, began: float) -> float:
        """Seconds since then; infinite where an earlier process sent what is waited for, and its time is not known."""
        return math.inf if self.waited_s else self._clock.now() - began

    def _plain(self, message: Message) -> Reply:
        node, message_id = message.metadata.src_node_id, message.metadata.reply_to_message_id
        lane = self._own.lane_of(node) if self._own else 0
        if message.has_error():
            return Reply(node, message_id, error=message.error.reason or "unknown error", message=message, lane=lane)
        content = message.content
        tensors = all_views(content)
        self.bytes_up += sum(value.nbytes for value in tensors.values())
        return Reply(
            node,
            message_id,
            tensors=tensors,
            metrics=numbers(content, MetricRecord),
            config=numbers(content, ConfigRecord),
            message=message,
            lane=lane,
            line_s=self._own.line_s(message_id) if self._own else 0.0,
        )


@dataclass(frozen=True)
class _Until:
    """A time that is the same for all."""

    end: float

    def due(self, nodes: Collection[int]) -> float:
        """See `Waiting`."""
        return self.end

    def heard(self, node: int, seconds: float, line_s: float) -> None:
        """Nothing is measured."""

    def over(self, nodes: Iterable[int]) -> None:
        """Nothing is measured."""


def size_of(content: RecordDict) -> int:
    """Bytes of the tensors in `content`; records of numbers and settings are small beside them."""
    return sum(value.nbytes for value in all_views(content).values())
