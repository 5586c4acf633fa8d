"""`fedmed plan`: what a scenario with a topology needs, as tables or JSON; `--profiles` lists the machines."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fedmed.cli.listing import show
from fedmed.config.catalogue import find
from fedmed.config.loading import load
from fedmed.config.quantities import MONEY, TIMES, read
from fedmed.errors import ConfigError
from fedmed.report.formats import DASH, data_size, duration, energy
from fedmed.twin import profiles
from fedmed.twin.planning import money
from fedmed.twin.planning.advice import Advice, faults, rate_of, shortages
from fedmed.twin.planning.federation import Plan, Tier, plan
from fedmed.twin.planning.members import Member

AGAIN = (
    "checkpointed: what forward made is computed again in backward, for memory. fedmed's own models and training do not do "
    "so; take a model that does, smaller patches, or another machine. (Parts of a batch, training makes by itself on a GPU.)"
)


@dataclass(frozen=True)
class Options:
    """What the command line said."""

    scenario: str | None
    data: Path | None
    inputs: str | None
    classes: int | None
    overrides: tuple[str, ...]
    deadline: str | None
    kwh: str | None
    yearly: str | None
    benefit: str | None
    as_json: bool


def run(options: Options) -> None:
    """Plan and show; ends with a ConfigError where a model fits on no machine of a kind."""
    if options.scenario is None:
        raise ConfigError("give a scenario that has a topology, or --profiles")
    deadline = _quantity("--deadline", options.deadline, TIMES)
    prices = [_quantity(f"--{name}", getattr(options, name), MONEY) for name in ("kwh", "yearly", "benefit")]
    scenario = load(find(options.scenario), options.overrides, profiles.names())
    if scenario.topology is None:
        raise ConfigError(f"{scenario.name} has no section topology: there are no machines and lines to plan with")
    from fedmed.twin import counting  # PyTorch: only once the scenario is sound

    spec, case = counting.spec_of(scenario, options.data, _shape(options.inputs), options.classes)
    found = plan(scenario, counting.cost_of(spec, (*scenario.task.frozen, *scenario.task.local)), case)
    lacks = [*faults(found), *shortages(found, deadline)]
    if options.as_json:
        sys.stdout.write(json.dumps(facts(found, lacks, deadline, prices), ensure_ascii=False) + "\n")
    else:
        _tell(found, lacks, deadline, prices)
    if unfit := [each for each in lacks if each in list(faults(found))]:
        raise ConfigError("\n  ".join(["the model does not fit:", *(each.words() for each in unfit)]))


def list_profiles(as_json: bool) -> None:
    """Each number of each machine with how it is known."""
    rows = []
    for name, each in profiles.built_in().items():
        for key, (kind, text) in each.sources.items():
            rows.append({"name": name, "key": key, "value": _number(each, key), "known": kind, "source": text})
    if not as_json:
        for name, each in profiles.built_in().items():
            sys.stdout.write(f"{name}: {each.what}; training in {each.auto} unless float32 is asked for\n")
    show(rows, as_json)


def _number(profile: profiles.Profile, key: str) -> str:
    part, _, precision = key.partition(".")
    value: Any = getattr(profile, part)
    if precision:
        value = value[precision]
    if part == "speed":
        return f"{value / 1e12:g} T{'' if precision == 'int8' else 'FL'}OPS"
    units = {
        "memory": ("GB", 1e9),
        "bandwidth": ("GB/s", 1e9),
        "power": ("W", 1.0),
        "idle": ("W", 1.0),
        "price": ("USD", 1.0),
    }
    unit, by = units.get(part, ("", 1.0))
    return f"{value / by:g} {unit}".strip()


def _quantity(option: str, text: str | None, units: dict[str, float]) -> float | None:
    if text is None:
        return None
    try:
        value = read(text, units)
    except ValueError as error:
        raise ConfigError(f"{option}: {error}") from error
    if value <= 0:
        raise ConfigError(f"{option}: got {text}; allowed: more than 0")
    return value


def _shape(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    sides = text.split("x")
    if not 1 <= len(sides) <= 4 or not all(side.isascii() and side.isdigit() and 0 < int(side) <= 65_536 for side in sides):
        raise ConfigError(
            f"--inputs: got {text[:60]!r}; allowed: channels and sides, such as 1x128x128x128, or 30 for a table"
        )
    return tuple(map(int, sides))


def _tell(found: Plan, lacks: Sequence[Advice], deadline: float | None, prices: Sequence[float | None]) -> None:
    cost, messages = found.cost, found.messages
    say = sys.stdout.write
    say(
        f"{cost.name} on {' x '.join(map(str, cost.inputs))}: {cost.parameters:,} parameters, "
        f"{cost.operations / 1e9:.3g} G operations a case forward; "
        f"{data_size(messages.model)} down, {data_size(messages.update)} up\n\n"
    )
    show([_member_row(found, each) for each in found.members], False)
    say("\n")
    show([_tier_row(found, each, deadline) for each in found.tiers], False)
    say("\n" + "\n".join(f"{name}: {text}" for name, text in _totals(found, deadline, prices).items()) + "\n")
    if any(each.step is not None and each.step.is_checkpointed for each in found.members):
        say(f"\n{AGAIN}\n")
    if lacks:
        say("\n")
        show(
            [{"name": each.who, "short of": each.binds, "got": each.got, "what would do": each.todo} for each in lacks],
            False,
        )


def _member_row(found: Plan, each: Member) -> dict[str, str]:
    step = each.step
    if each.misfit is not None:
        made, memory = "does not fit", f"{data_size(each.misfit.needed)} of {data_size(each.misfit.has)}"
    elif step is not None:
        made, memory = step.words(), f"{data_size(step.need.total)} of {data_size(each.profile.memory)}"
    else:
        made, memory = DASH, DASH
    return {
        "name": each.who,
        "count": f"{each.count:,}",
        "machine": each.profile.name,
        "cases": f"{each.cases:g}",
        "step": made,
        "memory": memory,
        "steps": str(each.steps),
        "training": DASH if each.misfit else duration(each.train_s),
        "slow": DASH if each.misfit else duration(each.slow_s),
        "busy": f"{each.train_s / found.round_s:.0%}" if found.round_s and not each.misfit else DASH,
        "line": each.line_name,
        "down": duration(each.down_s),
        "up": duration(each.up_s),
        "disk": data_size(each.room.total),
        "binds": each.binds(),
    }


def _tier_row(found: Plan, each: Tier, deadline: float | None) -> dict[str, str]:
    up, down = found.needed(each, deadline or found.whole_s) if found.whole_s > 0 else (0.0, 0.0)
    return {
        "name": each.who,
        "machine": each.profile.name,
        "line": f"{each.line_name}: up {rate_of(each.line.up)}, down {rate_of(each.line.down)}",
        "below": f"{each.below:,}",
        "models out": duration(each.out_s),
        "updates in": duration(each.in_s),
        "needs": f"up {rate_of(up)}, down {rate_of(down)}",
        "disk": data_size(found.room(each).total),
    }


def _totals(found: Plan, deadline: float | None, prices: Sequence[float | None]) -> dict[str, str]:
    kwh, yearly, benefit = prices
    year = found.year(kwh or money.KWH, yearly or 0.0)
    owned = money.owned(found.price, year.total)
    texts = {
        "a round": f"{duration(found.round_s)}, waiting for {found.last}; {duration(found.slow_s)} with the slowest",
        "the run": f"{found.rounds} rounds, {duration(found.whole_s)}, {energy(found.kwh)}",
        "machines": f"{found.price:,.0f} USD",
        "a year": f"{year.total:,.0f} USD (power {year.power:,.0f}, cooling {year.cooling:,.0f}, beside {year.staff:,.0f})",
        "three years owned": f"{owned:,.0f} USD",
    }
    if any(each.misfit for each in found.members):
        texts["a round"] += "; without the training of those whose model does not fit"
    if deadline is not None:
        texts["deadline"] = f"{duration(deadline)}: {'met' if found.whole_s <= deadline else 'missed'}"
    if benefit is not None:
        comes = [benefit - year.total] * money.YEARS_BACK
        back = money.paid_back(found.price, comes)
        paid = "never paid back" if back is None else f"paid back in {back:.1f} years"
        texts["five years"] = f"present value {money.present(found.price, comes):,.0f} USD at {money.DISCOUNT:.0%}, {paid}"
    return texts


def facts(found: Plan, lacks: Sequence[Advice], deadline: float | None, prices: Sequence[float | None]) -> dict[str, Any]:
    """All of it, for machines: bytes, seconds, bytes a second, kWh, and the file's currency."""
    kwh, yearly, benefit = prices
    year = found.year(kwh or money.KWH, yearly or 0.0)
    comes = [benefit - year.total] * money.YEARS_BACK if benefit is not None else None
    return {
        "model": {"name": found.cost.name, "inputs": found.cost.inputs, "parameters": found.cost.parameters}
        | {"operations": found.cost.operations},
        "messages": asdict(found.messages),
        "members": [_member_facts(each) for each in found.members],
        "tiers": [_tier_facts(found, each, deadline) for each in found.tiers],
        "round_s": found.round_s,
        "slow_round_s": found.slow_s,
        "waits_for": found.last,
        "rounds": found.rounds,
        "whole_s": found.whole_s,
        "deadline_s": deadline,
        "kwh": found.kwh,
        "price": found.price,
        "year": asdict(year) | {"total": year.total},
        "owned_3_years": money.owned(found.price, year.total),
        "present_value_5_years": None if comes is None else money.present(found.price, comes),
        "paid_back_years": None if comes is None else money.paid_back(found.price, comes),
        "short": [asdict(each) for each in lacks],
    }


def _member_facts(each: Member) -> dict[str, Any]:
    step = each.step
    return {
        "name": each.who,
        "tier": each.tier,
        "count": each.count,
        "machine": each.profile.name,
        "cases": each.cases,
        "step": None
        if step is None
        else {"batch": step.batch, "micro": step.micro, "parts": step.parts, "precision": step.precision}
        | {"checkpointed": step.is_checkpointed, "bytes": step.need.total},
        "steps": each.steps,
        "train_s": each.train_s,
        "slow_train_s": each.slow_s,
        "down_s": each.down_s,
        "up_s": each.up_s,
        "disk_bytes": each.room.total,
        "binds": each.binds(),
        "misfit": None if each.misfit is None else asdict(each.misfit),
    }


def _tier_facts(found: Plan, each: Tier, deadline: float | None) -> dict[str, Any]:
    up, down = found.needed(each, deadline or found.whole_s) if found.whole_s > 0 else (0.0, 0.0)
    return {"name": each.who, "under": each.under, "below": each.below, "models_out_s": each.out_s} | {
        "updates_in_s": each.in_s,
        "needs_up": up,
        "needs_down": down,
        "disk_bytes": found.room(each).total,
    }
