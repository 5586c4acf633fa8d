"""What is short, and what would do: models that do not fit, months that end early, deadlines that are missed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fedmed.report.formats import data_size, duration
from fedmed.twin.planning.cost import Cost
from fedmed.twin.planning.federation import Plan, Tier
from fedmed.twin.planning.lines import MONTH_S, bandwidth
from fedmed.twin.planning.members import Member
from fedmed.twin.planning.nodes import side_by_side
from fedmed.twin.planning.steps import Misfit
from fedmed.twin.profiles import Profile


@dataclass(frozen=True)
class Advice:
    """One thing that is short."""

    who: str
    binds: str
    """memory, line, month, or what training waits for."""
    got: str
    todo: str

    def words(self) -> str:
        """As a fault says it."""
        return f"{self.who}: {self.got}; what would do: {self.todo}"


def faults(plan: Plan) -> Iterator[Advice]:
    """What cannot be run at all: models that do not fit."""
    for each in plan.members:
        if each.misfit is not None:
            yield unfit(each.who, plan.cost, each.profile, each.misfit)


def unfit(who: str, cost: Cost, profile: Profile, found: Misfit) -> Advice:
    """A model that does not fit, named, with what would."""
    got = f"{cost.name} needs {data_size(found.needed)} to train one case at a time, even where forward is "
    got += f"computed again in backward, and {profile.name} has {data_size(found.has)}"
    patch = [f"patches of {' x '.join(map(str, found.patch))}"] if found.patch else []
    machines = [f"one of {', '.join(found.machines)}"] if found.machines else []
    return Advice(who, "memory", got, " or ".join(patch + machines) or "another model; no built-in machine is large enough")


def shortages(plan: Plan, deadline_s: float | None) -> Iterator[Advice]:
    """What takes longer than it may."""
    for each in plan.members:
        if (cap := each.line.cap) is not None and (month := in_a_month(plan)) > cap:
            got = f"{data_size(month)} in 30 days, and {each.line_name} carries {data_size(cap)}"
            todo = f"at most {int(cap // _of_round(plan))} rounds in 30 days, 16-bit lanes, or a larger cap"
            yield Advice(each.who, "month", got, todo)
    if deadline_s is not None and plan.whole_s > deadline_s:
        for each in plan.members:
            if each.step is not None:
                yield from _late(plan, each, deadline_s)
        for tier in plan.tiers:
            yield from _narrow(plan, tier, deadline_s)


def in_a_month(plan: Plan) -> float:
    """Bytes of one member in 30 days, or in the run where that is shorter, as often as it is asked on average."""
    rounds = plan.rounds if plan.whole_s <= MONTH_S else MONTH_S / plan.round_s
    return plan.share * rounds * _of_round(plan)


def _of_round(plan: Plan) -> float:
    return plan.messages.model + plan.messages.update


def _late(plan: Plan, each: Member, deadline_s: float) -> Iterator[Advice]:
    """One kind that needs more than its share of the deadline, by its line or by its training."""
    a_round = deadline_s / plan.rounds
    waits = plan.transfers[each.who]
    if waits + each.train_s <= a_round:
        return
    machines = side_by_side(each.train_s, a_round - waits)
    left = deadline_s - plan.rounds * each.train_s
    got = f"{duration(waits + each.train_s)} a round, of {duration(a_round)}"
    if machines is None:
        line = f"a line of {rate_of(bandwidth(1, _of_round(plan), plan.rounds, left))}" if left > 0 else "fewer rounds"
        yield Advice(each.who, "line", got, f"{line}: messages alone take {duration(waits)} a round")
    else:
        todo = f"{machines} x {each.profile.name} side by side, each with a part of the {each.cases:g} cases"
        yield Advice(each.who, each.binds(), got, todo)


def _narrow(plan: Plan, tier: Tier, deadline_s: float) -> Iterator[Advice]:
    up, down = plan.needed(tier, deadline_s)
    ways = (("up", up, tier.line.up), ("down", down, tier.line.down))
    short = [f"{way} {rate_of(needs)}" for way, needs, has in ways if needs > has]
    if short:
        got = f"{tier.line_name}: up {rate_of(tier.line.up)}, down {rate_of(tier.line.down)}"
        yield Advice(tier.who, "line", got, f"{' and '.join(short)} for {tier.below} below it")


def rate_of(rate: float) -> str:
    """`10 Mbit/s`."""
    bits = 8 * rate
    return f"{bits / 1e9:.3g} Gbit/s" if bits >= 1e9 else f"{bits / 1e6:.3g} Mbit/s"
