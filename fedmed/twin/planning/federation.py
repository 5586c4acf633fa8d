"""The plan of a scenario with a topology: each tier and kind of member, a round, the whole run, and what binds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fedmed.config.scenario import Scenario
from fedmed.config.topology import CENTER, Line, Topology
from fedmed.errors import ConfigError
from fedmed.twin.planning import lines, money, storage
from fedmed.twin.planning.cost import Cost
from fedmed.twin.planning.energy import JOULES_A_KWH
from fedmed.twin.planning.members import Member, Messages, Place, member
from fedmed.twin.profiles import Profile, profiles_of

DAY_S, MOST_S = 86_400.0, 3650 * 86_400.0
"""Seconds of a day; longest round that is no slip of the pen."""


@dataclass(frozen=True)
class Tier:
    """Center or region: its line carries the model to all below it, and their updates back."""

    who: str
    under: str
    """Name of the tier above; empty for the center."""
    profile: Profile
    line_name: str
    line: Line
    below: int
    """Members and regions that it speaks to in a round."""
    out_s: float
    """Until the last of them could have the model, as far as this line goes."""
    in_s: float
    """Until it could have all of their updates."""
    above_s: float
    """On its own way up and down; 0 for the center."""


@dataclass(frozen=True)
class Plan:
    """A scenario, reckoned."""

    rounds: int
    cost: Cost
    messages: Messages
    tiers: tuple[Tier, ...]
    """The center first."""
    members: tuple[Member, ...]
    round_s: float
    """Where each has the cases of the one in the middle."""
    slow_s: float
    """Where the round waits for the largest and the slowest."""
    last: str
    """Who ends last."""
    transfers: Mapping[str, float]
    """Seconds of a round that messages of each kind take, all tiers together."""
    share: float
    """Of the clinics that are asked in a round."""

    @property
    def whole_s(self) -> float:
        """The rounds, one after the other."""
        return self.rounds * self.round_s

    @property
    def joules(self) -> float:
        """Of one round, all machines."""
        of_tiers = sum(each.profile.idle for each in self.tiers) * self.round_s
        return of_tiers + sum(each.joules(self.round_s, self.share) for each in self.members)

    @property
    def kwh(self) -> float:
        """Of the whole run."""
        return self.rounds * self.joules / JOULES_A_KWH

    @property
    def price(self) -> float:
        """Of buying all machines."""
        return sum(each.profile.price for each in self.tiers) + sum(each.count * each.profile.price for each in self.members)

    def room(self, tier: Tier) -> storage.Room:
        """What its disk must hold; the center's log has an entry a member and round, and one a round."""
        if tier.under:
            return storage.region(self.cost.parameters)
        rounds_a_day = min(self.rounds, DAY_S / self.round_s) if self.round_s else float(self.rounds)
        return storage.center(self.cost.parameters, rounds_a_day * (tier.below + 1))

    def needed(self, tier: Tier, seconds: float) -> tuple[float, float]:
        """Bytes a second that its line must carry, up and down, for the run to take `seconds`."""
        size = (self.messages.model, self.messages.update)
        up, down = (lines.bandwidth(tier.below, each, self.rounds, seconds) for each in size)
        return up, down

    def year(self, kwh: float = money.KWH, beside: float = 0.0) -> money.Running:
        """What a year costs where round follows round, `beside` what power and cooling cost."""
        watts = self.joules / self.round_s if self.round_s else 0.0
        return money.running(watts, staff=beside, kwh=kwh)


