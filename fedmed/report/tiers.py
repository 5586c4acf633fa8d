"""What did each tier do? Shares of time, bytes, energy, cost; whom rounds waited for, which were lost, what it rests on."""

from __future__ import annotations

from collections.abc import Sequence

from fedmed.report import formats, network
from fedmed.report.markup import Markup, tag
from fedmed.report.record import Report
from fedmed.report.tables import plain
from fedmed.report.timed import Answers, Tier

HEADS = ("tier", "members", "machine", "work", "line", "idle", "down", "up", "energy", "cost")
COST = (
    "Cost is power at 0.15 USD a kWh, 30 % more for cooling, and the wear of the machines over three years; power, idle "
    "watts and prices are those of the machines' profiles."
)
OWN = "The work of regions and center takes no virtual time, so that they idle; their lines' share is what passed over them."


def section(report: Report) -> Markup:
    """Nothing for a run in the machine's own time."""
    return of_answers(report.answers)


def of_answers(found: Answers) -> Markup:
    """The same, of any run."""
    if not found.tiers:
        return Markup("")
    table = tag("div", plain(HEADS, map(_row, found.tiers)), class_="scroll", tabindex=0)
    curve = network.picture(found.network)
    return tag(
        "section",
        tag("h2", "What did each tier do?"),
        tag("p", _whole(found), class_="lead"),
        tag("div", curve, class_="charts") if curve else None,
        table,
        *(tag("p", text, class_="note") for text in (*_remarks(found), OWN, COST, *_priors(found.priors))),
        id="tiers",
    )


def _whole(found: Answers) -> str:
    kwh, cost = found.kwh or 0.0, found.cost or 0.0
    said = f"All machines together took {formats.energy(kwh)}, at a cost of {formats.cost(cost)}."
    if found.work is None or found.idle is None:
        return said
    return f"{said} Clinics and devices were at work for {found.work:.1%} of the time, and idle for {found.idle:.1%}."


def _row(each: Tier) -> Sequence[str]:
    shares = (f"{part:.1%}" for part in (each.work, each.line, each.idle))
    sizes = (formats.data_size(each.down_bytes), formats.data_size(each.up_bytes))
    named = each.who if each.tier == each.who else f"{each.who} ({each.tier})"
    return named, f"{each.members:,}", each.machine, *shares, *sizes, formats.energy(each.kwh), formats.cost(each.cost)


def _remarks(found: Answers) -> list[str]:
    said = []
    if found.waited_for:
        rounds = [f"{who} in {formats.count(count, 'round')}" for who, count in found.waited_for.items()]
        said.append(f"The last answer came from {formats.listed(rounds)}.")
    if found.lost:
        lost = [f"round {each.round}, attempt {each.attempt}: {each.why}" for each in found.lost]
        said.append(f"Nothing came of {formats.count(len(lost), 'attempt')}: {formats.listed(lost)}.")
    else:
        said.append("No attempt at a round was lost.")
    return said


def _priors(priors: Sequence[str]) -> list[str]:
    return [f"Not measured on these machines: {'; '.join(priors)}."] if priors else []
