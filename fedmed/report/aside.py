"""What was set aside: the studies that a site could not trust, and why."""

from __future__ import annotations

from collections import Counter

from fedmed.report.markup import Markup, tag
from fedmed.report.record import Aside, Report

MANY = 12


def section(report: Report) -> Markup:
    """A table of every series or file that was left out, by site; nothing where there is none."""
    rows = [_row(site, each) for site, found in report.set_aside.items() for each in found]
    if not rows:
        return Markup("")
    head = tag("tr", *(tag("th", text, scope="col") for text in ("Site", "Series or file", "Reason", "In words")))
    table = tag("div", tag("table", tag("thead", head), tag("tbody", *rows), class_="words"), class_="scroll", tabindex=0)
    return tag(
        "section",
        tag("h2", "What was set aside?"),
        tag("p", f"{_counted(report)}. The rounds went on without it; nothing else was touched.", class_="lead"),
        tag("details", tag("summary", f"Each with its reason ({len(rows)})"), table, open="" if len(rows) <= MANY else None),
    )


def _row(site: str, each: Aside) -> Markup:
    cells = (tag("td", text) for text in (each.what, each.reason, each.sentence))
    return tag("tr", tag("th", site, scope="row"), *cells)


def _counted(report: Report) -> str:
    reasons = Counter(each.reason for found in report.set_aside.values() for each in found)
    total, sites = sum(reasons.values()), len(report.set_aside)
    words = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
    return f"{total} at {sites} site{'s' if sites > 1 else ''} could not be trusted: {words}"
