"""What a round asks of whom, and what came of it: the same for rounds event by event and for those in columns."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from fedmed.config.scenario import Rounds, Training
from fedmed.errors import FederationError
from fedmed.federation.round import Verdict
from fedmed.twin import draws
from fedmed.twin.draws import Floats, Ints
from fedmed.twin.passing import GIVEN_UP_S
from fedmed.twin.world import LOST, World

LOOK_S = 60.0
"""Between two looks whether somebody is there, while nobody is."""


@dataclass(frozen=True)
class Terms:
    """What every round asks: the model goes down, is trained, and an update comes up."""

    rules: Rounds
    training: Training
    down_bytes: float
    up_bytes: float

    def work(self, cases: Floats) -> Floats:
        """Cases that each goes through, as often as it does (`federation.patience.work`); 0 for none."""
        each = self.training
        asked = cases * each.epochs if each.epochs else np.full(len(cases), float((each.steps or 1) * each.batch_size))
        return np.where(cases > 0, asked, 0.0)


@dataclass(frozen=True)
class Outcome:
    """What came of one attempt at one round."""

    number: int
    attempt: int
    began: float
    closed: float
    verdict: Verdict
    asked: Ints
    """Clinics, in the order in which they were drawn."""
    joined: Ints
    """Clinics whose update is in the model, in the order of arrival."""
    devices: int = 0
    """Of those clinics, whose updates are in theirs."""
    missing: Mapping[int, str] = field(default_factory=dict)
    """Each of the others and why, where that is asked for (`reasons`)."""


def drawn(world: World, number: int, attempt: int, at: float) -> tuple[Ints, Floats | None]:
    """Clinics that are asked at `at`: all, or as many of those that are there as the scenario says, times `over`.

    And until when each of them stays there for sure, where that was looked at.

    Candidates are tried in a random order until there are enough, so this takes as long as the cohort is large, whatever
    the population.
    """
    count, cohort = world.roster.clinics, world.topology.cohort
    if cohort is None:
        return np.arange(count), None
    wanted = math.ceil(cohort * world.topology.over - 1e-9)
    order = draws.Order(draws.key(world.seed, "cohort", number, attempt), count)
    found, free, tried = np.empty(0, np.int64), np.empty(0), 0
    while tried < count and len(found) < wanted:
        share = (len(found) + 1) / (tried + 1)  # of those that were tried so far
        batch = min(int((wanted - len(found)) / share * 1.05) + 32, count - tried)
        nodes = order.at(np.arange(tried, tried + batch))
        silent, until = world.silent(nodes, np.full(batch, at))
        found, free = np.concatenate([found, nodes[~silent]]), np.concatenate([free, until[~silent]])
        tried += batch
    return found[:wanted], free[:wanted]


def begin(world: World, number: int, attempt: int, at: float) -> tuple[Ints, Floats | None, float]:
    """Whom a round asks, see `drawn`, and when: as soon as somebody is there.

    Raises FederationError where nobody comes for days.
    """
    moment = at
    while not (asked := drawn(world, number, attempt, moment))[0].size:
        moment += LOOK_S
        if moment - at > GIVEN_UP_S:
            raise FederationError(
                f"round {number}: nobody was there for {GIVEN_UP_S / 86_400:.0f} days; see the presence and "
                "the faults of the topology, and ask fewer at a time"
            )
    return *asked, moment


def enough(world: World, asked: int) -> int:
    """So many answers of those asked close a round: the cohort without what it was asked over."""
    return math.ceil(asked / world.topology.over - 1e-9)


def had_until(deadline_s: float) -> str:
    """The time that all had, in words that follow `no answer`."""
    return f"by the deadline of {deadline_s:g} s"


OTHERS = "before enough others had answered"


def why(world: World, node: int, began: float, closed: float, had: str, lost: int) -> str:
    """Why nothing came of `node` until `closed`, in words that follow `no answer`."""
    kept = LOST[lost] or world.befell(node, began, closed)
    return f"{had}: {kept}" if kept else had
