"""A clinic's node: takes one message at a time from its center, has it answered, and owes nothing after a crash.

An answer is on the disk before the center hears that its message is dealt with, and stays there until it is all sent. A
message is handed out again until then, so that neither a kill nor a lost connection loses either of them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from flwr.app import Context, Error, Message, RecordDict
from flwr.common.constant import HEARTBEAT_DEFAULT_INTERVAL

from fedmed.errors import ProtocolRefused, StoreError
from fedmed.flower import identity
from fedmed.flower.calls import CHUNK
from fedmed.flower.fleet import CallFailed, Fleet, Stopped, Taken
from fedmed.flower.guard import REFUSED, Call
from fedmed.flower.objects import SMALL
from fedmed.flower.parcels import Parcel, error_for, ids_in, pack, unpack
from fedmed.flower.spool import Shelf, Spool

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
TOO_LARGE, UNANNOUNCED = 413, 409
Tell = Callable[[str], None]


@dataclass
class Node:
    """Answers messages until it is stopped."""

    fleet: Fleet
    spool: Spool
    shelf: Shelf
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
                if (taken := self.fleet.take()) is not None:
                    self._handle(taken)
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
            try:
                parcel = self.spool.read(answer)
            except StoreError as error:
                self.tell(f"{error}; this answer is dropped, and its round goes on without it unless the center asks again")
                self.spool.drop(answer)
                continue
            self._deliver(parcel, SMALL)

    def _handle(self, taken: Taken) -> None:
        try:
            parcel = pack(self._answer(taken))
        except CallFailed as error:
            self._drop(taken.head, error)
            self.stop.wait(DROPPED_S)
            return
        self.spool.keep(parcel)
        self._deliver(parcel, CHUNK)

    def _deliver(self, parcel: Parcel, most: int) -> None:
        """Send an answer, with up to `most` bytes of its objects at once, and forget it."""
        try:
            self._send(parcel, most)
        except CallFailed as error:
            self._drop(parcel.head, error)
            if error.status == TOO_LARGE:
                self._say_instead(parcel.head, error)
        self.spool.drop(parcel.id)

    def _say_instead(self, head: Message, error: CallFailed) -> None:
        """Answer with the reason, so that nobody waits."""
        try:
            self._send(pack(error_for(head, Error(REFUSED, str(error)))), SMALL)
        except CallFailed as again:
            self._drop(head, again)

    def _send(self, parcel: Parcel, most: int) -> None:
        """Until the center lacks nothing. It says what it lacks, so that after a cut nothing is sent that it has."""
        for _ in range(OFFERS):
            lacking = self.fleet.give(parcel, next(groups(parcel.objects, parcel.objects, most), []))
            try:
                for names in groups(parcel.objects, lacking, CHUNK):
                    self.fleet.more(parcel, names)
                return
            except CallFailed as error:
                if error.status != UNANNOUNCED:
                    raise
            most = SMALL
        self.tell(f"the center does not take an answer for run {parcel.head.metadata.run_id}; it is dropped")

    def _drop(self, head: Message, error: CallFailed) -> None:
        if error.status == NOT_ADMITTED:
            raise error
        self.tell(f"a message of run {head.metadata.run_id} is dropped: {error}")

    def _answer(self, taken: Taken) -> Message:
        head, run = taken.head, taken.head.metadata.run_id
        identity.assume(self._number, run)
        if run not in self._runs:
            self._runs[run] = self.fleet.run(run).fab_id
        call = self.apps.get(self._runs[run])
        if call is None:
            allowed = ", ".join(sorted(self.apps)) or "none"
            reason = f"app {self._runs[run]!r} is not approved at this site; approved: {allowed}"
            return Message(Error(REFUSED, reason), reply_to=head)
        try:
            message = unpack(head, self._all_of(taken))
        except ProtocolRefused as error:
            return Message(Error(REFUSED, str(error)), reply_to=head)
        return call(message, self._context(run))

    def _all_of(self, taken: Taken) -> dict[str, bytes]:
        """Every object of a message: those that came with it, those that the last model had, and the others fetched."""
        objects = dict(taken.objects)
        others = [name for name in ids_in(taken.tree) if name not in objects]
        if not others:
            return objects
        objects |= {name: held for name in others if (held := self.shelf.get(name)) is not None}
        lacking, run = [name for name in others if name not in objects], taken.head.metadata.run_id
        self.shelf.keep_only(others)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for found in pool.map(lambda names: list(self.fleet.fetch(run, names)), split(lacking, AT_ONCE)):
                objects |= found
        for name in lacking:
            self.shelf.put(name, objects[name])
        return objects

    def _context(self, run: int) -> Context:
        if run not in self._contexts:
            self._contexts[run] = Context(
                run_id=run, node_id=self._number, node_config=dict(self.config), state=RecordDict(), run_config={}
            )
        return self._contexts[run]


def groups(objects: Mapping[str, bytes], names: Iterable[str], most: int) -> Iterator[list[str]]:
    """The names in groups whose objects have at most `most` bytes together, small ones first; a larger one is alone."""
    group, size = list[str](), 0
    for name in sorted(names, key=lambda each: len(objects[each])):
        if group and size + len(objects[name]) > most:
            yield group
            group, size = [], 0
        group.append(name)
        size += len(objects[name])
    if group:
        yield group


def split(names: list[str], count: int) -> list[list[str]]:
    """The names in `count` parts as large as one another, each in its order."""
    return [names[start::count] for start in range(count) if names[start::count]]
