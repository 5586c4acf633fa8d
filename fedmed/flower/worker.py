"""A site process: takes one message at a time, calls the ClientApp, answers. It never reads the keyboard's Ctrl-C.

The main process owns it: when the pipe closes, the process removes the shared memory and ends.
"""

from __future__ import annotations

import json
import logging
import shutil
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from flwr.app import Context, Error, Message, RecordDict

from fedmed.errors import FedmedError, MissingPart
from fedmed.flower import apps, guard, identity, keys
from fedmed.flower.allocation import keep_freed_memory
from fedmed.flower.arrays import array_records
from fedmed.flower.orphans import end_with_owner
from fedmed.flower.packing import Slot, encode_reply, flatten, restore_message

RAISED = 2  # Flower's ErrorCode.CLIENT_APP_RAISED_EXCEPTION
MAX_REASON = 2000  # characters of an exception that travel
READY = b"ready"
Call = Callable[[Message], Message]


class Sites:
    """Calls the ClientApp for the sites of one process, keeping one Flower context a site."""

    def __init__(self, ref: apps.AppRef, nodes: dict[int, dict[str, Any]], run_config: dict[str, Any]) -> None:
        self.app = guarded(ref) if ref.around is None else guarded(ref, apps.load_around(ref))
        self.contexts = {
            node: Context(run_id=1, node_id=node, node_config=config, state=RecordDict(), run_config=run_config)
            for node, config in nodes.items()
        }

    def call(self, message: Message) -> Message:
        """The app's answer, or an error reply that names what it raised."""
        node = message.metadata.dst_node_id
        identity.assume(node)
        self.contexts[node].state.pop(keys.WORLD, None)
        if message.has_content() and keys.WORLD in message.content:  # no part of what the center says, nor of its digest
            self.contexts[node].state[keys.WORLD] = message.content.pop(keys.WORLD)
        return self.app(message, self.contexts[node])


def guarded(ref: apps.AppRef, around: Callable[[Any], Any] = lambda app: app) -> guard.Call:
    """The app as a node calls it: it never raises, and where the reference names a gate, it is behind it.

    `around` is put around the app alone, within the gate.
    """
    app = around(apps.load(ref))

    def answer(message: Message, context: Context) -> Message:
        try:
            reply = app(message=message, context=context)
        except Exception as error:
            logging.getLogger(__name__).debug("the ClientApp raised", exc_info=True)
            reason = f"{type(error).__name__}: {error}"
            return Message(Error(RAISED, reason[:MAX_REASON]), reply_to=message)
        return reply  # type: ignore[no-any-return]

    if ref.gate is None:
        return answer
    gate_of = apps.load_gate(ref)
    return lambda message, context: guard.Guarded(answer, gate_of(dict(context.node_config)))(message, context)


def serve(
    connection: Connection,
    folder: Path,
    lane: int,
    ref: apps.AppRef,
    nodes: dict[int, dict[str, Any]],
    run_config: dict[str, Any],
) -> None:
    """Answer messages until the pipe closes; one torch thread, since the processes share the cores."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keep_freed_memory()
    end_with_owner(partial(shutil.rmtree, folder, ignore_errors=True))
    memory = SharedMemory(folder, lane)
    call = _caller(ref, nodes, run_config)
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(1)
    with suppress(EOFError, ConnectionError):
        connection.send_bytes(READY)
        while True:
            head = json.loads(connection.recv_bytes())
            connection.send_bytes(_answer(call, head, memory))
    shutil.rmtree(folder, ignore_errors=True)


class SharedMemory:
    """What one site process and its owner share: down to it alone, down to all, and two slots up, used in turns.

    With two slots the process works on its next message while the owner still reads its last answer.
    """

    def __init__(self, folder: Path, lane: int) -> None:
        self.down = {"own": Slot(folder / f"{lane}.down"), "all": common_slot(folder)}
        self.up = [Slot(folder / f"{lane}.up{turn}") for turn in (0, 1)]


def common_slot(folder: Path) -> Slot:
    """The slot that all site processes read."""
    return Slot(folder / "all.down")


def _caller(ref: apps.AppRef, nodes: dict[int, dict[str, Any]], run_config: dict[str, Any]) -> Call:
    try:
        return Sites(ref, nodes, run_config).call
    except MissingPart as error:
        reason = str(error)[:MAX_REASON]
        return lambda message: Message(Error(RAISED, reason), reply_to=message)


def _answer(call: Call, head: dict[str, Any], memory: SharedMemory) -> bytes:
    message = _message(head, memory)
    reply = call(message)
    try:
        if reply.has_content() and array_records(reply.content):
            memory.up[head["up"]].put(flatten(reply.content))
        return encode_reply(reply)
    except (FedmedError, AttributeError, TypeError, ValueError, OSError) as error:
        reason = f"the answer cannot be sent: {type(error).__name__}: {error}"
        return encode_reply(Message(Error(RAISED, reason[:MAX_REASON]), reply_to=message))


def _message(head: dict[str, Any], memory: SharedMemory) -> Message:
    tensors = memory.down[head["down"]].view() if head["content"]["arrays"] else {}
    return restore_message(head, tensors)
