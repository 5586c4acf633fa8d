"""Rounds event by event: the real state machine of a round (`federation.round.step`) in a world whose time is virtual.

What is asked goes out at a moment, and each answer is a moment of the calendar. What comes when its round is closed is
dropped, as the center drops it. Who is still busy with an earlier round answers the next as if it were not: trips are pure.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from fedmed.errors import QuorumError
from fedmed.federation.round import Answered, Extended, Failed, Instruction, Round, Ticked, Verdict, step
from fedmed.twin.asking import OTHERS, Outcome, Terms, begin, enough, had_until, why
from fedmed.twin.clock import VirtualClock
from fedmed.twin.draws import Floats, Ints
from fedmed.twin.limits import Limit, Limits, Own, Same
from fedmed.twin.meter import Meter
from fedmed.twin.trace import Trace
from fedmed.twin.world import FULL, LOST, Legs, World

if TYPE_CHECKING:
    from fedmed.twin.hubs import Hub
    from fedmed.twin.use import Use


@dataclass
class _Open:
    """A round that somebody holds with those below."""

    state: Round
    nodes: Ints
    names: list[str]
    limit: Limit
    began: float
    attempt: int
    enough: int
    """So many answers close it."""
    lost: dict[int, int] = field(default_factory=dict)
    """Place of a member whose answer never comes -> its code."""
    answered: list[int] = field(default_factory=list)
    """Places, in order."""
    is_enough: bool = False
    ticks_at: float = math.inf
    """The nearest moment for which a look at the deadline is in the calendar."""
    is_short: bool = True
    """Whether the quorum is still lacking something."""
    closed: float | None = None
    latest: float = math.inf
    """A region waits no longer, for it is waited for itself."""
    upper: tuple[_Open, int] | None = None
    """The round of the tier above, and the holder's place in it."""
    beneath: dict[int, Ints] = field(default_factory=dict)
    """Place of a region -> clinics that are asked through it."""
    parts: dict[int, _Open] = field(default_factory=dict)
    """Place of a region -> its own round."""
    devices: dict[int, int] = field(default_factory=dict)
    """Place of a clinic -> so many of its devices are in its answer."""


