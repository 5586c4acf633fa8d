"""Where a run's sites are in the world of its topology: the trips of the grid's nodes, and of the devices below them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedmed.flower.inprocess import FIRST_NODE
from fedmed.flower.underway import Trip, Trips
from fedmed.tiers.round import Rules
from fedmed.twin.hubs import settle
from fedmed.twin.world import AWAY, LOST, World

TRAIN = "train"


@dataclass(frozen=True)
class Placed:
    """The trips of the grid's nodes; implements `Trips`."""

    world: World
    numbers: Sequence[int]
    """Members of the world, by site."""

    def trip(self, node: int, at: float, down_bytes: int, work: float, up_bytes: int) -> Trip:
        """See `Trips`."""
        return self.world.trip(self.numbers[node - FIRST_NODE], at, down_bytes, work, up_bytes)

    def all_trips(
        self, nodes: Sequence[int], at: float, down_bytes: int, works: Sequence[float], up_bytes: int
    ) -> Sequence[Trip]:
        """See `Trips`."""
        if self.world.roster.regions:
            return [self.trip(node, at, down_bytes, work, up_bytes) for node, work in zip(nodes, works, strict=True)]
        moment, worked = np.full(len(nodes), at), np.array(works, np.float64)
        legs = self.world.legs(self._numbers(nodes), moment, down_bytes, worked, up_bytes)
        return [legs.trip(place) for place in range(len(nodes))]

    def _numbers(self, nodes: Sequence[int]) -> NDArray[np.int64]:
        return np.array([self.numbers[node - FIRST_NODE] for node in nodes], np.int64)

    def is_there(self, node: int, at: float) -> bool:
        """See `Trips`."""
        return self.world.is_there(self.numbers[node - FIRST_NODE], at)

    def those_there(self, nodes: Sequence[int], at: float) -> list[int]:
        """See `Trips`."""
        present = self.world.there(self._numbers(nodes), np.full(len(nodes), at))
        return [node for node, is_there in zip(nodes, present, strict=True) if is_there]


@dataclass(frozen=True)
class Waited:
    """The trip of a message whose clinic waits for its devices; implements `fedmed.flower.underway.Folded`."""

    heard_at: float
    done_at: float
    there_at: float
    lost: str
    folded_at: float
    devices: Mapping[int, Trip]
    device_bytes: int
    joined: tuple[int, ...]
    missing: Mapping[int, str]


@dataclass(frozen=True)
class Below:
    """Devices below the clinics, which train along; implements `fedmed.flower.underway.Hubs`.

    A device's part is timed by its own machine, its line to the hub and what befalls it, and waited for by the hub's rules.
    """

    world: World
    trips: Trips
    sites: Sequence[int]
    """Members of the world, by number of site: clinics, then devices."""
    under: Mapping[int, Sequence[int]]
    """Sites that are devices, by node of their clinic."""
    works: Sequence[float]
    """What one order gives each site to do, as `Trips` counts it."""
    device_bytes: int
    """Of a device's update, which has 32 bits a value whatever the clinics' have."""
    rules: Rules
    names: Sequence[str]
    """Of the sites."""

    def folded(self, node: int, kind: str, trip: Trip, down_bytes: int, up_bytes: int) -> Waited | None:
        """See `Hubs`."""
        if kind != TRAIN or not self.under.get(node):
            return None
        own = np.array([self.sites[node - FIRST_NODE]], np.int64)
        waited = self._waited(node, trip, down_bytes)
        there = np.array([waited.folded_at])
        for each in reversed(self.world.path(int(own[0]))):
            there = self.world.carry("up", np.array([each]), there, up_bytes)
        arrived = float(there[0])
        lost = "" if math.isfinite(arrived) else LOST[AWAY]
        parts = (waited.folded_at, waited.devices, self.device_bytes, waited.joined, waited.missing)
        return Waited(trip.heard_at, trip.done_at, arrived, lost, *parts)

    def _waited(self, node: int, trip: Trip, down_bytes: int) -> Waited:
        """All but when the answer is back; nothing of it depends on the answer's bytes."""
        devices, heard = list(self.under[node]), trip.heard_at
        members = np.array([self.sites[each] for each in devices], np.int64)
        works = np.array([self.works[each] for each in devices])
        legs = self.world.legs(members, np.full(len(devices), heard), down_bytes, works, self.device_bytes)
        names = [self.names[each] for each in devices]
        answers = [
            (float(there), float(told), LOST[why]) for there, told, why in zip(legs.there, legs.told, legs.lost, strict=True)
        ]
        hub, over = settle(names, heard, trip.done_at, answers, self.rules)
        number, missing = dict(zip(names, devices, strict=True)), dict[int, str]()
        for place, each in enumerate(devices):
            if (why := hub.missing.get(self.names[each])) is not None:
                befell = self.world.befell(int(members[place]), heard, over)
                missing[each + FIRST_NODE] = "; ".join(filter(None, (answers[place][2] or why, befell)))
        trips = {each + FIRST_NODE: legs.trip(place) for place, each in enumerate(devices)}
        joined = tuple(sorted(number[name] for name in hub.joined))
        return Waited(heard, trip.done_at, math.inf, "", over, trips, self.device_bytes, joined, missing)
