"""One site process and the messages waiting for it: started, spoken to, and replaced when it hangs or dies."""

from __future__ import annotations

import json
import multiprocessing
import tempfile
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

from flwr.app import ArrayRecord, Message

from fedmed.flower import packing
from fedmed.flower.apps import AppRef, add_root
from fedmed.flower.worker import READY, serve, slots

CRASHED = 8  # Flower's ErrorCode.CLIENT_APP_CRASHED
STOP_S = 2.0  # seconds a process has to end by itself


def memory_folder() -> Path:
    """A private folder in shared memory where the machine has one, else on disk."""
    shared = Path("/dev/shm")
    return Path(tempfile.mkdtemp(prefix="fedmed-", dir=shared if shared.is_dir() else None))


def server_context(ref: AppRef) -> ForkServerContext:
    """Processes forked from a clean one-thread server that has imported the app already."""
    add_root(ref)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([ref.module, *ref.preload])
    return context


def warm_up(ref: AppRef) -> None:
    """Start the server now: it imports the app while the caller does something else."""
    server_context(ref)
    forkserver.ensure_running()


class Lane:
    """A site process with its queue; knows which message it works on and whether an answer is ready to be read."""

    def __init__(
        self,
        index: int,
        folder: Path,
        ref: AppRef,
        nodes: dict[int, dict[str, Any]],
        run_config: dict[str, Any],
        context: ForkServerContext,
    ) -> None:
        self.index, self.nodes = index, nodes
        self.queue: deque[Message] = deque()
        self.current: Message | None = None
        self._start_arguments = (folder, index, ref, nodes, run_config)
        self._context = context
        self._sent: ArrayRecord | None = None  # what the downward slot holds now
        self._head: dict[str, Any] | None = None
        self.restarts = -1
        self.start()

    def start(self) -> None:
        """Start the process, or a fresh one in place of one that is gone."""
        self.restarts += 1
        self.down, self.up = slots(self._start_arguments[0], self.index)
        self.connection: Connection
        self.connection, theirs = self._context.Pipe()
        self.process = self._context.Process(
            target=serve, args=(theirs, *self._start_arguments), daemon=True, name=f"fedmed-sites-{self.index}"
        )
        self.process.start()
        theirs.close()
        self.ready = False
        self._sent = self._head = self.current = None

    def dispatch(self) -> None:
        """Give the process its next message if it is free."""
        if not self.ready or self.current is not None or not self.queue:
            return
        message = self.current = self.queue.popleft()
        content, meta = message.content, message.metadata
        self._send_tensors(message)
        head = {
            "id": meta.message_id,
            "node": meta.dst_node_id,
            "type": meta.message_type,
            "group": meta.group_id,
            "ttl": meta.ttl,
            "content": packing.describe(content),
        }
        # where the process is gone, `collect` sees it at its end of the pipe
        with suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send_bytes(json.dumps(head).encode())

    def forget_what_was_sent(self) -> None:
        """Send the next tensors anew: between two pushes someone may have changed a record in place."""
        self._sent = None

    def _send_tensors(self, message: Message) -> None:
        records = list(message.content.array_records.values())
        if len(records) == 1 and records[0] is self._sent:
            return  # a whole cohort shares one record: it crosses once a process and push
        if records:
            self.down.put(packing.flatten(message.content))
        self._sent = records[0] if len(records) == 1 else None

    def collect(self) -> None:
        """Read what the process has said, if anything; a process that ended becomes an error reply and is replaced."""
        while self._head is None and self.connection.poll():
            try:
                said = self.connection.recv_bytes()
            except (EOFError, ConnectionResetError):
                self._replace_the_dead()
                return
            if said == READY:
                self.ready = True
                self.dispatch()
            else:
                self._head = json.loads(said)

    def _replace_the_dead(self) -> None:
        self.process.join(STOP_S)
        code = self.process.exitcode
        ended = f"by signal {-code}" if code is not None and code < 0 else f"with exit code {code}"
        lost, never_ready = self.current, not self.ready
        if lost is None and never_ready and self.queue:
            lost = self.queue.popleft()  # the app does not even load: fail what waits instead of restarting for ever
        if lost is None and never_ready:
            return
        self.start()
        if lost is not None:
            self.current = lost
            self._head = {"error": [CRASHED, f"the site's process ended {ended}"]}

    def reply_for(self, ids: frozenset[str]) -> Message | None:
        """The answer to one of `ids`, if it is ready; it borrows shared memory until `release`."""
        if self._head is None or self.current is None or self.current.metadata.message_id not in ids:
            return None
        return packing.decode_reply(self._head, self.up, self.current)

    def release(self) -> None:
        """Let go of the answer read last and give the process its next message."""
        self._head = self.current = None
        self.dispatch()

    def cancel(self, ids: frozenset[str]) -> None:
        """Forget these messages; a process that works on one of them is stopped and replaced."""
        self.queue = deque(message for message in self.queue if message.metadata.message_id not in ids)
        if self.current is not None and self.current.metadata.message_id in ids:
            if self._head is None:
                self.kill()
                self.start()
            else:
                self.release()

    def kill(self) -> None:
        """End the process now."""
        self.process.kill()
        self.process.join()
        self.process.close()
        self.connection.close()

    def close(self) -> None:
        """End the process: its closed pipe tells it to; it is killed if it works on."""
        self.connection.close()
        self.process.join(0 if self.current is not None else STOP_S)
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