class Events:
    """Rounds of a scenario."""

    def __init__(
        self, world: World, terms: Terms, trace: Trace | None = None, reasons: bool = False, use: Use | None = None
    ) -> None:
        """`reasons`: whether outcomes say why each missing clinic is missing; a `trace` says it in any case. `use` is told
        of all that goes out."""
        self.world, self.terms, self.clock = world, terms, VirtualClock()
        self._trace, self._reasons = trace, reasons or trace is not None
        self._meter, self._use = Meter(world), use
        given = terms.rules.deadline_s
        self._limits: Limits = Own(world) if given is None else Same(given)

    def rounds(self, count: int, first: int = 1) -> Iterator[Outcome]:
        """Every attempt at `count` rounds from number `first` on. Raises QuorumError once all attempts at one were short."""
        attempts = self.terms.rules.attempts
        for number in range(first, first + count):
            for attempt in range(1, attempts + 1):
                outcome = self._round(number, attempt)
                yield outcome
                if outcome.verdict is not Verdict.SHORT:
                    break
            else:
                raise QuorumError(f"round {number} missed its quorum {attempts} times")

    def _round(self, number: int, attempt: int) -> Outcome:
        asked, free, began = begin(self.world, number, attempt, self.clock.now())
        self.clock.go_to(began)
        opened = self._open(number, attempt, self.world.roster.center, asked, free)
        calendar = self.clock.calendar
        while opened.closed is None:
            self.clock.go_to(calendar.next_at())
        return self._outcome(opened, asked)

    def _open(self, number: int, attempt: int, holder: int, clinics: Ints, free: Floats | None = None) -> _Open:
        began, world, terms = self.clock.now(), self.world, self.terms
        nodes, beneath = through(world, holder, clinics)
        names = [world.roster.name(node) for node in nodes.tolist()]
        work, weight = terms.work(world.roster.cases(nodes)), world.roster.weight(nodes)
        for place, each in beneath.items():
            work[place], weight[place] = terms.work(world.roster.cases(each)).max(), world.roster.weight(each).sum()
        limit = self._limits.begin(nodes, began, work.tolist(), terms.down_bytes)
        state = Round(number, dict(zip(names, weight.tolist(), strict=True)), limit.due(True), terms.rules.quorum)
        wanted = enough(world, len(nodes) - len(beneath)) + len(beneath)
        opened = _Open(state, nodes, names, limit, began, attempt, wanted, beneath=beneath)
        self._say("asked", opened, by=world.roster.name(holder), members=names)
        direct = len(nodes) - len(beneath)
        self._send(opened, work[:direct], None if beneath else free)
        for place in beneath:
            if math.isfinite(heard := self._carried("down", opened, place, terms.down_bytes)):
                self._enter(heard, self._passed_on, opened, place)
        return opened

    def _carried(self, way: str, opened: _Open, place: int, size: float, uncapped: float | None = None) -> float:
        """When a message that goes out now is there; `uncapped`: see `Meter.carry`."""
        now = np.array([self.clock.now()])
        there = self._meter.carry(way, opened.nodes[place : place + 1], now, size, uncapped)
        if self._use is not None:
            self._use.message(way, int(opened.nodes[place]), self.clock.now(), there, size)
        return there

    def _send(self, opened: _Open, work: Floats, free: Floats | None) -> None:
        """Ask the clinics, which stand before the regions."""
        nodes = opened.nodes[: len(work)]
        sent = np.full(len(nodes), opened.began)
        legs = self._meter.legs(nodes, sent, self.terms.down_bytes, work, self.terms.up_bytes, free)
        if self._trace is not None:
            for moment, event in ((legs.heard, "heard"), (legs.done, "done")):
                for place in np.flatnonzero(np.isfinite(moment)).tolist():
                    self._enter(float(moment[place]), self._said, event, opened, place)
        never = np.full(len(opened.nodes) - len(nodes), math.inf)
        opened.limit.expect(np.concatenate([legs.there, never]))
        hubs = set(self.world.roster.with_devices(nodes).tolist())
        if self._use is not None:
            self._use.legs(nodes, sent, _without(legs, sorted(hubs)), self.terms.down_bytes, self.terms.up_bytes)
        for place, at in enumerate(np.minimum(legs.there, legs.told).tolist()):
            if legs.lost[place]:
                opened.lost[place] = int(legs.lost[place])
            if legs.lost[place] == FULL:
                self._enter(at, self._failed, opened, place, LOST[FULL])
            elif at < math.inf and place not in hubs:
                self._enter(at, self._answered, opened, place)
        self._ask_devices(opened, [place for place in sorted(hubs) if not legs.lost[place]], legs)
        self._await(opened)

    def _passed_on(self, opened: _Open, place: int) -> None:
        """A region has the message, and asks those below it; it has its own time, less what its answer takes."""
        now, state = self.clock.now(), opened.state
        part = self._open(state.number, opened.attempt, int(opened.nodes[place]), opened.beneath[place])
        rest = state.deadline - now
        part.latest = now + max(rest / 2, rest - 2 * (now - opened.began))
        part.upper = (opened, place)
        opened.parts[place] = part
        self._look(part)

    def _ask_devices(self, opened: _Open, places: list[int], legs: Legs) -> None:
        """Each of these clinics asks its devices when it has the message, and trains itself until `legs` says.

        No clinic's devices know of another's, so each fold is played to its end at once, and all go up in one reckoning.
        """
        below = [self.world.roster.below(int(opened.nodes[place])) for place in places]
        if not below:
            return
        from fedmed.twin.hubs import settle  # it knows masks, and most worlds have no devices

        devices, at = np.concatenate(below), np.repeat(legs.heard[places], [len(each) for each in below])
        work = self.terms.work(self.world.roster.cases(devices))
        theirs = self._meter.legs(devices, at, self.terms.down_bytes, work, self.terms.up_bytes)
        if self._use is not None:
            self._use.legs(devices, at, theirs, self.terms.down_bytes, self.terms.up_bytes)
        names = [self.world.roster.name(node) for node in devices.tolist()]
        answers = [
            (there, told, LOST[FULL]) for there, told in zip(theirs.there.tolist(), theirs.told.tolist(), strict=True)
        ]
        hubs: list[tuple[Hub, float]] = []
        for place, each in zip(places, below, strict=True):
            who, names, said, answers = names[: len(each)], names[len(each) :], answers[: len(each)], answers[len(each) :]
            hubs.append(settle(who, float(legs.heard[place]), float(legs.done[place]), said))
        folded = np.array([at for _, at in hubs])
        there = self.world.carry("up", opened.nodes[places], folded, self.terms.up_bytes)
        for place, (hub, moment), up in zip(places, hubs, there.tolist(), strict=True):
            if moment < math.inf:
                self._enter(moment, self._folded, opened, place, hub, up)

    def _folded(self, opened: _Open, place: int, hub: Hub, there: float) -> None:
        """A clinic has its devices' updates in its own; `there`: when that is above, were its line without a cap."""
        opened.devices[place] = len(hub.joined)
        self._said("folded", opened, place, devices=list(hub.joined), missing=hub.missing)
        if math.isfinite(at := self._carried("up", opened, place, self.terms.up_bytes, there)):
            self._enter(at, self._answered, opened, place)

    def _await(self, opened: _Open) -> None:
        """A look at the deadline is due when it comes."""
        if opened.state.deadline < opened.ticks_at:
            opened.ticks_at = max(opened.state.deadline, self.clock.now())
            self._enter(opened.ticks_at, self._ticked, opened)

    def _answered(self, opened: _Open, place: int) -> None:
        now, name = self.clock.now(), opened.names[place]
        is_late = opened.state.is_closed
        opened.state, said = step(opened.state, Answered(name))
        if Instruction.TAKE in said:
            opened.answered.append(place)
            opened.limit.left(place)
        opened.limit.heard(place, now, is_late)
        self._said("late" if is_late else "answered", opened, place)
        opened.is_enough = len(opened.answered) >= opened.enough
        self._look(opened)

    def _failed(self, opened: _Open, place: int, reason: str) -> None:
        if not opened.state.is_closed:
            self._said("failed", opened, place, reason=reason)
        opened.state, _ = step(opened.state, Failed(opened.names[place], reason))
        opened.limit.left(place)
        self._look(opened)

    def _ticked(self, opened: _Open) -> None:
        opened.ticks_at = math.inf
        self._look(opened)

    def _look(self, opened: _Open) -> None:
        """Wait for as long as those that are missing are worth it, as `federation.phase` does after each answer."""
        now = self.clock.now()
        if not opened.state.is_closed:
            if opened.is_short and len(opened.answered) >= opened.state.quorum.sites * len(opened.names):
                opened.is_short = bool(opened.state.shortfalls())
            due = now if opened.is_enough else min(opened.latest, opened.limit.due(opened.is_short))
            if due != opened.state.deadline:
                opened.state, _ = step(opened.state, Extended(due))
            opened.state, _ = step(opened.state, Ticked(now))
        if opened.state.is_closed:
            self._close(opened, now)
        else:
            self._await(opened)

    def _close(self, opened: _Open, now: float) -> None:
        """Once: a region's sum goes up, or word that it has none."""
        if opened.closed is not None:
            return
        opened.closed = now
        if not opened.is_enough:
            waited = set(opened.state.waiting())
            opened.limit.over([place for place, name in enumerate(opened.names) if name in waited], now)
        if opened.upper is None:
            return
        upper, place = opened.upper
        lacks = opened.state.shortfalls()
        self._said("folded", upper, place, joined=list(opened.state.joined), lacks=lacks)
        at = self._carried("up", upper, place, 0.0 if lacks else self.terms.up_bytes)
        if math.isfinite(at) and lacks:
            self._enter(at, self._failed, upper, place, "; ".join(lacks))
        elif math.isfinite(at):
            self._enter(at, self._answered, upper, place)

    def _outcome(self, opened: _Open, asked: Ints) -> Outcome:
        state, closed = opened.state, self.clock.now()
        verdict, joined, devices = state.verdict(), *_joined(opened)
        missing = self._missing(opened) if self._reasons else {}
        if self._trace is not None:
            lacks = state.shortfalls() if verdict is Verdict.SHORT else []
            named = {self.world.roster.name(node): reason for node, reason in missing.items()}
            self._say("closed", opened, verdict=verdict.value, lacks=lacks, missing=named)
        nodes = np.array(joined, dtype=np.int64)
        return Outcome(state.number, opened.attempt, opened.began, closed, verdict, asked, nodes, devices, missing)

    def _missing(self, opened: _Open) -> dict[int, str]:
        """Each clinic that is missing, and why."""
        found, nodes = dict[int, str](), opened.nodes.tolist()
        told = replace(opened.state, had=self._had(opened)).missing()
        for place, name in enumerate(opened.names):
            if name in told and place in opened.beneath:
                found |= {int(node): f"{name}: {told[name]}" for node in opened.beneath[place]}
            elif name in told:
                found[nodes[place]] = told[name]
            elif place in opened.parts:
                found |= self._missing(opened.parts[place])
        return found

    def _had(self, opened: _Open) -> dict[str, str]:
        """What is said of the time that each had which had not answered."""
        assert opened.closed is not None
        is_over, had = opened.is_enough or opened.closed < opened.state.deadline, dict[str, str]()
        for place, name in enumerate(opened.names):
            if opened.state.is_waiting_for(name):
                time = OTHERS if is_over else opened.limit.had(place)
                if not is_over and opened.latest < opened.limit.due(False):
                    time = had_until(round(opened.latest - opened.began, 1))
                node, lost = int(opened.nodes[place]), opened.lost.get(place, 0)
                had[name] = why(self.world, node, opened.began, opened.closed, time, lost)
        return had

    def _enter(self, at: float, do: Callable[..., None], *arguments: Any) -> None:
        self.clock.calendar.enter(at, partial(do, *arguments))

    def _said(self, event: str, opened: _Open, place: int, **about: Any) -> None:
        self._say(event, opened, who=opened.names[place], **about)

    def _say(self, event: str, opened: _Open, **about: Any) -> None:
        if self._trace is not None:
            self._trace(self.clock.now(), event, {"round": opened.state.number, "attempt": opened.attempt, **about})


