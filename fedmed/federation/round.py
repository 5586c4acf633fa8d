"""One round as a pure state machine: events in, new state and instructions out, no clock, no network.

The rules it keeps, each against a way in which a federation has gone wrong:
- an answer counts once, from a site of the cohort, while the round is open (a replayed or late answer counts never);
- a round closes when every site is accounted for or the deadline has passed, never earlier and never silently:
  whoever is missing is named, with the reason;
- quorum counts sites and their cases, so that a slow large site cannot be dropped unseen.

A buffer (`federation.buffered`) is a round that closes at so many updates: its cohort are all that train meanwhile, and
who is not in it goes on, which is no absence. Its quorum is the share of that number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from fedmed.config.scenario import Quorum
from fedmed.federation.grown import Grown, Names


@dataclass(frozen=True)
class Answered:
    """A site's update arrived and was found usable."""

    site: str


@dataclass(frozen=True)
class Failed:
    """A site reported an error, or its process ended."""

    site: str
    reason: str


@dataclass(frozen=True)
class Refused:
    """A site's update arrived and cannot be used."""

    site: str
    reason: str


@dataclass(frozen=True)
class Ticked:
    """Time has passed; `now` is on the scale of `Round.deadline`."""

    now: float


@dataclass(frozen=True)
class Extended:
    """Waiting ends at `deadline` now: by what is known of those that are waited for, or for those that had no turn yet."""

    deadline: float


Event = Answered | Failed | Refused | Ticked | Extended


class Instruction(Enum):
    """What the shell has to do after an event."""

    TAKE = "take the update into the sum"
    DROP = "drop the update"
    CLOSE = "stop waiting: the round is closed"


class Verdict(Enum):
    """How a round stands."""

    OPEN = "open"
    COMPLETE = "complete"
    QUORUM = "closed by quorum"
    SHORT = "short of quorum"


@dataclass(frozen=True)
class Round:
    """The state of one attempt at one round."""

    number: int
    cohort: Mapping[str, float]
    """Data weight (training cases) of every site asked."""
    deadline: float
    """When waiting ends, on the clock's scale."""
    quorum: Quorum = field(default_factory=Quorum)
    joined: Names = field(default_factory=Names)
    failed: Grown[str] = field(default_factory=Grown)
    refused: Grown[str] = field(default_factory=Grown)
    is_closed: bool = False
    had: Mapping[str, str] = field(default_factory=dict)
    """Time that each site had which did not answer, in words; known once the round is closed."""
    size: int | None = None
    """Updates that close it where it is a buffer; None: those of the whole cohort."""

    def waiting(self) -> list[str]:
        """Sites of the cohort that are not accounted for."""
        accounted = {*self.joined, *self.failed, *self.refused}
        return [site for site in self.cohort if site not in accounted]

    def is_waiting_for(self, site: str) -> bool:
        """Whether `site` is of the cohort and not accounted for."""
        accounted = site in self.failed or site in self.refused or site in self.joined
        return site in self.cohort and not accounted

    def missing(self) -> dict[str, str]:
        """Every site that did not answer and why; who goes on beyond a buffer is not missing."""
        if self.size is not None:
            return dict(self.failed)
        return {**self.failed, **{site: self.late(site) for site in self.waiting()}}

    def late(self, site: str) -> str:
        """What is said of a site that has had its time."""
        return f"no answer {self.had.get(site, 'in time')}"

    def verdict(self) -> Verdict:
        """How the round stands; decided once it is closed."""
        if not self.is_closed:
            return Verdict.OPEN
        if len(self.joined) == self._full:
            return Verdict.COMPLETE
        return Verdict.SHORT if self.shortfalls() else Verdict.QUORUM

    @property
    def _full(self) -> int:
        return len(self.cohort) if self.size is None else self.size

    def shortfalls(self) -> list[str]:
        """What the quorum lacks, in words; empty where it is met."""
        if self.size is not None:
            if self.joined and len(self.joined) >= self.quorum.sites * self.size:
                return []
            return [f"{len(self.joined)} of {self.size} updates of the buffer came, {self.quorum.sites:.0%} are needed"]
        lacks = []
        share = len(self.joined) / max(1, len(self.cohort))
        total = sum(self.cohort.values())
        weight = sum(self.cohort[site] for site in self.joined) / total if total > 0 else 0.0
        if not self.joined or share < self.quorum.sites:
            lacks.append(f"{len(self.joined)} of {len(self.cohort)} sites joined, {self.quorum.sites:.0%} are needed")
        if weight < self.quorum.data_weight:
            lacks.append(f"{weight:.0%} of the data weight joined, {self.quorum.data_weight:.0%} is needed")
        absent = [site for site in self.quorum.required if site in self.cohort and site not in self.joined]
        if absent:
            lacks.append(f"required and absent: {', '.join(absent)}")
        return lacks


def step(state: Round, event: Event) -> tuple[Round, list[Instruction]]:
    """The round after `event`, and what is to be done about it."""
    if isinstance(event, Ticked):
        if state.is_closed or event.now < state.deadline:
            return state, []
        return replace(state, is_closed=True), [Instruction.CLOSE]
    if isinstance(event, Extended):
        return (state if state.is_closed else replace(state, deadline=event.deadline)), []
    if state.is_closed or not state.is_waiting_for(event.site):
        return state, [Instruction.DROP]
    match event:
        case Answered(site):
            state, said = replace(state, joined=state.joined.also(site)), [Instruction.TAKE]
        case Failed(site, reason):
            state, said = replace(state, failed=state.failed.also(site, reason)), []
        case Refused(site, reason):
            state, said = replace(state, refused=state.refused.also(site, reason)), [Instruction.DROP]
    if len(state.joined) == state.size or len(state.joined) + len(state.failed) + len(state.refused) == len(state.cohort):
        return replace(state, is_closed=True), [*said, Instruction.CLOSE]
    return state, said
