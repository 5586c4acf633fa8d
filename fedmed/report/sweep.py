"""The runs of a sweep on a page: what each came to, and which of them no other beats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fedmed.report import formats
from fedmed.report.document import document
from fedmed.report.markup import Markup, join, tag
from fedmed.report.measures import NAMES
from fedmed.report.pareto import Cost, plot
from fedmed.report.tables import plain

UNITS = (("days", 86_400.0), ("hours", 3600.0), ("minutes", 60.0), ("seconds", 1.0))
SIZES = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3), ("bytes", 1.0))
BYTES = ("bytes", "down_bytes", "up_bytes")
LESS = ("seconds", "bytes", "cost")
"""What little of is better."""
SHARES = ("work", "idle")
HEADS = {
    "seconds": "time",
    "down_bytes": "down",
    "up_bytes": "up",
    "rounds_done": "rounds",
    "kwh": "energy",
    "missing": "times a site was missing",
}
Row = Mapping[str, Any]


def page(
    title: str,
    command: str,
    rows: Sequence[Row],
    seeds: Sequence[Row],
    fronts: Mapping[str, Sequence[int]],
    more: str | None,
) -> str:
    """The page as text. `seeds`: the rows of several seeds together, where there are several; `fronts`: for each of what
    little of is better the places of those (of `seeds`, else of `rows`) that no other beats in `more`, a measure."""
    shown_ = seeds or rows
    charts = [_plot(shown_, fronts.get(key, ()), more, key) for key in LESS] if more else []
    body = join(
        tag("h1", title),
        tag("p", command),
        tag("p", _said(rows)),
        tag("div", *charts, class_="charts") if any(charts) else Markup(""),
        _table("Seeds together: mean and standard deviation", seeds),
        _table("Runs", rows),
    )
    return document(title, body, "page.css")


def _table(head: str, rows: Sequence[Row]) -> Markup:
    if not rows:
        return Markup("")
    keys = [key for key in dict.fromkeys(key for row in rows for key in row) if not key.startswith("± ")]
    heads = [_head(key) for key in keys]
    cells = ([_cell(row, key) for key in keys] for row in rows)
    table = tag("div", plain(heads, cells, "words"), class_="scroll", tabindex=0)
    return tag("section", tag("h2", head), table)


def _head(key: str) -> str:
    return HEADS.get(key) or NAMES.get(key) or key.replace("_", " ").replace("seconds to", "time to")


def _cell(row: Row, key: str) -> str:
    spread = row.get(f"± {key}")
    return shown(key, row.get(key)) + (f" ± {shown(key, spread)}" if spread else "")


def _said(rows: Sequence[Row]) -> str:
    ended = sum("seconds" in row for row in rows)
    times = {row["time"] for row in rows if "time" in row}
    what = " Times are this machine's own: no scenario has a topology." if times == {"of this machine"} else ""
    return f"{ended} of {formats.count(len(rows), 'run')} came to an end.{what}"


def shown(key: str, value: Any) -> str:
    """A value as people read it."""
    if value is None:
        return formats.DASH
    if key in BYTES:
        return formats.data_size(value)
    if key.startswith("seconds"):
        return formats.duration(value)
    if key in SHARES:
        return f"{value:.0%}"
    if key == "kwh":
        return f"{value:.3g} kWh"
    if key == "cost":
        return f"{value:,.2f}"
    if isinstance(value, float):
        return formats.score(value) if abs(value) <= 1 else f"{value:.4g}"
    return str(value)


def label(row: Row) -> str:
    """What sets a run apart: the values that it was given."""
    names = list(row)
    return ", ".join(str(row[name]) for name in names[1 : names.index("status")])


def _plot(rows: Sequence[Row], best: Sequence[int], more: str | None, less: str) -> Markup:
    spent = [row[less] for row in rows if row.get(less) is not None]
    if more is None or not spent or not max(spent):
        return Markup("")
    name, unit, scale = "cost", "money", 1.0
    if less == "seconds":
        virtual = any(row.get("time") == "virtual" for row in rows)
        (unit, scale), name = _unit(UNITS, max(spent)), "virtual time" if virtual else "time"
    elif less == "bytes":
        (unit, scale), name = _unit(SIZES, max(spent)), "data moved"
    return plot(rows, [label(row) for row in rows], best, more, NAMES.get(more, more), Cost(less, name, unit, scale))


def _unit(units: Sequence[tuple[str, float]], most: float) -> tuple[str, float]:
    """The largest one that there are three of."""
    return next((each for each in units if most >= 3 * each[1]), units[-1])
