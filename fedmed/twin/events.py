"""Rounds event by event: the real state machine of a round (`federation.round.step`) in a world whose time is virtual.

What is asked goes out at a moment, and each answer is a moment of the calendar. What comes when its round is closed is
dropped, as the center drops it. Who is still busy with an earlier round answers the next as if it were not: trips are pure.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from fedmed.errors import QuorumError
from fedmed.federation.round import Answered, Extended, Failed, Instruction, Round, Ticked, Verdict, step
from fedmed.twin.asking import OTHERS, Outcome, Terms, begin, enough, why
from fedmed.twin.clock import VirtualClock
from fedmed.twin.draws import Floats, Ints
from fedmed.twin.limits import Limit, Limits, Own, Same
from fedmed.twin.trace import Trace
from fedmed.twin.world import FULL, LOST, World


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


class Events:
    """Rounds of a scenario."""

    def __init__(self, world: World, terms: Terms, trace: Trace | None = None, reasons: bool = False) -> None:
        """`reasons`: whether outcomes say why each missing clinic is missing; a `trace` says it in any case."""
        self.world, self.terms, self.clock = world, terms, VirtualClock()
        self._trace, self._reasons = trace, reasons or trace is not None
        given = terms.rules.deadline_s
        self._limits: Limits = Own(world) if given is None else Same(given)

    def rounds(self, count: int) -> Iterator[Outcome]:
        """Every attempt at `count` rounds. Raises QuorumError once all attempts at one were short."""
        attempts = self.terms.rules.attempts
        for number in range(1, count + 1):
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
        opened = self._open(number, attempt, asked, free)
        calendar = self.clock.calendar
        while not opened.state.is_closed:
            self.clock.go_to(calendar.next_at())
        return self._outcome(opened)

    def _open(self, number: int, attempt: int, nodes: Ints, free: Floats | None) -> _Open:
        began, world, terms = self.clock.now(), self.world, self.terms
        cases = world.roster.cases(nodes)
        work = terms.work(cases)
        names = [world.roster.name(node) for node in nodes.tolist()]
        limit = self._limits.begin(nodes, began, work.tolist(), terms.down_bytes)
        cohort = dict(zip(names, cases.tolist(), strict=True))
        state = Round(number, cohort, limit.due(True), terms.rules.quorum)
        opened = _Open(state, nodes, names, limit, began, attempt, enough(world, len(nodes)))
        self._say("asked", opened, members=names)
        self._send(opened, work, free)
        self._await(opened)
        return opened

    def _send(self, opened: _Open, work: Floats, free: Floats | None) -> None:
        sent = np.full(len(opened.nodes), opened.began)
        legs = self.world.legs(opened.nodes, sent, self.terms.down_bytes, work, self.terms.up_bytes, free)
        if self._trace is not None:
            for moment, event in ((legs.heard, "heard"), (legs.done, "done")):
                for place in np.flatnonzero(np.isfinite(moment)).tolist():
                    self._enter(float(moment[place]), self._said, event, opened, place)
        opened.limit.expect(legs.there)
        for place, at in enumerate(np.minimum(legs.there, legs.told).tolist()):
            if legs.lost[place]:
                opened.lost[place] = int(legs.lost[place])
            if at < math.inf:
                self._enter(at, self._failed if legs.lost[place] == FULL else self._answered, opened, place)

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

    def _failed(self, opened: _Open, place: int) -> None:
        if not opened.state.is_closed:
            self._said("failed", opened, place, reason=LOST[FULL])
        opened.state, _ = step(opened.state, Failed(opened.names[place], LOST[FULL]))
        opened.limit.left(place)
        self._look(opened)

    def _ticked(self, opened: _Open) -> None:
        opened.ticks_at = math.inf
        self._look(opened)

    def _look(self, opened: _Open) -> None:
        """Wait for as long as those that are missing are worth it, as `federation.phase` does after each answer."""
        if opened.state.is_closed:
            return
        now = self.clock.now()
        if opened.is_short and len(opened.answered) >= opened.state.quorum.sites * len(opened.names):
            opened.is_short = bool(opened.state.shortfalls())
        due = now if opened.is_enough else opened.limit.due(opened.is_short)
        if due != opened.state.deadline:
            opened.state, _ = step(opened.state, Extended(due))
        opened.state, _ = step(opened.state, Ticked(now))
        self._await(opened)

    def _outcome(self, opened: _Open) -> Outcome:
        state, closed = opened.state, self.clock.now()
        if not opened.is_enough:
            waited = set(state.waiting())
            opened.limit.over([place for place, name in enumerate(opened.names) if name in waited], closed)
        missing = self._missing(opened, closed) if self._reasons else {}
        verdict = state.verdict()
        lacks = state.shortfalls() if verdict is Verdict.SHORT else []
        self._say(
            "closed",
            opened,
            verdict=verdict.value,
            lacks=lacks,
            missing={opened.names[place]: reason for place, reason in missing.items()},
        )
        nodes = opened.nodes
        return Outcome(
            state.number,
            opened.attempt,
            opened.began,
            closed,
            verdict,
            nodes,
            nodes[opened.answered],
            {int(nodes[place]): reason for place, reason in missing.items()},
        )

    def _missing(self, opened: _Open, closed: float) -> dict[int, str]:
        """Place of each member that is missing, and why."""
        is_over = opened.is_enough or closed < opened.state.deadline
        had = {}
        for place, name in enumerate(opened.names):
            if opened.state.is_waiting_for(name):
                had[name] = why(
                    self.world,
                    int(opened.nodes[place]),
                    opened.began,
                    closed,
                    OTHERS if is_over else opened.limit.had(place),
                    opened.lost.get(place, 0),
                )
        told = replace(opened.state, had=had).missing()
        return {place: told[name] for place, name in enumerate(opened.names) if name in told}

    def _enter(self, at: float, do: Callable[..., None], *arguments: Any) -> None:
        self.clock.calendar.enter(at, partial(do, *arguments))

    def _said(self, event: str, opened: _Open, place: int, **about: Any) -> None:
        self._say(event, opened, who=opened.names[place], **about)

    def _say(self, event: str, opened: _Open, **about: Any) -> None:
        if self._trace is not None:
            self._trace(self.clock.now(), event, {"round": opened.state.number, "attempt": opened.attempt, **about})
