"""Trips of messages that go out together, computed for all at once: a thousand take little longer than ten."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from fedmed.flower.underway import Errand, Trip, Trips

KEPT = 8
"""Messages whose trips are kept: those that are on their way, and late ones."""
SIZES = 4
"""Sizes of answers for which all trips are computed; answers are nearly always of one size."""


@dataclass
class _Sent:
    """One message to many nodes."""

    at: float
    down_bytes: int
    works: dict[int, float]
    there: frozenset[int]
    known: dict[int, dict[int, Trip]] = field(default_factory=dict)
    """By bytes of the answer and node."""


class Together:
    """Implements `Trips`; what was not sent together is asked of `trips` one by one."""

    def __init__(self, trips: Trips) -> None:
        self._trips = trips
        self._sent: deque[_Sent] = deque(maxlen=KEPT)

    def sent(self, errands: Iterable[Errand]) -> None:
        """These go out now; of several to one node, the first."""
        groups: dict[tuple[float, int], dict[int, float]] = {}
        for each in errands:
            if each.takes_time:
                groups.setdefault((each.sent_at, each.down_bytes), {}).setdefault(each.node, each.work)
        for (at, down_bytes), works in groups.items():
            self._sent.append(_Sent(at, down_bytes, works, frozenset(self._trips.those_there(list(works), at))))

    def trip(self, node: int, at: float, down_bytes: int, work: float, up_bytes: int) -> Trip:
        """See `Trips`."""
        for sent in self._sent:
            if sent.at == at and sent.down_bytes == down_bytes and sent.works.get(node) == work:
                if up_bytes not in sent.known and len(sent.known) < SIZES:
                    sent.known[up_bytes] = self._all(sent, up_bytes)
                if up_bytes in sent.known:
                    return sent.known[up_bytes][node]
        return self._trips.trip(node, at, down_bytes, work, up_bytes)

    def _all(self, sent: _Sent, up_bytes: int) -> dict[int, Trip]:
        nodes, works = list(sent.works), list(sent.works.values())
        return dict(zip(nodes, self._trips.all_trips(nodes, sent.at, sent.down_bytes, works, up_bytes), strict=True))

    def all_trips(
        self, nodes: Sequence[int], at: float, down_bytes: int, works: Sequence[float], up_bytes: int
    ) -> Sequence[Trip]:
        """See `Trips`."""
        return self._trips.all_trips(nodes, at, down_bytes, works, up_bytes)

    def is_there(self, node: int, at: float) -> bool:
        """See `Trips`."""
        for sent in self._sent:
            if sent.at == at and node in sent.works:
                return node in sent.there
        return self._trips.is_there(node, at)

    def those_there(self, nodes: Sequence[int], at: float) -> list[int]:
        """See `Trips`."""
        return self._trips.those_there(nodes, at)
