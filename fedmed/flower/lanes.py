"""One site process and the messages waiting for it: started, spoken to, and replaced when it hangs or dies."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

from flwr.app import ArrayRecord, Message

from fedmed.flower import packing, preload
from fedmed.flower.apps import AppRef, add_root
from fedmed.flower.arrays import array_records
from fedmed.flower.worker import READY, SharedMemory, serve

CRASHED = 8  # Flower's ErrorCode.CLIENT_APP_CRASHED
STOP_S = 2.0  # seconds a process has to end by itself


def server_context(ref: AppRef) -> ForkServerContext:
    """Processes forked from a clean one-thread server that has imported the app already."""
    add_root(ref)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([preload.__name__])
    told = {preload.VARIABLE: json.dumps([str(ref.root), ref.module, *ref.preload]), "PYTHONSAFEPATH": "1"}
    before = {name: os.environ.get(name) for name in told}
    os.environ.update(told)
    try:
        forkserver.ensure_running()
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
    return context


def warm_up(ref: AppRef) -> None:
    """Start the server now: it imports the app while the caller does something else."""
    server_context(ref)


@dataclass(frozen=True)
class Task:
    """A message for a site process, and the slot its tensors are in."""

    message: Message
    down: str

    @property
    def id(self) -> str:
        """The message's id."""
        return self.message.metadata.message_id


@dataclass(frozen=True)
class Done:
    """An answer that is ready: what was asked, the JSON side, and the slot of the tensors."""

    task: Task
    head: dict[str, Any]
    turn: int


class Lane:
    """A site process with its queue; answers leave it in the order in which the questions came."""

    def __init__(
        self,
        index: int,
        folder: Path,
        ref: AppRef,
        nodes: dict[int, dict[str, Any]],
        run_config: dict[str, Any],
        context: ForkServerContext,
    ) -> None:
        self._arguments = (folder, index, ref, nodes, run_config)
        self._context = context
        self._queue: deque[Task] = deque()
        self._current: tuple[Task, int] | None = None
        self._done: deque[Done] = deque()
        self._sent: ArrayRecord | None = None  # what its own downward slot holds now
        self.start()

    def start(self) -> None:
        """Start the process, or a fresh one in place of one that is gone."""
        folder, index = self._arguments[:2]
        self._memory = SharedMemory(folder, index)
        self.connection: Connection
        self.connection, theirs = self._context.Pipe()
        self.process = self._context.Process(
            target=serve, args=(theirs, *self._arguments), daemon=True, name=f"fedmed-sites-{index}"
        )
        self.process.start()
        theirs.close()
        self._is_ready = False
        self._sent = self._current = None

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits, runs or is ready to be read."""
        return not self._queue and self._current is None and not self._done

    def push(self, message: Message, down: str) -> None:
        """Queue a message whose tensors go through its own slot (`own`) or are in the common one (`all`)."""
        self._queue.append(Task(message, down))

    def dispatch(self) -> None:
        """Give the process its next message if it is free and has a slot to answer in."""
        if not self._is_ready or self._current is not None or not self._queue or len(self._done) > 1:
            return
        task = self._queue.popleft()
        turn = 1 - self._done[0].turn if self._done else 0
        self._current = (task, turn)
        if task.down == "own":
            self._send_tensors(task.message)
        head = {**packing.describe_message(task.message), "down": task.down, "up": turn}
        # where the process is gone, `collect` sees it at its end of the pipe
        with suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send_bytes(json.dumps(head).encode())

    def forget_what_was_sent(self) -> None:
        """Send the next tensors anew: between two pushes someone may have changed a record in place."""
        self._sent = None

    def _send_tensors(self, message: Message) -> None:
        records = list(array_records(message.content).values())
        if len(records) == 1 and records[0] is self._sent:
            return  # a whole cohort shares one record: it crosses once a process and push
        if records:
            self._memory.down["own"].put(packing.flatten(message.content))
        self._sent = records[0] if len(records) == 1 else None

    def collect(self) -> None:
        """Read what the process has said, if anything; a process that ended becomes an error reply and is replaced."""
        while self.connection.poll():
            try:
                said = self.connection.recv_bytes()
            except (EOFError, ConnectionResetError):
                self._replace_the_dead()
                return
            if said == READY:
                self._is_ready = True
            elif self._current is not None:
                task, turn = self._current
                self._done.append(Done(task, json.loads(said), turn))
                self._current = None
            self.dispatch()

    def _replace_the_dead(self) -> None:
        self.process.join(STOP_S)
        if self.process.is_alive():
            self.process.kill()  # it closed its pipe and lives on
            self.process.join()
        code = self.process.exitcode
        ended = f"by signal {-code}" if code is not None and code < 0 else f"with exit code {code}"
        if self._current is None and not self._is_ready and self._queue:
            # the app does not even load: fail what waits instead of restarting for ever
            self._current = (self._queue.popleft(), 0)
        if self._current is not None:
            head = {"error": [CRASHED, f"the site's process ended {ended}"]}
            self._done.append(Done(self._current[0], head, self._current[1]))
        self.connection.close()
        self.start()

    def reply_for(self, ids: frozenset[str]) -> Message | None:
        """The oldest answer if it is to one of `ids`; it borrows shared memory until `release`."""
        if not self._done or self._done[0].task.id not in ids:
            return None
        first = self._done[0]
        return packing.decode_reply(first.head, self._memory.up[first.turn], first.task.message)

    def release(self) -> None:
        """Let go of the answer read last, which frees its slot."""
        self._done.popleft()
        self.dispatch()

    def queued(self) -> frozenset[str]:
        """Messages that the process has not been given."""
        return frozenset(task.id for task in self._queue)

    def cancel(self, ids: frozenset[str]) -> None:
        """Forget these messages; a process that works on one of them is stopped and replaced."""
        self._queue = deque(task for task in self._queue if task.id not in ids)
        self._done = deque(done for done in self._done if done.task.id not in ids)
        if self._current is not None and self._current[0].id in ids:
            self.kill()
            self.start()
        self.dispatch()

    def kill(self) -> None:
        """End the process now."""
        self.process.kill()
        self.process.join()
        self.process.close()
        self.connection.close()

    def close(self) -> None:
        """End the process: its closed pipe tells it to; it is killed if it works on."""
        self.connection.close()
        self.process.join(0 if self._current is not None else STOP_S)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.process.close()


def assign(loads: Iterable[tuple[int, float]], lanes: int) -> list[list[int]]:
    """Nodes to lanes, heaviest first onto the least loaded (LPT): the sum order of a round never depends on timing."""
    groups: list[list[int]] = [[] for _ in range(lanes)]
    totals = [0.0] * lanes
    for node, load in sorted(loads, key=lambda item: (-item[1], item[0])):
        lane = totals.index(min(totals))
        groups[lane].append(node)
        totals[lane] += load
    return groups
