"""Rounds in columns: the whole cohort of a round at once, for populations that event by event would take hours.

Equal to `events` where both apply: clinics directly under the center, none with devices, and one deadline for all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fedmed.errors import ConfigError, QuorumError
from fedmed.federation.round import Verdict
from fedmed.twin.asking import OTHERS, Outcome, Terms, begin, enough, had_until, why
from fedmed.twin.draws import Floats, Ints
from fedmed.twin.world import FULL, LOST, Legs, World


def not_in_columns(world: World, terms: Terms) -> list[str]:
    """What of a scenario `columns` cannot do, in words; empty where it can."""
    found = []
    if world.topology.regions or any(each.devices for each in world.topology.clinics):
        found.append("it has tiers below the center")
    if terms.rules.deadline_s is None:
        found.append("it measures how long each is waited for (federation.deadline_s is not given)")
    if any(line.cap is not None for line in world.topology.lines.values()):
        found.append("its lines have caps")
    return found


@dataclass(frozen=True)
class Columns:
    """Rounds of a scenario."""

    world: World
    terms: Terms
    reasons: bool = False
    """Whether outcomes say why each missing clinic is missing."""

    def rounds(self, count: int) -> Iterator[Outcome]:
        """Every attempt at `count` rounds.

        Raises QuorumError once all attempts at one were short, ConfigError for a scenario that only `events` knows.
        """
        if found := not_in_columns(self.world, self.terms):
            raise ConfigError(
                f"rounds in columns do not know this scenario: {'; '.join(found)}; allowed: rounds event by event"
            )
        at = 0.0
        for number in range(1, count + 1):
            for attempt in range(1, self.terms.rules.attempts + 1):
                outcome = self._round(number, attempt, at)
                at = outcome.closed
                yield outcome
                if outcome.verdict is not Verdict.SHORT:
                    break
            else:
                raise QuorumError(f"round {number} missed its quorum {self.terms.rules.attempts} times")

    def _round(self, number: int, attempt: int, at: float) -> Outcome:
        asked, free, began = begin(self.world, number, attempt, at)
        cases = self.world.roster.cases(asked)
        sent = np.full(len(asked), began)
        legs = self.world.legs(asked, sent, self.terms.down_bytes, self.terms.work(cases), self.terms.up_bytes, free)
        deadline = began + self.terms.rules.longest_s
        closed, had, places = self._closed(legs, deadline)
        joined = places[legs.lost[places] != FULL]
        missing = self._missing(asked, legs, places, began, closed, had) if self.reasons else {}
        verdict = self._verdict(asked, cases, joined)
        return Outcome(number, attempt, began, closed, verdict, asked, asked[joined], missing=missing)

    def _closed(self, legs: Legs, deadline: float) -> tuple[float, str, Ints]:
        """When the round closes, what those had that are missing then, and the places of who was heard of, in order."""
        heard_of = np.minimum(legs.there, legs.told)
        order = np.argsort(heard_of, kind="stable")
        order = order[heard_of[order] <= deadline]
        wanted = enough(self.world, len(heard_of))
        answers = np.cumsum(legs.lost[order] != FULL)
        last = int(np.searchsorted(answers, wanted))
        if last < len(order):
            order, had = order[: last + 1], OTHERS
        elif len(order) < len(heard_of):
            return deadline, had_until(self.terms.rules.longest_s), order
        else:
            had = OTHERS
        return float(heard_of[order[-1]]), had, order

    def _missing(self, asked: Ints, legs: Legs, places: Ints, began: float, closed: float, had: str) -> dict[int, str]:
        failed = {int(asked[place]): LOST[FULL] for place in places if legs.lost[place] == FULL}
        late = np.setdiff1d(np.arange(len(asked)), places)
        nodes = ((int(asked[place]), int(legs.lost[place])) for place in late)
        return failed | {node: f"no answer {why(self.world, node, began, closed, had, lost)}" for node, lost in nodes}

    def _verdict(self, asked: Ints, cases: Floats, joined: Ints) -> Verdict:
        """As `Round.verdict` counts: cases are whole numbers, so sums are exact in any order."""
        quorum = self.terms.rules.quorum
        if len(joined) == len(asked):
            return Verdict.COMPLETE
        total = cases.sum()
        weight = cases[joined].sum() / total if total > 0 else 0.0
        there = {int(node) for node in asked[joined]} if quorum.required else set()
        required = (
            {self.world.roster.node(name) for name in quorum.required} & {int(node) for node in asked} if there else set()
        )
        is_short = not len(joined) or len(joined) / len(asked) < quorum.sites or weight < quorum.data_weight
        return Verdict.SHORT if is_short or required - there else Verdict.QUORUM
