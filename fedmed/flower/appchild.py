"""The app's process, once it is in its cell: takes one message at a time, calls the ClientApp, answers.

It has its owner's socket and nothing else. Each packet is one octet with the descriptor of a sealed file; see `sealed`.
"""

from __future__ import annotations

import importlib
import json
import os
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from flwr.app import Context, Error, Message, RecordDict

from fedmed.clock import SystemClock
from fedmed.confinement.entering import Entered
from fedmed.errors import FederationError, FedmedError, MissingPart
from fedmed.flower import hearsay, identity, packing, sealed
from fedmed.flower.allocation import keep_freed_memory
from fedmed.flower.apps import AppRef
from fedmed.flower.guard import REFUSED
from fedmed.flower.hearsay import ANSWER, ASIDES, CHECKPOINT, MAX_REASON, STATE
from fedmed.flower.worker import guarded
from fedmed.wire.asides import MOST, Aside, heard_by
from fedmed.wire.checkpoints import Checkpoint, kept_by
from fedmed.wire.tensors import Tensors

PACKET, OFFER = b"\0", b"\1"
"""Octets that come with an answer, and with a checkpoint on the way to it."""
MOST_SHARE = 20
"""Work goes on for at least so many times as long as a checkpoint took."""
Answer = Callable[[Message, Context], Message]


def serve(control: socket.socket, entered: Entered, told: str) -> None:
    """Say how the cell was entered; then load the app, and answer until the owner is gone."""
    control.send(json.dumps(asdict(entered)).encode())
    started = json.loads(told)
    keep_freed_memory()
    run = _Runs(_answer_of(ref_of(started["ref"])), started["config"])
    with suppress(ConnectionError):
        while (file := _received(control)) is not None:
            try:
                head, tensors = sealed.unseal(file, os.fstat(file).st_size)
            finally:
                os.close(file)
            question = json.loads(head)
            asides: list[Aside] = []
            with kept_by(_Keeper(control, question, tensors)), heard_by(asides.append):
                answer = run.answer(question, tensors, asides)
            del tensors
            try:
                socket.send_fds(control, [PACKET], [answer])
            finally:
                os.close(answer)


def ref_text(ref: AppRef) -> dict[str, Any]:
    """The app's place, ready for JSON; its gate stays where the keys are."""
    return {"root": str(ref.root), "name": ref.name, "preload": list(ref.preload)}


def ref_of(told: dict[str, Any]) -> AppRef:
    """What `ref_text` wrote."""
    return AppRef(Path(told["root"]), told["name"], tuple(told["preload"]))


def _received(control: socket.socket) -> int | None:
    said, files, _, _ = socket.recv_fds(control, 1, 1)
    return files[0] if said and files else None


def _answer_of(ref: AppRef) -> Answer:
    try:
        answer = guarded(ref)
    except MissingPart as error:
        reason = str(error)[:MAX_REASON]
        return lambda message, context: Message(Error(REFUSED, reason), reply_to=message)
    for module in ref.preload:
        with suppress(ImportError):  # whoever calls the app is told what is missing
            importlib.import_module(module)
    return answer


class _Keeper:
    """Offers checkpoints of the work on one question to the owner; see `fedmed.wire.checkpoints.Keeper`.

    An app may train more than once for one answer: each of these is known by which one it is.
    """

    def __init__(self, control: socket.socket, told: dict[str, Any], tensors: Tensors) -> None:
        self._control, self._number = control, told["number"]
        self._every_s: float = told[CHECKPOINT]["every_s"]
        self._kept = _kept(told[CHECKPOINT]["text"])
        self._tensors = hearsay.of_group(CHECKPOINT, tensors)
        self._clock, self._call = SystemClock(), 0
        self._due: float = self._clock.now() + self._every_s

    def found(self) -> Checkpoint | None:
        """The owner's, where it is of this training."""
        self._call += 1
        return Checkpoint(self._kept["text"], self._tensors) if self._kept.get("call") == self._call else None

    def is_due(self) -> bool:
        """Whether the time since the last one is over."""
        return self._clock.now() >= self._due

    def keep(self, checkpoint: Checkpoint) -> None:
        """Send it, unless there is no memory for it: the work is worth more."""
        began = self._clock.now()
        text = json.dumps({"call": self._call, "text": checkpoint.text})
        with suppress(FederationError):
            file = sealed.seal(json.dumps({"number": self._number, "text": text}).encode(), checkpoint.tensors)
            try:
                socket.send_fds(self._control, [OFFER], [file])
            finally:
                os.close(file)
        now = self._clock.now()
        self._due = now + max(self._every_s, MOST_SHARE * (now - began))


def _kept(text: str | None) -> dict[str, Any]:
    try:
        kept = json.loads(text or "{}")
        return kept if isinstance(kept, dict) else {}
    except (ValueError, RecursionError):  # an app wrote it
        return {}


class _Runs:
    """Calls the app, with one context a run."""

    def __init__(self, app: Answer, config: dict[str, Any]) -> None:
        self._app, self._config = app, config
        self._contexts: dict[int, Context] = {}

    def answer(self, head: dict[str, Any], tensors: Tensors, asides: list[Aside]) -> int:
        """The descriptor of the answer to a question, with what was said to the clinic meanwhile."""
        asked = packing.restore_message(head["message"], hearsay.of_group(ANSWER, tensors))
        context = self._context(head, tensors)
        identity.assume(head["message"]["node"], head["run"])
        reply = self._app(asked, context)
        try:
            return _sealed(head["number"], reply, context.state, asides)
        except (FedmedError, AttributeError, TypeError, ValueError, OSError) as error:
            reason = f"the answer cannot be sent: {type(error).__name__}: {error}"
            failed = Message(Error(REFUSED, reason[:MAX_REASON]), reply_to=asked)
            return _sealed(head["number"], failed, None)

    def _context(self, head: dict[str, Any], tensors: Tensors) -> Context:
        run = head["run"]
        if run not in self._contexts:
            node = head["message"]["node"]
            self._contexts[run] = Context(
                run_id=run, node_id=node, node_config=dict(self._config), state=RecordDict(), run_config=head["run_config"]
            )
        if head[STATE] is not None:
            self._contexts[run].state = packing.restore(head[STATE], hearsay.of_group(STATE, tensors))
        return self._contexts[run]


def _sealed(number: int, reply: Message, state: RecordDict | None, asides: Sequence[Aside] = ()) -> int:
    """Without a `state`, the owner goes on with the one that it has."""
    content = None if reply.has_error() else reply.content
    said = {
        "number": number,
        "reason": (reply.error.reason or "the app raised an error without a reason") if content is None else "",
        ANSWER: None if content is None else packing.describe(content),
        STATE: None if state is None else packing.describe(state),
        ASIDES: [each.as_json() for each in asides[-MOST:]],
    }
    tensors = {} if content is None else hearsay.grouped(ANSWER, content)
    kept = {} if state is None else hearsay.grouped(STATE, state)
    return sealed.seal(json.dumps(said).encode(), {**tensors, **kept})