def _without(legs: Legs, places: list[int]) -> Legs:
    """Of these places the answers go up on their own."""
    there = legs.there.copy()
    there[places] = math.inf
    return replace(legs, there=there)


def through(world: World, holder: int, clinics: Ints) -> tuple[Ints, dict[int, Ints]]:
    """Whom `holder` asks itself so that all `clinics` are asked: clinics first, then regions, and for the place of each
    region those that it asks."""
    if not world.roster.regions:
        return clinics, {}
    below: dict[int, list[Ints]] = {}
    groups, direct = world.roster.group_of(clinics), [np.empty(0, np.int64)]
    for group in np.unique(groups).tolist():
        members = clinics[groups == group]
        path = world.path(int(members[0]))
        child = path[path.index(holder) + 1 if holder in path else 0]
        if child == path[-1]:
            direct.append(members)
        else:
            below.setdefault(child, []).append(members)
    first = np.concatenate(direct)
    nodes = np.concatenate([first, np.array(sorted(below), dtype=np.int64)])
    return nodes, {len(first) + place: np.concatenate(below[child]) for place, child in enumerate(sorted(below))}


def _joined(opened: _Open) -> tuple[list[int], int]:
    """Clinics whose updates are in the sum, in the order of arrival, and how many devices are in theirs."""
    found, devices = list[int](), 0
    for place in opened.answered:
        if place in opened.parts:
            more, some = _joined(opened.parts[place])
            found.extend(more)
            devices += some
        else:
            found.append(int(opened.nodes[place]))
            devices += opened.devices.get(place, 0)
    return found, devices
