"""The runs of a sweep on a page: what each came to, and which of them no other beats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fedmed.report import formats
from fedmed.report.axes import BOTTOM, LEFT, TOP, WIDTH, Axis, chart, figure, frame, span
from fedmed.report.document import document
from fedmed.report.markup import Markup, join, tag
from fedmed.report.tables import plain

UNITS = (("days", 86_400.0), ("hours", 3600.0), ("minutes", 60.0), ("seconds", 1.0))
BYTES = ("down_bytes", "up_bytes")


def page(title: str, command: str, rows: Sequence[Mapping[str, Any]], best: Sequence[int], more: str | None) -> str:
    """The page as text; `best` are the rows that no other beats in `more` (a metric) and seconds."""
    keys = list(dict.fromkeys(key for row in rows for key in row))
    body = join(
        tag("h1", title),
        tag("p", command),
        tag("p", _said(rows)),
        _picture(rows, best, more) if more else Markup(""),
        tag("h2", "Runs"),
        tag("div", plain(keys, ([shown(key, row.get(key)) for key in keys] for row in rows), "words"), class_="scroll"),
    )
    return document(title, body, "page.css")


def _said(rows: Sequence[Mapping[str, Any]]) -> str:
    ended = sum("seconds" in row for row in rows)
    return f"{ended} of {formats.count(len(rows), 'run')} came to an end."


def shown(key: str, value: Any) -> str:
    """A value as people read it."""
    if value is None:
        return formats.DASH
    if key in BYTES:
        return formats.data_size(value)
    if key.startswith("seconds"):
        return formats.duration(value)
    return formats.score(value) if isinstance(value, float) else str(value)


def _unit(longest: float) -> tuple[str, float]:
    """The largest one that the longest run has three of."""
    return next((each for each in UNITS if longest >= 3 * each[1]), UNITS[-1])


def _picture(rows: Sequence[Mapping[str, Any]], best: Sequence[int], more: str) -> Markup:
    known = [place for place, row in enumerate(rows) if row.get(more) is not None and row.get("seconds") is not None]
    if not known:
        return Markup("")
    unit, scale = _unit(max(rows[place]["seconds"] for place in known))
    times = [rows[place]["seconds"] / scale for place in known]
    x = Axis(unit, *span(times, 0.0), LEFT, WIDTH - 30)
    y = Axis("", *span([rows[place][more] for place in known], 0.0, 1.0), BOTTOM, TOP)
    parts = []
    for place, at in zip(known, times, strict=True):
        row, style = rows[place], "p1" if place in best else "p3"
        left, top = x.place(at), y.place(row[more])
        parts.append(tag("circle", tag("title", row["point"]), cx=left, cy=top, r=4, class_=f"dot {style}"))
        if place in best:
            parts.append(tag("text", row["point"], x=left + 6, y=top - 5, class_="name"))
    note = "dark: no other run is as good in less time"
    return tag("div", figure(f"{more} against time", note, chart(f"{more} by {unit}", frame(x, y), *parts)), class_="charts")
