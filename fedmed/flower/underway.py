"""Messages under way in virtual time: which answer is there next, and whose work must be known before that can be said.

A node takes one message at a time, as the program of a clinic does (`fedmed.flower.node`): the next one once the answer to
the last one is away. How long an answer travels is known once it is made, for its bytes decide; until then its trip without
any bytes bounds from below when it can be there. So an answer is known to be the next one when nothing that is still being
made could be there before it, whatever process is done first.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


class Trip(Protocol):
    """One message and its answer, in seconds of virtual time; see `fedmed.twin.trips.Trip`."""

    @property
    def heard_at(self) -> float:
        """The message is there whole."""

    @property
    def done_at(self) -> float:
        """The work is done; infinite where it never is."""

    @property
    def there_at(self) -> float:
        """The answer is back whole; infinite where it never comes."""

    @property
    def lost(self) -> str:
        """Why it never comes; empty where it does."""


class Trips(Protocol):
    """How long messages and work take, and what befalls them: `fedmed.twin.trips.Trips`, asked of many nodes at once too.

    More bytes of an answer never bring it earlier, nor one back that is lost without any.
    """

    def trip(self, node: int, at: float, down_bytes: int, work: float, up_bytes: int) -> Trip:
        """Of a message that is sent to `node` at `at`."""

    def all_trips(
        self, nodes: Sequence[int], at: float, down_bytes: int, works: Sequence[float], up_bytes: int
    ) -> Sequence[Trip]:
        """`trip` of one message to many nodes, each with its work."""

    def is_there(self, node: int, at: float) -> bool:
        """Whether `node` gives a sign of life at `at`."""

    def those_there(self, nodes: Sequence[int], at: float) -> list[int]:
        """Those of `nodes` that do, in their order."""


class Folded(Trip, Protocol):
    """The trip of a message whose node folds the updates of devices below it into its answer."""

    @property
    def folded_at(self) -> float:
        """No device is waited for any more; the answer goes out then, or when the node's own work is done."""

    @property
    def devices(self) -> Mapping[int, Trip]:
        """The trips of the message to its devices, by their number."""

    @property
    def device_bytes(self) -> int:
        """Of each one's update."""

    @property
    def joined(self) -> Sequence[int]:
        """Devices whose updates are in the answer."""

    @property
    def missing(self) -> Mapping[int, str]:
        """The other devices and why."""


class Hubs(Protocol):
    """What nodes do of whose messages devices have their part."""

    def folded(self, node: int, kind: str, trip: Trip, down_bytes: int, up_bytes: int) -> Folded | None:
        """`trip` with what is waited for below; None where nobody below is asked. Neither an earlier answer nor other
        devices come of more `up_bytes`."""


@dataclass(frozen=True)
class AtOnce:
    """The trip of what takes no time."""

    heard_at: float
    lost: str = ""

    @property
    def done_at(self) -> float:
        """See `Trip`."""
        return self.heard_at

    @property
    def there_at(self) -> float:
        """See `Trip`."""
        return self.heard_at


@dataclass(eq=False)
class Errand:
    """A message and its answer."""

    number: int
    """In the order of sending; decides between answers that are there at the same moment."""
    id: str
    node: int
    kind: str
    message: Any
    sent_at: float
    down_bytes: int
    work: float
    takes_time: bool = True
    """False for what was asked before the clock began."""
    start_at: float = 0.0
    """When its node is free to take it."""
    trip: Trip | None = None
    """None while its node has others to answer first; that of an answer without bytes while the answer is being made."""
    folded: Folded | None = None
    """The same where devices have a part in it."""
    out_at: float = math.inf
    """When its node begins to take it; from then on it cannot be withdrawn."""
    earliest: float = math.inf
    """When the answer is there, or before which it cannot be; infinite where it never comes."""
    is_known: bool = False
    """Whether `earliest` is when it is there."""
    is_given: bool = False
    """Whether the node has it in reality."""
    is_over: bool = False
    """Whether it was withdrawn, or its answer is there."""
    up_bytes: int = 0
    answer: Any = None
    ended_at: float = math.inf
    """When the answer is there or is lost, once that is known; its node can take the next one then."""

    @property
    def is_lost(self) -> bool:
        """Whether its answer is known never to come."""
        return self.is_known and math.isinf(self.earliest)


