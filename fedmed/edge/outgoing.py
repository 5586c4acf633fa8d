"""What goes from a device to its clinic's hub: many small objects in one call, as fast as the clinic allows."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from fedmed.clock import Clock
from fedmed.edge.leaving import Call, Leaving
from fedmed.edge.pacing import Bucket, Pace, asks, full, minute_of_day, quiet_s, sent, wait_s
from fedmed.errors import FedmedError, StoreError
from fedmed.hub.messages import Piece
from fedmed.hub.uploading import Read, Sent
from fedmed.store.spool.entry import STUDY, UPDATE, Entry
from fedmed.store.spool.spool import Spool

MOST_ENTRIES, MOST_BYTES = 256, 4 << 20
"""Of one call of `Line.send`; what is larger goes alone."""
LONGEST_WAIT_S = 3600.0


class Uploader(Protocol):
    """`fedmed.hub.client.HubClient`."""

    def upload(self, pieces: Sequence[Piece], read: Read) -> list[Sent]:
        """What became of each. Raises Unreachable, DeviceRefused, VersionRefused, ProtocolRefused."""


@dataclass
class Line:
    """The line to the hub, with what it may bear; for one thread, and one beside it.

    What both have in hand is of different studies, so that each study's images arrive in order.
    """

    client: Uploader
    pace: Pace
    clock: Clock
    leaving: Leaving = field(default_factory=Leaving)
    _bucket: Bucket = field(init=False)

    def __post_init__(self) -> None:
        self._bucket = full(self.pace, self.clock.now())

    def taken(
        self, spool: Spool, allowed: Sequence[str] = (STUDY, UPDATE), is_beside: bool = False
    ) -> tuple[tuple[Entry, ...], float | None]:
        """What may go now, taken from the spool; where nothing may, seconds until something might, None for unknown.

        `is_beside`: for the thread beside; where there is a cap, one is enough to use it up. Raises StoreError: nothing is
        taken.
        """
        if is_beside and self.pace.bytes_per_s is not None:
            return (), None
        now, unix = self.clock.now(), self.clock.unix()
        minute = minute_of_day(unix, _offset_s(unix))
        for ask in asks(self.pace, self._bucket, now, minute):
            kinds = [kind for kind in ask.kinds if kind in allowed]
            if kinds and (found := _together(spool, kinds, unix, ask.least)):
                return tuple(found), None
        wait = wait_s(self.pace, self._bucket, now) or (quiet_s(self.pace, minute) if self.pace.is_quiet(minute) else 0.0)
        counts = spool.counts()
        waits = any(counts.entries[kind] for kind in allowed)
        return (), min(max(wait, 1.0), LONGEST_WAIT_S) if waits else None

    def send(self, spool: Spool, entries: Sequence[Entry]) -> dict[int, FedmedError]:
        """Send them; those that the hub did not take, and why. Raises as `Uploader.upload`, StoreError."""
        by_digest = {each.digest: each for each in entries}
        pieces = [Piece(each.digest, each.kind, each.size, each.facts) for each in by_digest.values()]
        began, size = self.clock.now(), sum(each.size for each in entries)
        answers = self.client.upload(pieces, lambda piece: spool.content(by_digest[piece.digest]))
        now = self.clock.now()
        self._bucket = sent(self.pace, self._bucket, size, now)
        self.leaving.took(Call(began, now, size))
        refused = {answer.piece.digest: answer.error for answer in answers if answer.error is not None}
        return {each.number: refused[each.digest] for each in entries if each.digest in refused}

    def told(self, spool: Spool) -> dict[str, Any]:
        """How much waits for the hub, and how long that takes: `Leaving.told`."""
        return self.leaving.told(spool.counts(), self.pace.bytes_per_s)


def _together(spool: Spool, kinds: Sequence[str], unix: float, least: int) -> list[Entry]:
    """The next study's images, and the next ones', as far as one call goes; what is larger goes alone. Raises StoreError."""
    found = spool.batch(kinds, unix, least, MOST_ENTRIES, MOST_BYTES)
    with suppress(StoreError):  # what was handed out goes; the next look is told
        while found and len(found) < MOST_ENTRIES and (room := MOST_BYTES - sum(each.size for each in found)) > 0:
            more = spool.batch(kinds, unix, least, MOST_ENTRIES - len(found), room)
            if not more:
                break
            found += more
    return found


def _offset_s(unix: float) -> float:
    """Of this machine's local time, then."""
    offset = datetime.fromtimestamp(unix).astimezone().utcoffset()
    return 0.0 if offset is None else offset.total_seconds()
