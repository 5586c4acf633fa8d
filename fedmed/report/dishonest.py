"""What did the center ask that it must not? Which lies, as what sites refused them, and whether any was answered."""

from __future__ import annotations

from collections.abc import Sequence

from fedmed.report import formats
from fedmed.report.lies import Lie, Lies
from fedmed.report.markup import Markup, tag
from fedmed.report.record import Report
from fedmed.report.tables import plain

HOW = (
    "Each lie went to a real member through its real gate, right before an honest request; the center alone heard what was "
    "said to it, and it took neither virtual time nor bytes. The same run with an honest center: --set topology.faults=[]."
)


def line(report: Report) -> str:
    """In one sentence or two; nothing for a run whose center told no lie."""
    found = report.lies
    if found is None:
        return ""
    kinds = formats.count(len({each.kind for each in found.kinds}), "kind")
    said = f"The center told {formats.count(found.told, 'lie')} of {kinds} beside the honest rounds: "
    said += f"SITES ANSWERED {found.answered}." if found.answered else "sites refused every one."
    return f"{said} {_sums(found)}".strip()


def _sums(found: Lies) -> str:
    if found.fewest is None:
        return ""
    whole = f"{formats.count(found.sums, 'sum')} that the rounds asked for"
    return f"The smallest of {whole} was over {formats.count(found.fewest, 'site')}; allowed: {found.least} and more."


def section(report: Report) -> Markup:
    """Nothing for a run whose center told no lie."""
    found = report.lies
    if found is None or not found.kinds:
        return Markup("")
    answered = [each for each in found.kinds if each.answered]
    alarm = "; ".join(f"{each.how} ({each.kind}): {formats.listed(each.answered)}" for each in answered)
    heads = ("the center asked for", "told", "refused as", "answered by")
    return tag(
        "section",
        tag("h2", "What did the center ask that it must not?"),
        tag("p", tag("strong", f"Answered: {alarm}."), class_="banner bad", role="alert") if answered else None,
        tag("p", line(report), class_="lead"),
        tag("div", plain(heads, map(_row, found.kinds), "words"), class_="scroll", tabindex=0),
        tag("p", HOW, class_="note"),
        id="lies",
    )


def _row(each: Lie) -> Sequence[str]:
    refused = ", ".join(kind if times == each.told else f"{kind} ({times})" for kind, times in each.refused.items())
    return each.how, f"{each.told:,}", refused or "–", formats.listed(each.answered) if each.answered else "nobody"