class Underway:
    """All errands that are not over."""

    def __init__(self, trips: Trips, hubs: Hubs | None = None) -> None:
        self._trips, self._hubs = trips, hubs
        self._queues: defaultdict[int, deque[Errand]] = defaultdict(deque)
        """By node, those whose answer's time is not known."""
        self._free_at: dict[int, float] = {}
        self._bounds: list[tuple[float, int, int, Errand]] = []
        self._count = itertools.count()
        self._to_give: list[tuple[float, int, Errand]] = []

    def send(self, errand: Errand) -> list[Errand]:
        """Take up an errand; returns those whose trip begins to be known by it."""
        queue = self._queues[errand.node]
        queue.append(errand)
        return self._begin(errand.node)

    def withdraw(self, errand: Errand, now: float) -> list[Errand] | None:
        """Take an errand back whose node has not begun to take it, else None; returns those that begin in its place."""
        if errand.is_given or errand.out_at <= now:
            return None
        errand.is_over = True
        if errand.is_known:
            self._free_at[errand.node] = now
        else:
            self._queues[errand.node].remove(errand)
        return self._begin(errand.node)

    def answered(self, errand: Errand, up_bytes: int) -> list[Errand]:
        """Its answer is made, of so many bytes; returns those whose trip begins to be known by it."""
        bound, errand.up_bytes = errand.earliest, up_bytes
        errand.trip = self._trip(errand)
        self._known(errand, max(bound, errand.trip.there_at), bound)
        self._queues[errand.node].popleft()
        return self._begin(errand.node)

    def first(self) -> Errand | None:
        """The one whose answer can be there before all others'; None where none comes any more."""
        while self._bounds:
            earliest, *_, errand = self._bounds[0]
            if not errand.is_over and errand.earliest == earliest:
                return errand
            heapq.heappop(self._bounds)
        return None

    def to_give(self, until: float) -> list[Errand]:
        """What nodes begin to take by `until` and will have an answer to, each once, what is due first before the others."""
        found = []
        while self._to_give and self._to_give[0][0] <= until:
            errand = heapq.heappop(self._to_give)[2]
            if not errand.is_over:
                errand.is_given = True
                found.append(errand)
        return sorted(found, key=lambda each: (min(each.earliest, each.ended_at), each.number))

    def _begin(self, node: int) -> list[Errand]:
        """Make the trip of the first of a node known, and where that is lost of those behind it."""
        queue, begun = self._queues[node], []
        while queue and queue[0].trip is None:
            errand = queue[0]
            begun.append(errand)
            errand.start_at = max(errand.sent_at, self._free_at.get(node, -math.inf))
            errand.trip = trip = self._trip(errand)
            is_there = not errand.takes_time or self._trips.is_there(node, errand.start_at)
            errand.out_at = errand.start_at if is_there else trip.heard_at
            if math.isfinite(trip.done_at):
                heapq.heappush(self._to_give, (errand.out_at, errand.number, errand))
            if math.isfinite(trip.there_at):
                self._bound(errand, trip.there_at)
            else:
                self._known(errand, math.inf, errand.start_at)
                queue.popleft()
        for errand in itertools.islice(queue, 1, None):
            self._bound(errand, queue[0].earliest)  # behind it, so never before
        return begun

    def _trip(self, errand: Errand) -> Trip:
        if not errand.takes_time:
            return AtOnce(errand.start_at)
        trip = self._trips.trip(errand.node, errand.start_at, errand.down_bytes, errand.work, errand.up_bytes)
        if self._hubs is not None and math.isfinite(trip.there_at):
            errand.folded = self._hubs.folded(errand.node, errand.kind, trip, errand.down_bytes, errand.up_bytes)
            return errand.folded or trip
        return trip

    def _bound(self, errand: Errand, earliest: float) -> None:
        if errand.earliest != earliest:
            errand.earliest = earliest
            heapq.heappush(self._bounds, (earliest, errand.number, next(self._count), errand))

    def _known(self, errand: Errand, there_at: float, not_before: float) -> None:
        assert errand.trip is not None
        errand.is_known = True
        if math.isfinite(there_at):
            self._bound(errand, there_at)
            errand.ended_at = there_at
        else:
            errand.earliest = there_at
            times = (not_before, errand.trip.heard_at, errand.trip.done_at)
            errand.ended_at = max(time for time in times if math.isfinite(time))
        self._free_at[errand.node] = errand.ended_at
