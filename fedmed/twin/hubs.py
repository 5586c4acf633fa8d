"""The devices of a clinic in virtual time, by the real state machine of their hub (`tiers.round.step`), masks left out.

A masked round asks and closes as a plain one does, and then opens its sum in a word or two, which are not timed.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Sequence
from functools import partial

from fedmed.tiers.round import DeviceRound, Lost, OrderCame, Phase, Rules, Ticked, Trained, Updated, step

Answer = tuple[float, float, str]
"""Of a device: when its update is there, when it is told that none comes (either may be infinite), and why none does."""


class Hub:
    """One round of a clinic's devices; all methods take the moment at which something happens."""

    def __init__(self, devices: Sequence[str], now: float, rules: Rules | None = None) -> None:
        self._state = DeviceRound(rules or Rules(), tuple(devices))
        self._state, _ = step(self._state, OrderCame(b"", now))
        self._is_trained = False

    @property
    def deadline(self) -> float:
        """When the waiting for devices ends."""
        return self._state.deadline

    @property
    def is_over(self) -> bool:
        """Whether nothing is waited for any more, neither devices nor the clinic's own training."""
        return self._is_trained and self._state.phase is Phase.OVER

    @property
    def joined(self) -> tuple[str, ...]:
        """Devices whose updates are in the clinic's, or none where their part was given up."""
        return () if self._state.reason else self._state.joined

    @property
    def missing(self) -> dict[str, str]:
        """The other devices and why."""
        given_up = dict.fromkeys(self._state.joined, self._state.reason) if self._state.reason else {}
        return {**given_up, **self._state.failed}

    def updated(self, device: str, now: float) -> None:
        """A device's update is there."""
        self._state, _ = step(self._state, Updated(device, now))

    def lost(self, device: str, reason: str, now: float) -> None:
        """A device says that it sends nothing."""
        self._state, _ = step(self._state, Lost(device, reason, now))

    def trained(self, now: float) -> None:
        """The clinic's own training is over."""
        self._is_trained = True
        self._state, _ = step(self._state, Trained(now))

    def ticked(self, now: float) -> None:
        """Time has passed."""
        self._state, _ = step(self._state, Ticked(now))


def settle(
    devices: Sequence[str],
    heard: float,
    done: float,
    answers: Sequence[tuple[float, float, str]],
    rules: Rules | None = None,
) -> tuple[Hub, float]:
    """A clinic's round from the moment at which it has `heard` of it to that at which nothing is waited for, by its hub.

    `done` is when the clinic's own training is over; infinite: never, and then the round is not over either. All in virtual
    seconds.
    """
    hub, count, due = Hub(devices, heard, rules), itertools.count(), list[tuple[float, int, Callable[[float], None]]]()

    def enter(at: float, happens: Callable[[float], None]) -> None:
        heapq.heappush(due, (at, next(count), happens))

    for name, (there, told, why) in zip(devices, answers, strict=True):
        if there < math.inf:
            enter(there, partial(hub.updated, name))
        elif told < math.inf:
            enter(told, partial(hub.lost, name, why))
    enter(done, hub.trained)
    enter(hub.deadline, hub.ticked)
    at = heard
    while not hub.is_over:
        (at, _, happens), until = heapq.heappop(due), hub.deadline
        if at == math.inf:
            return hub, at
        happens(at)
        if hub.deadline < until:
            enter(max(hub.deadline, at), hub.ticked)
    return hub, at
