"""A replay on a page: predicted beside observed, round by round, and where each site's time went."""

from __future__ import annotations

import csv
import io
from typing import Any

from fedmed.report.document import document
from fedmed.report.markup import Markup, join, tag
from fedmed.report.tables import plain


def page(title: str, told: dict[str, Any]) -> str:
    """The page as text, of what `fedmed twin replay --json` tells."""
    head = (
        f"A round takes {told['predicted_s']:.2f} s here; {told['observed_s']:.2f} s were recorded ({told['error']:+.1%})."
    )
    body = join(
        tag("h1", title),
        tag("p", head),
        tag("p", "With " + ", ".join(told["changed"]) + "." if told["changed"] else "Nothing is changed."),
        tag("h2", "Rounds"),
        _wide(plain(("round", "predicted, s", "observed, s", "error", "without"), rounds_of(told))),
        tag("h2", "Where a round's time goes, by site"),
        _wide(plain(("site", "down, s", "work, s", "up, s", "waiting, s"), sites_of(told))),
        tag("h2", "What the records do not say"),
        tag("ul", join(*(tag("li", each) for each in told["unknown"]))),
    )
    return document(title, body, "page.css")


def _wide(table: Markup) -> Markup:
    return tag("div", table, class_="scroll", tabindex=0)


def table(told: dict[str, Any]) -> str:
    """Rounds as CSV."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("round", "predicted_s", "observed_s", "error", "verdict", "missing"))
    for each in told["rounds"]:
        gone = "; ".join(f"{site}: {reason}" for site, reason in each["missing"].items())
        writer.writerow(
            (each["round"], each["predicted_s"], each["observed_s"], each["error"], each["verdict"], gone)
        )  # fmt: skip
    return out.getvalue()


def rounds_of(told: dict[str, Any]) -> list[tuple[str, ...]]:
    """Rows of the table of rounds; a dash for what was not recorded."""
    return [
        (
            str(each["round"]),
            f"{each['predicted_s']:.2f}",
            "–" if each["observed_s"] is None else f"{each['observed_s']:.2f}",
            "–" if each["error"] is None else f"{each['error']:+.1%}",
            ", ".join(each["missing"]),
        )
        for each in told["rounds"]
    ]


def sites_of(told: dict[str, Any]) -> list[tuple[str, ...]]:
    """Rows of the table of sites."""
    return [
        (name, *(f"{each[part]:.2f}" for part in ("down_s", "work_s", "up_s", "waited_s")))
        for name, each in told["sites"].items()
    ]
