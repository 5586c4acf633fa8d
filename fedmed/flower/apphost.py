"""The app's process at a clinic: kept warm, confined, spoken to by a daemon that believes nothing of what it says.

One process for one app and one data set. What it answers is for the clinic's gate (`guard.Guarded`) to let out or not.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Any

from flwr.app import Context, Error, Message

from fedmed.clock import SystemClock
from fedmed.confinement.cell import Cell
from fedmed.confinement.launching import Confined, launch
from fedmed.errors import FederationError, FedmedError, MissingPart, UpdateRefused
from fedmed.flower import appchild, hearsay, packing, sealed
from fedmed.flower.apps import AppRef
from fedmed.flower.checkpoints import Checkpoints
from fedmed.flower.guard import MAX_REASON, REFUSED
from fedmed.flower.hearsay import ANSWER, CHECKPOINT, STATE, Said
from fedmed.flower.lanes import CRASHED
from fedmed.flower.resting import AtRest
from fedmed.flower.states import NOTHING, State, States
from fedmed.wire.asides import Aside
from fedmed.wire.confided import of_error
from fedmed.wire.tensors import Tensors

ENTER_S = 60.0
"""Seconds until a new process is in its cell; the app is loaded after that."""
MAX_HELLO = 65536
CHECKPOINT_S = 60.0


class AppHost:
    """Answers messages with an app that is in a process of its own. A `guard.Call`: it never raises."""

    def __init__(
        self,
        ref: AppRef,
        config: Mapping[str, Any],
        cell: Cell,
        tell: Callable[[str], None],
        states: Path,
        rest: AtRest,
        limit_s: float | None = None,
        checkpoint_s: float = CHECKPOINT_S,
        aside: Callable[[Aside], None] = lambda aside: None,
    ) -> None:
        """`config` is what the app finds as its node's configuration; the data set is in `cell.readable`, the app's own
        folder is added. `states`: the folder for what the app keeps between rounds, which `rest` seals. `limit_s`: seconds
        that an answer may take; None for as long as nobody says `stop_work`. `checkpoint_s`: seconds between two checkpoints
        of a training. `aside` hears what the app says for the clinic alone. Raises ConfigError as `Cell.check`.
        """
        self._cell = replace(cell, readable=(*cell.readable, ref.root))
        self._cell.check()
        self._told = json.dumps({"ref": appchild.ref_text(ref), "config": dict(config)})
        self._name, self._tell, self._aside, self._limit_s = ref.name, tell, aside, limit_s
        self._states, self._clock = States(states, rest), SystemClock()
        self._checkpoints = Checkpoints(states, rest, checkpoint_s, self._clock, tell)
        self._turn, self._guard = Lock(), Lock()
        self._is_working = self._is_stopped = self._is_closed = False  # under `_guard`
        self._child: Confined | None = None
        self._has_entered = False
        self._number = 0
        self._held: dict[int, str] = {}  # runs whose state the process has, and the message that it is from

    def begin(self) -> None:
        """Let the process start and import its app, while the caller does something else. Raises FederationError."""
        with self._turn:
            self._begin()

    def stop_work(self) -> None:
        """End what the app is at, from any thread: its deadline is over, or the daemon stops. Does nothing without work."""
        with self._guard:
            if self._is_working:
                self._is_stopped = True
                if self._child is not None:
                    self._child.kill()

    def close(self) -> None:
        """End the process, from any thread, in the middle of its work too; every later call is refused."""
        self._is_closed = True
        self.stop_work()
        with self._turn:
            self._end()

    def __call__(self, message: Message, context: Context) -> Message:
        """The app's answer, or an error reply that says why there is none; then a new process is begun."""
        with self._turn:
            with self._guard:
                self._is_working = True
            try:
                return self._answered(message, context)
            except FedmedError as error:
                reason, code = f"{type(error).__name__}: {error}", REFUSED
                told = of_error(error, f"{self._name}: ")
            except _Ended as error:
                reason, code = str(error), CRASHED
                told = f"{self._name}: {reason}"
            finally:
                self._rest()
            self._tell(told)
            return Message(Error(code, reason[:MAX_REASON]), reply_to=message)

    def _rest(self) -> None:
        with self._guard:
            was_stopped, self._is_working, self._is_stopped = self._is_stopped, False, False
        if was_stopped:
            self._renew()

    def _answered(self, message: Message, context: Context) -> Message:
        child = self._entered()
        question = self._question(message, context)
        try:
            said = self._asked(child, message, question)
        except (FedmedError, _Ended):
            self._renew()
            raise
        self._checkpoints.answered(message)
        run, held = context.run_id, message.metadata.message_id
        self._held.pop(run, None)
        if said.state is not None:
            self._states.keep(run, State(held, said.state, said.state_tensors))
            self._held[run] = held
        for aside in said.asides:
            self._aside(aside)
        if said.content is None:
            return Message(Error(REFUSED, said.reason), reply_to=message)
        return Message(said.content, reply_to=message)

    def _question(self, message: Message, context: Context) -> int:
        run, asked = context.run_id, message.metadata.message_id
        state: dict[str, Any] | None = None
        tensors = hearsay.grouped(ANSWER, message.content)
        if self._held.get(run, asked) == asked:  # the process lacks it, or the message comes a second time
            before = self._states.before(run, asked)
            state = NOTHING if before is None else before.description
            kept = {} if before is None else before.tensors
            tensors |= {f"{STATE}{packing.SEPARATOR}{name}": value for name, value in kept.items()}
        found = self._checkpoints.find(message)
        if found is not None:
            self._tell(f"{self._name}: goes on with a training that was broken off")
            tensors |= {f"{CHECKPOINT}{packing.SEPARATOR}{name}": value for name, value in found.tensors.items()}
        self._number += 1
        head = {
            "number": self._number,
            "run": run,
            "run_config": dict(context.run_config),
            "message": packing.describe_message(message),
            STATE: state,
            CHECKPOINT: {"every_s": self._checkpoints.every_s, "text": None if found is None else found.text},
        }
        return sealed.seal(json.dumps(head).encode(), tensors)

    def _asked(self, child: Confined, message: Message, question: int) -> Said:
        end = None if self._limit_s is None else self._clock.now() + self._limit_s
        child.control.settimeout(self._limit_s)
        try:
            try:
                socket.send_fds(child.control, [appchild.PACKET], [question])
            finally:
                os.close(question)
            said, files = self._heard(child, end)
            while said == appchild.OFFER:
                number, most = self._number, self._cell.answer_bytes
                self._checkpoints.keep(message, hearsay.checkpoint_in(*_opened(files, most), number))
                said, files = self._heard(child, end)
        except TimeoutError:
            child.kill()
            raise _Ended(f"the app did not answer within {self._limit_s:g} s, and was ended") from None
        except OSError:
            said, files = b"", []
        if not said:
            raise _Ended(self._how(child))
        return self._judged(files)

    def _heard(self, child: Confined, end: float | None) -> tuple[bytes, list[int]]:
        """The next packet, until `end`. Raises TimeoutError, OSError."""
        if end is not None:
            if (left := end - self._clock.now()) <= 0:  # an app may offer checkpoints for ever
                raise TimeoutError
            child.control.settimeout(left)
        said, files, _, _ = socket.recv_fds(child.control, 1, 1, socket.MSG_CMSG_CLOEXEC)
        return said, files

    def _judged(self, files: list[int]) -> Said:
        said = hearsay.judged(*_opened(files, self._cell.answer_bytes))
        if said.number != self._number:
            raise UpdateRefused(f"the app's process answered question {said.number} when {self._number} was asked")
        return said

    def _entered(self) -> Confined:
        """The process, once it is in its cell. Raises MissingPart where the cell is not what the clinic asks for."""
        child = self._begin()
        if self._has_entered:
            return child
        child.control.settimeout(ENTER_S)
        try:
            told = json.loads(child.control.recv(MAX_HELLO))
        except (OSError, ValueError):
            raise _Ended(self._how(child)) from None
        try:
            if told["fault"]:
                raise MissingPart(f"the app cannot work in its cell: {told['fault']}")
            self._cell.refuse(told["lacks"])
        except MissingPart:
            self._end()
            raise
        for name, why in told["lacks"].items():
            self._tell(f"{self._name}: less confined than it could be, {name}: {why}")
        self._has_entered = True
        return child

    def _begin(self) -> Confined:
        if self._is_closed:
            raise FederationError(f"the process of {self._name} was closed: this clinic stops, or lets the app run no more")
        if self._child is None:
            try:
                self._child = launch(self._cell, f"{appchild.__name__}:{appchild.serve.__name__}", self._told)
            except OSError as error:
                raise FederationError(f"no process for {self._name} ({error.strerror}); free memory or processes") from error
        return self._child

    def _how(self, child: Confined) -> str:
        """Why the process says nothing any more; it is ended."""
        how = child.ended()
        self._end()
        return "the app's work was stopped" if self._is_stopped else f"the app's process ended {how}"

    def _renew(self) -> None:
        """A new process in place of one that is gone, or that is not believed any more."""
        self._end()
        with suppress(FedmedError):  # the next call says why
            self._begin()

    def _end(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.ended()
        self._child, self._has_entered, self._held = None, False, {}


def _opened(files: list[int], most: int) -> tuple[bytes, Tensors]:
    """Head and tensors of the file that came with a packet. Raises UpdateRefused, DataError."""
    try:
        if len(files) != 1:
            raise UpdateRefused("the app's process sent a packet without a file")
        return sealed.unseal(files[0], most)
    finally:
        for each in files:
            os.close(each)


class _Ended(Exception):
    """The process is gone; the text says how."""