def plan(scenario: Scenario, cost: Cost, case: tuple[int, ...] | None = None) -> Plan:
    """Reckon `scenario`, whose cases have the shape `case`, or that which the network sees.

    Raises ConfigError where it has no topology, has rounds that wait for a buffer alone, or names machines that are none.
    """
    topology = scenario.topology
    if topology is None:
        raise ConfigError(f"{scenario.name} has no topology: write one, so that there are machines and lines to plan with")
    if scenario.federation.buffer is not None:
        raise ConfigError(
            f"{scenario.name} has federation.buffer, and a plan is of rounds that wait for all of their sites: leave it out "
            "(--set federation.buffer=null), or see in virtual time how long buffers take (fedmed simulate)"
        )
    profiles = profiles_of(topology)
    messages = Messages.of(scenario, cost)
    tiers = tuple(_tiers(topology, profiles, messages))
    members = tuple(_members(scenario, topology, profiles, cost, math.prod(case or cost.inputs)))
    ends = _ends(topology, {each.who: each for each in tiers}, {each.who: each for each in members})
    last = max(members, key=lambda each: ends[each.who] + each.train_s)
    slow_s = max(ends[each.who] + max(each.train_s, each.slow_s) for each in members)
    if not slow_s <= MOST_S:  # infinite, too
        raise ConfigError(
            f"{last.who}: a round would take {slow_s:.3g} s, of which training by {last.profile.name} is "
            f"{last.train_s:.3g} s and messages are {ends[last.who]:.3g} s; allowed: {MOST_S:.3g} s at most. "
            f"Mend its machine, line or cases"
        )
    share = _asked(topology) / sum(each.count for each in topology.clinics)
    round_s = ends[last.who] + last.train_s
    return Plan(scenario.rounds, cost, messages, tiers, members, round_s, slow_s, last.who, ends, share)


def _asked(topology: Topology) -> int:
    """Clinics asked in a round."""
    total = sum(each.count for each in topology.clinics)
    return total if topology.cohort is None else min(total, math.ceil(topology.cohort * topology.over))


def _ends(topology: Topology, tiers: Mapping[str, Tier], members: Mapping[str, Member]) -> dict[str, float]:
    """Seconds that each kind's messages take in a round."""
    found = {}
    for clinics in topology.clinics:
        own = members[clinics.name]
        for who in (clinics.name, *(f"{clinics.name}/{each.name}" for each in clinics.devices)):
            found[who] = _path(members[who], own, clinics.region, tiers)
    return found


def _tiers(topology: Topology, profiles: dict[str, Profile], messages: Messages) -> Iterator[Tier]:
    total = sum(each.count for each in topology.clinics)
    asked = _asked(topology)
    for name, under, machine, line_name in _places(topology):
        line = topology.lines[line_name]
        own = sum(each.count for each in topology.clinics if (each.region or CENTER) == name)
        below = math.ceil(asked * own / total) + sum(each.under == name for each in topology.regions)
        above = lines.down_s(messages.model, line) + lines.up_s(messages.update, line) if under else 0.0
        yield Tier(
            name,
            under,
            profiles[machine],
            line_name,
            line,
            below,
            below * messages.model / lines.rate(line.up, line),
            below * messages.update / lines.rate(line.down, line),
            above,
        )


def _places(topology: Topology) -> Iterator[tuple[str, str, str, str]]:
    yield CENTER, "", topology.center.machine, topology.center.line
    for each in topology.regions:
        yield each.name, each.under, each.machine, each.line


def _members(
    scenario: Scenario, topology: Topology, profiles: dict[str, Profile], cost: Cost, voxels: float
) -> Iterator[Member]:
    for clinics in topology.clinics:
        place = Place(clinics.name, "clinic", clinics.count)
        line, profile = topology.lines[clinics.line], profiles[clinics.machine]
        yield member(place, clinics, line, profile, scenario, cost, voxels)
        for devices in clinics.devices:
            place = Place(f"{clinics.name}/{devices.name}", "device", clinics.count * devices.count)
            line, profile = topology.lines[devices.line], profiles[devices.machine]
            yield member(place, devices, line, profile, scenario, cost, voxels)


def _path(of: Member, clinic: Member, region: str | None, tiers: Mapping[str, Tier]) -> float:
    """Seconds that messages take from the center to a member and back: at each tier as long as the slower of the own line
    of the one below and of all that the tier's line carries. A device is reached through its clinic."""
    total = of.transfer_s if of is not clinic else 0.0
    at = tiers[region or CENTER]
    total += max(clinic.transfer_s, at.out_s + at.in_s)
    while at.under:
        above = tiers[at.under]
        total += max(at.above_s, above.out_s + above.in_s)
        at = above
    return total
