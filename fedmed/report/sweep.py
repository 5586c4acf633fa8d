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

BYTES = ("bytes", "down_bytes", "up_bytes")
LESS = ("seconds", "bytes", "cost")
"""What little of is better."""
SHARES = ("work", "idle")
HEADS = {
    "seconds": "time",
    "bytes": "data",
    "rounds_done": "rounds",
    "kwh": "energy",
    "missing": "times missing",
}
IN_FILES = (
    "down_bytes",
    "up_bytes",
    "time",
    "seeds",
    *(name for name in NAMES if name not in ("auc", "dice", "accuracy", "iou")),
)
"""Columns that a page has no room for."""
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
    given = list(rows[0])[1 : list(rows[0]).index("status")]
    every = dict.fromkeys(key for row in rows for key in row)
    keys = [key for key in every if key in given or not (key.startswith("± ") or key in IN_FILES)]
    heads = [key if key in given else _head(key) for key in keys]
    cells = ([_cell(row, key) for key in keys] for row in rows)
    table = tag("div", plain(heads, cells, "words runs"), class_="scroll", tabindex=0)
    faults = [tag("p", f"{row['point']}: {row['status']}", class_="note") for row in rows if _is_fault(row)]
    return tag("section", tag("h2", head), table, *faults)


def _is_fault(row: Row) -> bool:
    """Whether a run was begun and told nothing but why it ended."""
    return "seconds" not in row and row["status"] != "not run" and "seeds" not in row


def _head(key: str) -> str:
    return HEADS.get(key) or NAMES.get(key) or key.replace("_", " ").replace("seconds to", "time to")


def _cell(row: Row, key: str) -> str:
    spread, value = row.get(f"± {key}"), shown(key, row.get(key))
    if key == "status":
        return "failed" if _is_fault(row) else value.split(" with ")[0]
    parts = [value] + ([f"± {shown(key, spread)}"] if spread else [])
    return " ".join(part.replace(" ", "\u00a0") for part in parts)  # a time is not broken across lines


def _said(rows: Sequence[Row]) -> str:
    ended = sum("seconds" in row for row in rows)
    times = {row["time"] for row in rows if "time" in row}
    what = " Times are this machine's own: no scenario has a topology." if times == {"of this machine"} else ""
    return f"{ended} of {formats.count(len(rows), 'run')} came to an end.{what} All figures are in sweep.csv and sweep.json."


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
        return formats.energy(value)
    if key == "cost":
        return formats.cost(value)
    if isinstance(value, float):
        return formats.score(value) if key in NAMES else f"{value:.3g}"
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
        (unit, scale), name = formats.scaled(formats.TIMES, max(spent)), "virtual time" if virtual else "time"
    elif less == "bytes":
        (unit, scale), name = formats.scaled(formats.SIZES, max(spent)), "data moved"
    return plot(rows, [label(row) for row in rows], best, more, NAMES.get(more, more), Cost(less, name, unit, scale))
