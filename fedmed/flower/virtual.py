"""A Grid in virtual time: sites answer as fast as this machine can, and each answer is there when it would be in a hospital.

The round loop, its patience, secure aggregation and what becomes of late updates are those of the product; they are given
another clock and do not know. A real wait is one for work that is not done, and only where its answer could be the next.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Generator, Iterable, Sequence
from contextlib import closing
from typing import Any, Protocol

from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.common.constant import HEARTBEAT_DEFAULT_INTERVAL

from fedmed.clock import Clock
from fedmed.flower import arrays, identity
from fedmed.flower.grids import OneRun
from fedmed.flower.happenings import Diary, Happening, What
from fedmed.flower.keys import DESCRIBE, JOINED, MEMBER, WORLD
from fedmed.flower.ours import OwnGrid
from fedmed.flower.together import Together
from fedmed.flower.underway import Errand, Folded, Hubs, Trips, Underway
from fedmed.flower.waiting import send_and_receive

BEFORE = frozenset({DESCRIBE, MEMBER})
"""What sites are asked when they meet: everybody is there, and it takes no time, whenever it is asked."""
WORK = frozenset({MessageType.TRAIN, MessageType.EVALUATE})
"""The clock begins with the first of these: keys of the first epoch were agreed on and classes counted before."""
LONGEST_LOOK_S = float(HEARTBEAT_DEFAULT_INTERVAL)
"""Virtual seconds until who waits looks up: as often as a site gives a sign of life."""
REAL_S = 3600.0
"""Between two looks at a process that works."""
HELD_BYTES = 256 * 2**20
"""Of answers that came before their time; with more of them processes wait with theirs until those are next."""
NUMBER_BYTES = 8


class VirtualTime(Clock, Protocol):
    """A clock whose time goes on when it is told."""

    def go_to(self, until: float) -> None:
        """It is `until` now, in seconds of `now()`; nothing where that has passed."""


class VirtualGrid(OneRun):
    """Sites of a grid that computes, seen through the lines and machines that `trips` tells of."""

    def __init__(
        self,
        grid: OwnGrid,
        trips: Trips,
        clock: VirtualTime,
        work: Callable[[int, str], float],
        tell: Callable[[Happening], None] = lambda happening: None,
        hubs: Hubs | None = None,
    ) -> None:
        """`work`: what a kind of message gives a node to do, as `trips` counts it. `tell`: told of all that takes time.
        `hubs`: which messages have devices below a node to wait for; whose updates are there goes along with the message.

        Whoever closes `grid` closes this.
        """
        self._grid, self._trips, self._time, self._work = grid, trips, clock, work
        self._together = Together(trips)
        self._underway, self._diary = Underway(self._together, hubs), Diary(tell)
        self._count, self._held = 0, 0
        self._has_begun = False
        self._asked: Collection[str] = ()
        self._by_id: dict[str, Errand] = {}
        """Errands that may still be asked for."""
        self._there: dict[str, Errand] = {}
        self._given: dict[str, Errand] = {}
        """By the id that the message has in `grid`, in its order."""
        self._line_s = 0.0

    @property
    def clock(self) -> Clock:
        """The virtual one."""
        return self._time

    def get_node_ids(self) -> Iterable[int]:
        """Nodes that give signs of life now; all before the clock begins."""
        nodes = list(self._grid.get_node_ids())
        return self._trips.those_there(nodes, self._time.now()) if self._has_begun else nodes

    @property
    def held_bytes(self) -> int:
        """Of answers that are here before their time."""
        return self._held

    def lane_of(self, node: int) -> int:
        """One for all: answers come in the order of virtual time."""
        return 0

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Send; a node that is there and free begins at once. Returns the messages' ids."""
        messages, now = list(messages), self._time.now()
        sizes = {id(message.content): bytes_of(message) for message in {id(m.content): m for m in messages}.values()}
        errands = [self._errand(message, now, sizes[id(message.content)]) for message in messages]
        self._together.sent(errands)
        for errand in errands:
            self._by_id[errand.id] = errand
            self._note(errand, "sent", now, errand.down_bytes)
            self._note_all(self._underway.send(errand))
        self._give(now)
        return [errand.id for errand in errands]

    def _errand(self, message: Message, now: float, size: int) -> Errand:
        kind, node = message.metadata.message_type, message.metadata.dst_node_id
        self._has_begun |= kind in WORK
        takes_time = self._has_begun and kind not in BEFORE
        self._count += 1
        work = self._work(node, kind) if takes_time else 0.0
        return Errand(self._count, f"v{self._count}", node, kind, message, now, size, work, takes_time)

    def borrow_messages(self, message_ids: Iterable[str]) -> Generator[Message, None, None]:
        """Answers that are there now, in their order; arrays are valid until the next one is asked for."""
        self._asked = frozenset(message_ids)
        for errand in [self._there.pop(each) for each in list(self._there) if each in self._asked]:
            yield self._lent(errand)
        while (found := self._next(self._time.now())) is not None:
            yield self._lent(found)
        self._diary.tell(self._time.now())

    def _lent(self, errand: Errand) -> Message:
        assert errand.trip is not None
        del self._by_id[errand.id]
        self._line_s = errand.earliest - errand.trip.done_at
        self._held -= errand.up_bytes
        answer: Message = errand.answer
        return answer

    def line_s(self, asked: str) -> float:
        """Seconds that the answer that is lent out was on its way."""
        return self._line_s

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Answers that are there now; their arrays are nobody else's."""
        return list(self.borrow_messages(message_ids))

    def wait(self, timeout_s: float) -> None:
        """Let time go on to the next answer that was asked for, by `timeout_s` virtual seconds at most."""
        end = self._time.now() + max(0.0, min(timeout_s, LONGEST_LOOK_S))
        errand = self._next(end)
        if errand is not None:
            self._there[errand.id] = errand
            end = max(errand.earliest, self._time.now())
        self._time.go_to(end)
        self._give(end)
        self._diary.tell(math.nextafter(end, -math.inf))  # of this very moment not all is known yet

    def queued(self, message_ids: Iterable[str]) -> frozenset[str]:
        """None: every site has its own machine."""
        return frozenset()

    def cancel(self, message_ids: Iterable[str]) -> None:
        """Give up on these: no site begins with one any more, and who works on one may still answer late."""
        now = self._time.now()
        for errand in [self._by_id[each] for each in message_ids if each in self._by_id]:
            begun = self._underway.withdraw(errand, now)
            if begun is not None:
                self._diary.strike_out(errand.number, now)
                self._note(errand, "withdrawn", now)
                self._note_all(begun)
            if begun is not None or errand.is_lost:
                del self._by_id[errand.id]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Push, then wait for all answers, or for those that come within `timeout` virtual seconds."""
        return send_and_receive(self, self._time, messages, timeout, LONGEST_LOOK_S)

    def _next(self, until: float) -> Errand | None:
        """The next answer by `until` that was asked for; whatever else is there by then is kept."""
        while (first := self._underway.first()) is not None and first.earliest <= until:
            if not first.is_known:
                self._give(first.earliest)
                self._hear(first)
                continue
            first.is_over = True
            if first.id in self._asked:
                return first
            self._there[first.id] = first
        return None

    def _give(self, until: float) -> None:
        """Let the processes have what sites begin with by `until`: nothing that happens before can change that."""
        given = self._underway.to_give(until)
        for errand in given:
            if errand.folded is not None:
                errand.message.content = with_devices(errand.message.content, errand.folded.joined)
        ids = self._grid.push_messages([errand.message for errand in given]) if given else []
        for each, errand in zip(ids, given, strict=True):
            self._given[each], errand.message = errand, None

    def _hear(self, wanted: Errand) -> None:
        """Really wait until the answer to `wanted` is made."""
        while not wanted.is_known:
            ids = self._to_hear(wanted)
            with closing(self._grid.borrow_messages(ids)) as answers:
                answer = next(answers, None)
                if answer is not None:
                    self._keep(answer)
            if answer is None:
                self._grid.wait(REAL_S)

    def _to_hear(self, wanted: Errand) -> list[str]:
        """All that is being made, or, where much is held already, what has to be taken out of the way of `wanted`."""
        if self._held < HELD_BYTES:
            return list(self._given)
        lane, found = self._grid.lane_of(wanted.node), []
        for each, errand in self._given.items():
            if self._grid.lane_of(errand.node) == lane:
                found.append(each)
            if errand is wanted:
                break
        return found

    def _keep(self, answer: Message) -> None:
        """Copy an answer out of the memory that it is lent in, unless it is lost."""
        errand = self._given.pop(answer.metadata.reply_to_message_id)
        if errand.is_lost:
            return
        begun = self._underway.answered(errand, bytes_of(answer))
        self._note_end(errand)
        self._note_all(begun)
        if errand.is_lost:
            return
        if answer.has_content():
            answer.content = kept(answer.content)
        identity.set_answered(answer, errand.id)
        errand.answer = answer
        self._held += errand.up_bytes

    def _note_all(self, begun: list[Errand]) -> None:
        for errand in begun:
            assert errand.trip is not None
            self._note(errand, "heard", errand.trip.heard_at)
            self._note(errand, "done", errand.trip.done_at)
            if errand.folded is not None:
                self._note_devices(errand, errand.folded)
            if errand.is_lost:
                self._note_end(errand)

    def _note_devices(self, errand: Errand, folded: Folded) -> None:
        assert errand.trip is not None
        for device, trip in folded.devices.items():
            marks: tuple[tuple[float, What, int, str], ...] = (
                (errand.trip.heard_at, "sent", errand.down_bytes, ""),
                (trip.heard_at, "heard", 0, ""),
                (trip.done_at, "done", 0, ""),
                (trip.there_at, "there", folded.device_bytes, ""),
                (folded.folded_at if math.isinf(trip.there_at) else math.inf, "lost", 0, trip.lost),
            )
            for at, what, size, why in marks:
                self._diary.add(errand.number, Happening(at, device, what, errand.kind, size, why))
        told = Happening(folded.folded_at, errand.node, "folded", errand.kind, 0, "", tuple(folded.joined), folded.missing)
        self._diary.add(errand.number, told)

    def _note_end(self, errand: Errand) -> None:
        assert errand.trip is not None
        if errand.is_lost:
            self._note(errand, "lost", errand.ended_at, errand.up_bytes, errand.trip.lost)
        else:
            self._note(errand, "there", errand.ended_at, errand.up_bytes)

    def _note(self, errand: Errand, what: What, at: float, size: int = 0, why: str = "") -> None:
        if errand.takes_time:
            self._diary.add(errand.number, Happening(at, errand.node, what, errand.kind, size, why))


def kept(content: RecordDict) -> RecordDict:
    """The same records with arrays of their own memory."""
    copy = RecordDict()
    for key, record in content.items():
        if isinstance(record, ArrayRecord):
            record = arrays.borrow({name: value.copy() for name, value in arrays.views(record).items()})
        copy[key] = record
    return copy


def with_devices(content: RecordDict, joined: Sequence[int]) -> RecordDict:
    """The same records and the devices whose updates are there in time."""
    more = RecordDict(dict(content.items()))
    more[WORLD] = ConfigRecord({JOINED: list(joined)})
    return more


def bytes_of(message: Message) -> int:
    """What a message carries: tensors, texts and numbers; Flower's frame around them is small beside."""
    if message.has_error():
        return len((message.error.reason or "").encode("utf-8", "backslashreplace"))
    content = message.content
    said = sum(_size(v) for r in content.values() if isinstance(r, ConfigRecord | MetricRecord) for v in r.values())
    return said + sum(value.nbytes for value in arrays.all_views(content).values())


def _size(value: Any) -> int:
    if isinstance(value, list):
        return sum(map(_size, value))
    if isinstance(value, str):
        return len(value.encode("utf-8", "backslashreplace"))
    return len(value) if isinstance(value, bytes) else NUMBER_BYTES
