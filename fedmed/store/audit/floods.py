"""What is refused, in the audit log: the first time as an entry, and what comes again within a minute as a number."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from fedmed.clock import Clock
from fedmed.store.audit.event import Event, event

AGAIN_S = 60.0
"""The same refusal of the same peer is one entry in this time, with its number."""


@dataclass(frozen=True)
class Kind:
    """What makes two refusals the same."""

    peer: str
    resource: str
    code: int | str


@dataclass
class Floods:
    """Writes refusals of one sort down; safe from any thread."""

    who: str
    """The node's name."""
    role: str
    clock: Clock
    record: Callable[[Event], object]
    action: str
    others: Kind
    """What all are counted as, once there are `most` different ones within the time: nobody fills the log or the memory."""
    most: int
    _seen: dict[Kind, tuple[float, int]] = field(default_factory=dict)
    """When each was written, and how many came since."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, kind: Kind, reason: str) -> None:
        """Write a refusal down, or count it."""
        now = self.clock.now()
        self._settle(now)
        with self._lock:
            if kind not in self._seen and len(self._seen) >= self.most:
                kind = self.others
            before = self._seen.get(kind)
            self._seen[kind] = (now, 0) if before is None else (before[0], before[1] + 1)
        if before is None:
            self.record(self._entry(kind, reason, 1))

    def settle(self, is_end: bool = False) -> None:
        """Write the numbers of those whose time is over, or at the end of all: a flood that has ended is told as well."""
        self._settle(float("inf") if is_end else self.clock.now())

    def _settle(self, now: float) -> None:
        with self._lock:
            over = {kind: count for kind, (since, count) in self._seen.items() if now - since >= AGAIN_S}
            for kind in over:
                del self._seen[kind]
        for kind, count in over.items():
            if count:
                self.record(self._entry(kind, "as before", count))

    def _entry(self, kind: Kind, reason: str, count: int) -> Event:
        return event(
            self.clock.unix(), self.who, self.role, self.action, kind.resource, "refused",
            reason=reason, peer=kind.peer, code=kind.code, number=count,
        )  # fmt: skip
