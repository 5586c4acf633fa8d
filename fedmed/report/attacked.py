"""What did the attackers do? Who they are, what was refused of them, what it did to the measures, what they reached."""

from __future__ import annotations

from collections.abc import Sequence

from fedmed.report import formats
from fedmed.report.attackers import Aim, Attacks, Doer, Rate
from fedmed.report.markup import Markup, join, tag
from fedmed.report.measures import headline, name
from fedmed.report.record import Metric, Metrics, Report
from fedmed.report.tables import plain

MANY = 12
KNOWN = "Who attacks is written in the scenario; a real center knows it of nobody."
BESIDE = (
    "The same run without them: --set attackers=[]; with fewer or more of them, and under other rules: --sweep "
    "attackers.0.count=0,1,2 --sweep strategy.name=fedavg,fedmedian."
)
SUCCESS = "of a backdoor: test cases of all other classes, the trigger put in; of flipped labels: those of the class flipped"
HONEST = "model of honest cases in one place"


def line(report: Report) -> str:
    """In one sentence; nothing for a run without attackers."""
    found = report.attacks
    if found is None:
        return ""
    if not found.attackers:
        return "The scenario has attackers, and in this run none of the sites is one."
    kinds = ", ".join(dict.fromkeys(each.kind for each in found.attackers))
    whole = f"{len(found.sites)} of {formats.count(len(report.site_names()), 'site')}"
    return f"{whole} attacked the federation ({kinds}), as the scenario has it."


def section(report: Report) -> Markup:
    """Nothing for a run without attackers."""
    found = report.attacks
    if found is None or not found.attackers:
        return Markup("")
    heads = ("site", "attack", "from round", "took part", "refused")
    doers = tag("div", plain(heads, map(_doer, found.attackers), "words"), class_="scroll", tabindex=0)
    table = tag("details", tag("summary", f"Each attack ({len(found.attackers)})"), doers, open=_open(found))
    return tag(
        "section",
        tag("h2", "What did the attackers do?"),
        tag("p", line(report), " ", KNOWN, class_="lead"),
        join(_measures(report), _aims(found.aims)),
        table,
        tag("p", BESIDE, class_="note"),
        id="attacked",
    )


def _open(found: Attacks) -> str | None:
    return "" if len(found.attackers) <= MANY else None


def _doer(each: Doer) -> Sequence[str]:
    refused = f"{formats.count(each.refused, 'round')}: {each.reason}" if each.refused else "never"
    return each.site, _attack(each), str(each.since), formats.count(each.joined, "round"), refused


def _attack(each: Doer) -> str:
    told = f"{each.kind} x {each.factor:g}" if each.factor is not None else each.kind
    if each.target is not None:
        told += f", {each.source or 'all others'} called {each.target}"
    return f"{told}, {each.cases:.0%} of its cases" if each.cases is not None else told


def _measures(report: Report) -> Markup:
    """The leading measures on the pooled test cases beside those of the model of honest cases, where that was trained."""
    shared, honest = report.overall.metrics, report.baselines.pooled if report.baselines else None
    shown = [measure for measure in headline(report) if measure in shared]
    if not shown:
        return Markup("")
    heads = ["test measure", "shared model", *([HONEST] if honest else [])]
    rows = [
        (name(report, each), *(_score(model, each) for model in (shared, honest) if model is not None)) for each in shown
    ]
    note = "with the attackers, beside a model without them" if honest else "with the attackers"
    return _figure("What was left of the model", note, plain(heads, rows))


def _score(metrics: Metrics, measure: str) -> str:
    found = metrics.get(measure, Metric())
    return _within(found.value, found.low, found.high)


def _aims(aims: Sequence[Aim]) -> Markup:
    if not aims:
        return Markup("")
    heads = ("aim", "cases", "shared model", "without trigger", HONEST)
    return _figure("Attack success rate", SUCCESS, plain(heads, map(_aim, aims)))


def _aim(each: Aim) -> Sequence[str]:
    aim = f"{each.kind}: {each.source or 'any other class'} called {each.target}"
    rates = (each.federated, each.without_trigger, each.pooled)
    return aim, f"{each.cases:,}", *(_rate(rate) for rate in rates)


def _rate(rate: Rate | None) -> str:
    return "–" if rate is None else _within(rate.value, rate.low, rate.high)


def _within(value: float | None, low: float | None, high: float | None) -> str:
    between = formats.interval(low, high)
    return f"{formats.score(value)} ({between})" if between else formats.score(value)


def _figure(title: str, note: str, table: Markup) -> Markup:
    caption = tag("figcaption", tag("strong", title), " ", tag("span", note))
    return tag("figure", caption, tag("div", table, class_="scroll", tabindex=0))
