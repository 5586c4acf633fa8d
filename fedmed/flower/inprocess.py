"""A Flower Grid on one machine without sockets: the ClientApp runs in persistent one-thread processes or in the caller."""

from __future__ import annotations

import shutil
from collections.abc import Generator, Iterable, Sequence
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from flwr.app import Message

from fedmed.clock import Clock, SystemClock
from fedmed.flower import arrays, identity, packing
from fedmed.flower.apps import AppRef
from fedmed.flower.grids import OneRun
from fedmed.flower.lanes import Lane, assign, server_context
from fedmed.flower.orphans import make_owned, memory_folder
from fedmed.flower.parcels import owned
from fedmed.flower.waiting import send_and_receive
from fedmed.flower.worker import Sites, common_slot

FIRST_NODE = 2  # Flower keeps 1 for the server
LONGEST_WAIT_S = 86_400.0  # the operating system counts a wait in milliseconds of 32 bits


class InProcessGrid(OneRun):
    """Sites of one machine behind Flower's Grid interface.

    A node belongs to one process for the whole run, so that Flower's client state stays with it and the answers of one
    process come in one order; `lane_of` names that process. `workers=0` calls the app in the caller: nothing can be
    cancelled then.
    """

    def __init__(
        self,
        ref: AppRef,
        nodes: Sequence[dict[str, Any]],
        loads: Sequence[float],
        workers: int,
        run_config: dict[str, Any] | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Start the processes. `nodes` are Flower node configs, `loads` their relative work, in the same order."""
        self._clock = clock or SystemClock()
        identity.assume(identity.SERVER_NODE)
        self._configs = {FIRST_NODE + i: config for i, config in enumerate(nodes)}
        self._count = 0
        self._queue: dict[str, Message] = {}  # only without processes: called one by one, when answers are asked for
        self._lanes: list[Lane] = []
        self._folder: Path | None = None
        self._common: packing.Slot | None = None
        self._sites: Sites | None = None
        groups = assign(zip(self._configs, loads, strict=True), max(1, min(workers, len(nodes))))
        self._lane_of = {node: lane for lane, group in enumerate(groups) for node in group}
        if workers == 0:
            self._sites = Sites(ref, self._configs, run_config or {})
            identity.assume(identity.SERVER_NODE)
            return
        self._folder = memory_folder()
        self._common = common_slot(self._folder)
        context = server_context(ref)
        for index, group in enumerate(groups):
            members = {node: self._configs[node] for node in group}
            self._lanes.append(Lane(index, self._folder, ref, members, run_config or {}, context))
        self._lock = make_owned(self._folder)  # from here on there are processes that remove it if this one is killed

    @property
    def clock(self) -> Clock:
        """The time that it goes by."""
        return self._clock

    def get_node_ids(self) -> Iterable[int]:
        """All nodes; they are always online."""
        return list(self._configs)

    def lane_of(self, node: int) -> int:
        """The process that a node belongs to."""
        return self._lane_of[node]

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Queue messages with their nodes' processes; returns their ids."""
        ids, messages = [], list(messages)
        down = self._lay_down(messages)
        for message in messages:
            self._count += 1
            message_id = f"m{self._count}"
            identity.set_message_id(message, message_id)
            ids.append(message_id)
            if self._sites is not None:
                self._queue[message_id] = message
            else:
                self._lanes[self._lane_of[message.metadata.dst_node_id]].push(message, down)
        for lane in self._lanes:
            lane.dispatch()
        return ids

    def _lay_down(self, messages: Sequence[Message]) -> str:
        """Put the tensors that all messages share where every process reads them, if nobody reads there now."""
        for lane in self._lanes:
            lane.forget_what_was_sent()
        if self._common is None or not all(lane.is_idle for lane in self._lanes) or not _share_one_record(messages):
            return "own"
        self._common.put(packing.flatten(messages[0].content))
        return "all"

    def borrow_messages(self, message_ids: Iterable[str]) -> Generator[Message, None, None]:
        """Answers that are ready, one by one; an answer's arrays are valid until the next one is asked for."""
        ids = frozenset(message_ids)
        for message_id in [known for known in self._queue if known in ids]:
            yield self._call_here(self._queue.pop(message_id))
        for lane in self._lanes:
            lane.collect()
            if (reply := lane.reply_for(ids)) is not None:
                try:
                    yield reply
                finally:
                    lane.release()

    def _call_here(self, message: Message) -> Message:
        assert self._sites is not None
        reply = self._sites.call(message)
        identity.assume(identity.SERVER_NODE)
        return reply

    def line_s(self, asked: str) -> float:
        """None: processes of one machine share their memory."""
        return 0.0

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Answers that are ready, with arrays of their own, as Flower code expects them."""
        replies = []
        for reply in self.borrow_messages(message_ids):
            if reply.has_content():
                reply.content = owned(reply.content)
            replies.append(reply)
        return replies

    def wait(self, timeout_s: float) -> None:
        """Block until a process has something to say, at most `timeout_s` seconds."""
        if self._lanes:
            wait([lane.connection for lane in self._lanes], min(timeout_s, LONGEST_WAIT_S))

    def queued(self, message_ids: Iterable[str]) -> frozenset[str]:
        """Those of the messages that still wait behind others of their process."""
        return frozenset(message_ids) & frozenset[str]().union(*(lane.queued() for lane in self._lanes))

    def cancel(self, message_ids: Iterable[str]) -> None:
        """Give up on these messages; processes that work on them are replaced."""
        ids = frozenset(message_ids)
        for message_id in ids & set(self._queue):
            del self._queue[message_id]
        for lane in self._lanes:
            lane.cancel(ids)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Push, then wait for all answers, or for those that come within `timeout` seconds."""
        return send_and_receive(self, self._clock, messages, timeout, 1.0)

    def close(self) -> None:
        """End all processes and free the shared memory."""
        for lane in self._lanes:
            lane.close()
        self._lanes = []
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._lock.close()

    def __enter__(self) -> InProcessGrid:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _share_one_record(messages: Sequence[Message]) -> bool:
    """Whether every message carries the same record of tensors, and nothing else of the kind."""
    if not messages:
        return False
    first = list(arrays.array_records(messages[0].content).items())
    return len(first) == 1 and all(
        len(records := list(arrays.array_records(message.content).items())) == 1
        and records[0][0] == first[0][0]
        and records[0][1] is first[0][1]
        for message in messages
    )
