"""Where one task goes, and why nowhere else: a pure function of what is known.

The order of things tried, for each way to run the task (`Needs.rungs`), best first:
1. nodes with room, of the best tier for its class, the least busy first;
2. nodes that have room once tasks of lower rank give way: any that nobody waits for, where somebody waits for this one; else
   those that had a lower priority when they started.
So nobody is degraded for the sake of work that ranks below it, and nothing fails for want of room: it waits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from enum import Enum

from fedmed.placement.nodes import Standing, Tier
from fedmed.placement.state import Grant, Held, State
from fedmed.placement.tasks import Amount, Rung, Task


class Why(Enum):
    """Why a node was passed over."""

    OUTSIDE = "outside its clinic"
    ASKER = "itself what asks"
    LOST = "not heard of"
    ISOLATED = "isolated"
    TIER = "a tier that its class does not run in"
    ACCELERATOR = "without its accelerator"
    PRECISION = "without a precision that it may run in"
    DATA = "without its data"
    SMALL = "too small even when empty"
    FULL = "full"
    QUOTA = "where the quota of its class is used up"
    KEPT = "kept for one that has waited longer"
    FEW = "with room, of fewer than it needs"
    OTHER = "another is better"


@dataclass(frozen=True)
class Passed:
    """Why one node was passed over, and by how much."""

    why: Why
    detail: str = ""
    short: tuple[Standing, Amount] | None = None
    """The node as it was, and what did not fit: put into words only where somebody asks."""

    def __str__(self) -> str:
        detail = self.short[0].room_lacking(self.short[1]) if self.short else self.detail
        return f"{self.why.value}: {detail}" if detail else self.why.value


@dataclass(frozen=True)
class Seat:
    """One node that can run a task."""

    node: str
    tier: Tier
    engine: str
    charge: Amount
    yields: tuple[str, ...] = ()
    """Tasks that give way there."""


@dataclass(frozen=True)
class Decision:
    """Where a task goes; no seats where it waits."""

    task: str
    seats: tuple[Seat, ...] = ()
    rung: Rung = field(default_factory=Rung)
    passed: Mapping[str, Passed] = field(default_factory=dict)
    """Every node that was passed over."""

    @property
    def yields(self) -> tuple[str, ...]:
        """Tasks that give way, each once."""
        return tuple(dict.fromkeys(name for seat in self.seats for name in seat.yields))

    def summary(self) -> str:
        """The decision in one line."""
        counts: dict[Why, int] = {}
        for passed in self.passed.values():
            counts[passed.why] = counts.get(passed.why, 0) + 1
        rest = ", ".join(f"{number} {why.value}" for why, number in counts.items() if why is not Why.OUTSIDE)
        if not self.seats:
            return f"no node has room: {rest}" if rest else "its clinic has no node"
        chosen = f"{self.seats[0].tier.value}: the best with room"
        if self.yields:
            chosen = f"{self.seats[0].tier.value}: {len(self.yields)} of lower rank gave way"
        return f"{chosen}; {rest}" if rest else chosen


def place(state: State, held: Held, only: Set[str] | None = None) -> Decision:
    """Where the task of `held` goes now, and why each other node was passed over.

    `only` are the nodes that are looked at, where it is known that no other has room; reasons are then those of these alone.
    """
    passed: dict[str, Passed] = {}
    ready: list[Standing] = []
    for standing in candidates(state, held.task, only):
        if (why := unfit(state, held, standing)) is None:
            ready.append(standing)
        else:
            passed[standing.node.name] = why
    members = held.task.members
    for rung in held.rungs if len(ready) >= members else ():
        for yielding in (False, True):
            seats, short = _seated(state, held, ready, rung, yielding)
            if len(seats) >= members and (chosen := within_quota(state, held, seats)):
                return _decided(state, held, chosen, rung, passed, short, ready)
        for name, why in short.items():
            passed.setdefault(name, why)
        for seat in seats:
            passed.setdefault(seat.node, Passed(Why.FEW if len(seats) < members else Why.QUOTA))
    for standing in ready if len(ready) < members else ():
        passed.setdefault(standing.node.name, Passed(Why.FEW))
    return Decision(held.task.name, passed=passed if only else passed | _outside(state, held.task))


def candidates(state: State, task: Task, only: Set[str] | None = None) -> Iterator[Standing]:
    """Every node (of `only`, where given) that may know of the task: this alone is where nodes for a task come from."""
    for clinic in task.homes():
        for name in state.members.get(clinic, ()):
            if only is None or name in only:
                yield state.nodes[name]


def outranks(task: Task, grant: Grant) -> bool:
    """Whether a running task gives way to `task`."""
    return not grant.held.task.is_real_time and (task.is_real_time or task.priority > grant.rank)


def unfit(state: State, held: Held, standing: Standing) -> Passed | None:
    """Why a node cannot run the task, whatever runs there now; None where it can."""
    node, task, needs = standing.node, held.task, held.task.needs
    if node.name in task.not_on:
        return Passed(Why.ASKER)
    if standing.is_lost:
        return Passed(Why.LOST)
    if standing.isolated:
        return Passed(Why.ISOLATED, standing.isolated)
    if node.tier not in state.rules.routes[task.kind]:
        return Passed(Why.TIER)
    if not (engine := node.engine(needs)):
        return Passed(Why.ACCELERATOR)
    if not needs.data <= node.data:
        return Passed(Why.DATA)
    rungs = [rung for rung in held.rungs if rung.precision in node.precisions]
    if not rungs:
        return Passed(Why.PRECISION)
    if not any(not node.charge(needs, rung, engine).over(node.capacity) for rung in rungs):
        return Passed(Why.SMALL, node.charge(needs, rungs[-1], engine).over(node.capacity))
    if keeper := state.is_kept_from(node.name, held):
        return Passed(Why.KEPT, keeper)
    return None


def _seated(
    state: State, held: Held, ready: Sequence[Standing], rung: Rung, yielding: bool
) -> tuple[list[Seat], dict[str, Passed]]:
    """Nodes that can run it on `rung`, the best first, and why the others cannot."""
    found: list[tuple[tuple[object, ...], Seat]] = []
    short: dict[str, Passed] = {}
    for standing in ready:
        node = standing.node
        if rung.precision not in node.precisions:
            short[node.name] = Passed(Why.PRECISION, rung.precision.value)
            continue
        engine = node.engine(held.task.needs)
        charge = node.charge(held.task.needs, rung, engine)
        yields: tuple[str, ...] = ()
        if not standing.has_room(charge):
            giving = _giving_way(state, held.task, standing, charge) if yielding else None
            if giving is None:
                short[node.name] = Passed(Why.FULL, short=(standing, charge))
                continue
            yields = giving
        found.append((_order(state, held, standing, charge, yields), Seat(node.name, node.tier, engine, charge, yields)))
    found.sort(key=lambda each: each[0])
    return [seat for _, seat in found], short


def _order(state: State, held: Held, standing: Standing, charge: Amount, yields: tuple[str, ...]) -> tuple[object, ...]:
    """What makes one node better than another, the smaller the better; ends with its name, so that no two are equal."""
    node, needs = standing.node, held.task.needs
    busy = standing.live.busy or 0.0
    booked = standing.used.plus(charge).share(node.capacity)
    return (
        node.name in held.avoid,
        len(yields),
        busy >= state.rules.busy_share,
        state.rules.routes[held.task.kind].index(node.tier),
        len(needs.near - node.data),
        needs.accelerators.index(node.engine(needs)),
        max(busy, booked),
        node.name,
    )


def _giving_way(state: State, task: Task, standing: Standing, charge: Amount) -> tuple[str, ...] | None:
    """The fewest and lowest tasks on a node that have to give way for `charge`; None where all of them are too few."""
    here = [state.running[name] for name in state.on.get(standing.node.name, ())]
    lower = [each for each in here if outranks(task, each)]
    lower.sort(key=lambda each: (each.rank, -each.started))
    giving: list[Grant] = []
    back = Amount()
    for grant in lower:
        if standing.has_room(charge, back):
            break
        giving.append(grant)
        back = back.plus(_charge_on(grant, standing.node.name))
    if not giving or not standing.has_room(charge, back):
        return None
    for grant in tuple(reversed(giving)):
        fewer = back.plus(_charge_on(grant, standing.node.name), -1)
        if standing.has_room(charge, fewer):
            giving.remove(grant)
            back = fewer
    return tuple(grant.held.task.name for grant in giving)


def _charge_on(grant: Grant, node: str) -> Amount:
    return grant.charges[grant.nodes.index(node)]


def within_quota(state: State, held: Held, seats: Sequence[Seat]) -> tuple[Seat, ...]:
    """The best seats, as many as the task needs, that the quotas of their tiers leave; empty where they are too few."""
    task = held.task
    chosen: list[Seat] = []
    taken: dict[Tier, Amount] = {}
    for seat in seats:
        limit = state.quota(seat.tier, task.kind)
        if limit is not None:
            after = taken.get(seat.tier, state.use.get((seat.tier, task.kind), Amount())).plus(seat.charge)
            if after.over(limit) or state.is_kept_from((seat.tier, task.kind), held):
                continue
            taken[seat.tier] = after
        chosen.append(seat)
        if len(chosen) == task.members:
            return tuple(chosen)
    return ()


def _decided(
    state: State,
    held: Held,
    chosen: tuple[Seat, ...],
    rung: Rung,
    passed: dict[str, Passed],
    short: Mapping[str, Passed],
    ready: Sequence[Standing],
) -> Decision:
    for name, why in short.items():
        passed.setdefault(name, why)
    taken = {seat.node for seat in chosen}
    for standing in ready:
        if standing.node.name not in taken:
            passed.setdefault(standing.node.name, Passed(Why.OTHER))
    for name in taken:
        passed.pop(name, None)
    return Decision(held.task.name, chosen, rung, passed | _outside(state, held.task))


def _outside(state: State, task: Task) -> dict[str, Passed]:
    homes = task.homes()
    return {name: Passed(Why.OUTSIDE) for clinic, names in state.members.items() if clinic not in homes for name in names}
