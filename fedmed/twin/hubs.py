"""The devices of a clinic in virtual time, by the real state machine of their hub (`tiers.round.step`), masks left out.

A masked round asks and closes as a plain one does, and then opens its sum in a word or two, which are not timed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

from fedmed.tiers.round import DeviceRound, Lost, OrderCame, Phase, Rules, Ticked, Trained, Updated, step
from fedmed.twin.calendar import Calendar
from fedmed.twin.world import FULL, LOST


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


def played(answers: Sequence[tuple[str, float, float]], heard: float, done: float) -> tuple[float, Hub]:
    """A clinic's round of its devices, and when it is over; infinite: never.

    `answers`: of each device its name, and when its update or else the word that there is none is at the clinic; infinite
    where that never comes. `heard`: when the clinic has the order; `done`: when it has trained itself.
    """
    hub, calendar = Hub([name for name, _, _ in answers], heard), Calendar[Callable[[float], None]]()
    for name, there, told in answers:
        if there < math.inf:
            calendar.enter(there, partial(hub.updated, name))
        elif told < math.inf:
            calendar.enter(told, partial(hub.lost, name, LOST[FULL]))
    calendar.enter(done, hub.trained)
    calendar.enter(hub.deadline, hub.ticked)
    now = heard
    while not hub.is_over:
        if not len(calendar):
            return math.inf, hub
        due = hub.deadline
        at, happens = calendar.take()
        now = max(now, at)
        happens(now)
        if hub.deadline < due:
            calendar.enter(max(hub.deadline, now), hub.ticked)
    return now, hub
