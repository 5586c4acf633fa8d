"""A clinic's node: takes one message at a time from its center, has it answered, and owes nothing after a crash.

An answer is on the disk before the center hears that its message is dealt with, and stays there until it is all sent. A
message is handed out again until then, so that neither a kill nor a lost connection loses either of them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from flwr.app import Context, Error, Message, RecordDict
from flwr.common.constant import HEARTBEAT_DEFAULT_INTERVAL

from fedmed.errors import ProtocolRefused
from fedmed.flower import identity
from fedmed.flower.fleet import CallFailed, Fleet, Stopped
from fedmed.flower.guard import REFUSED, Call
from fedmed.flower.parcels import Parcel, head_of, ids_in, pack, unpack
from fedmed.flower.spool import Spool

AT_ONCE = 2
"""Objects of one message on their way at the same time."""
BEAT_S = HEARTBEAT_DEFAULT_INTERVAL * 0.7
NOT_ADMITTED = 401
OFFERS = 3
"""How often an answer is offered whose objects the center does not take; then it has no use for it."""
AGAIN_S = 5.0
"""Until a node that the center does not admit asks again."""
DROPPED_S = 1.0
"""Until the next message, after one that could not be dealt with."""
Tell = Callable[[str], None]


@dataclass
class Node:
    """Answers messages until it is stopped."""

    fleet: Fleet
    spool: Spool
    apps: Mapping[str, Call]
    """What this clinic lets run: the names that a run may go by, and what answers for each; a `Call` never raises."""
    config: dict[str, Any]
    """Flower's node configuration."""
    stop: threading.Event
    tell: Tell = lambda text: None
    _number: int = 0
    _contexts: dict[int, Context] = field(default_factory=dict)
    _runs: dict[int, str] = field(default_factory=dict)

    def serve(self) -> None:
        """Until `stop` is set; a node that is not admitted (yet, or any more) asks again now and then."""
        while not self.stop.is_set():
            try:
                self._number = self.fleet.activate()
                self._serve()
            except CallFailed as error:
                self.tell(str(error))
                self.stop.wait(AGAIN_S)
            except Stopped:
                break
        self.fleet.leave()

    def _serve(self) -> None:
        done = threading.Event()
        beating = threading.Thread(target=self._beat, args=(done,), daemon=True)
        beating.start()
        try:
            self._settle()
            while not self.stop.is_set():
                if (head := self.fleet.receive()) is not None:
                    self._handle(head)
        finally:
            done.set()
            beating.join()

    def _beat(self, done: threading.Event) -> None:
        while not done.wait(BEAT_S):
            try:
                self.fleet.beat()
            except (CallFailed, Stopped):
                return  # the other thread is told the same

    def _settle(self) -> None:
        """What a killed process still owed."""
        for answer in self.spool.kept():
            self._deliver(self.spool.read(answer))

    def _handle(self, said: bytes) -> None:
        head, tree = head_of(said)
        try:
            parcel = pack(self._answer(head, ids_in(tree)))
        except CallFailed as error:
            self._drop(head, error)
            self.stop.wait(DROPPED_S)
            return
        self.spool.keep(parcel)
        self._deliver(parcel)

    def _deliver(self, parcel: Parcel) -> None:
        """Confirm the message, send what the center lacks of its answer, and forget both."""
        run = parcel.head.metadata.run_id
        try:
            self.fleet.confirm(run, parcel.head.metadata.reply_to_message_id)
            if not any(self._is_sent(parcel) for _ in range(OFFERS)):
                self.tell(f"the center does not take an answer for run {run}; it is dropped")
        except CallFailed as error:
            self._drop(parcel.head, error)
        self.spool.drop(parcel.id)

    def _is_sent(self, parcel: Parcel) -> bool:
        """Whether the center took all that it lacked."""
        run = parcel.head.metadata.run_id
        wanted, session = self.fleet.offer(parcel.head, parcel.tree)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return all(list(pool.map(lambda each: self.fleet.push(run, session, each, parcel.objects[each]), wanted)))

    def _drop(self, head: Message, error: CallFailed) -> None:
        if error.status == NOT_ADMITTED:
            raise error
        self.tell(f"a message of run {head.metadata.run_id} is dropped: {error}")

    def _answer(self, head: Message, objects: list[str]) -> Message:
        run = head.metadata.run_id
        identity.assume(self._number, run)
        if run not in self._runs:
            self._runs[run] = self.fleet.run(run).fab_id
        call = self.apps.get(self._runs[run])
        if call is None:
            allowed = ", ".join(sorted(self.apps)) or "none"
            reason = f"app {self._runs[run]!r} is not approved at this site; approved: {allowed}"
            return Message(Error(REFUSED, reason), reply_to=head)
        try:
            message = unpack(head, dict(self._pulled(run, objects)))
        except ProtocolRefused as error:
            return Message(Error(REFUSED, str(error)), reply_to=head)
        return call(message, self._context(run))

    def _pulled(self, run: int, objects: list[str]) -> Iterable[tuple[str, bytes]]:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(zip(objects, pool.map(lambda name: self.fleet.pull(run, name), objects), strict=True))

    def _context(self, run: int) -> Context:
        if run not in self._contexts:
            self._contexts[run] = Context(
                run_id=run, node_id=self._number, node_config=dict(self.config), state=RecordDict(), run_config={}
            )
        return self._contexts[run]
