"""A round of virtual time as a Gantt chart, and what each site's time went into."""

from __future__ import annotations

from collections.abc import Sequence

from fedmed.report import formats
from fedmed.report.axes import Axis, figure
from fedmed.report.markup import Markup, join, tag
from fedmed.report.record import Gantt, GanttRow, Report, Use
from fedmed.report.tables import plain

WIDE, NAMES, ROW, FOOT = 760.0, 150.0, 17.0, 34.0
STYLES = {"down": "p3", "work": "p1", "up": "p2"}
WORDS = {"down": "on its way down, or waiting there", "work": "work", "up": "on its way up"}
MOST_NAME = 22


def section(report: Report) -> Markup:
    """Nothing for a run in the machine's own time."""
    found = report.virtual
    if found is None or not found.use:
        return Markup("")
    drawn = _figure(found.gantt) if found.gantt is not None and found.gantt.rows else Markup("")
    return tag("section", tag("h2", "Virtual time, by site"), drawn, _table(found.use), id="time")


def _figure(found: Gantt) -> Markup:
    which = f"round {found.round}" if found.round is not None else "the longest attempt at a round"
    more = f"; {formats.count(found.more, 'more site')} that ended before these" if found.more else ""
    note = f"the longest one, {formats.duration(found.ended - found.began)}, in virtual time{more}"
    return figure(f"Who did what in {which}", note, _chart(found), _key())


def _chart(found: Gantt) -> Markup:
    height = ROW * len(found.rows) + FOOT
    unit, scale = ("minutes", 60.0) if found.ended - found.began >= 600 else ("seconds", 1.0)
    x = Axis(unit, 0.0, max((found.ended - found.began) / scale, 1e-9), NAMES, WIDE - 14)
    bottom = height - FOOT + 4
    parts = [tag("line", x1=x.place(at), x2=x.place(at), y1=0, y2=bottom, class_="grid") for at, _ in x.ticks()]
    parts += [tag("text", text, x=x.place(at), y=bottom + 14, class_="tick", text_anchor="middle") for at, text in x.ticks()]
    parts.append(tag("text", x.label, x=(x.start + x.end) / 2, y=height - 2, class_="name", text_anchor="middle"))
    rows = [_row(row, place, x, found.began, scale) for place, row in enumerate(found.rows)]
    label = "What each site did in the longest round"
    view = f"0 0 {WIDE:g} {height:g}"
    return tag("svg", join(*parts), *rows, viewBox=view, role="img", aria_label=label, class_="chart wide")


def _row(row: GanttRow, place: int, x: Axis, began: float, scale: float) -> Markup:
    top = ROW * place + 3
    name = row.who if len(row.who) <= MOST_NAME else f"{row.who[: MOST_NAME - 1]}…"
    parts = [tag("text", name, x=NAMES - 8, y=top + 9.5, class_="tick", text_anchor="end")]
    for start, end, part in row.bars:
        left, right = x.place((start - began) / scale), x.place((end - began) / scale)
        title = tag("title", f"{row.who}: {WORDS.get(part, part)}, {formats.duration(end - start)}")
        style = f"fill {STYLES.get(part, 'p4')}"
        parts.append(tag("rect", title, x=left, y=top, width=max(right - left, 0.6), height=ROW - 6, class_=style))
    if row.lost:
        last = max((x.place((end - began) / scale) for _, end, _ in row.bars), default=x.start)
        parts.append(tag("text", f"no answer: {row.lost}", x=last + 5, y=top + 9.5, class_="label refused"))
    return join(*parts)


def _key() -> Markup:
    items = [
        tag(
            "li", tag("svg", tag("rect", width=11, height=11, class_=f"fill {style}"), width=11, height=11), " ", WORDS[part]
        )
        for part, style in STYLES.items()
    ]
    return tag("ul", *items, class_="key")


def _table(use: dict[str, Use]) -> Markup:
    head = ("site", "work", "line", "neither", "down", "up", "energy")
    return tag("div", plain(head, _rows(use)), class_="scroll")


def _rows(use: dict[str, Use]) -> Sequence[Sequence[str]]:
    def share(part: float, each: Use) -> str:
        whole = each.work_s + each.line_s + each.idle_s
        return f"{part / whole:.0%}" if whole else formats.DASH

    return [
        (
            who,
            share(each.work_s, each),
            share(each.line_s, each),
            share(each.idle_s, each),
            formats.data_size(each.down_bytes),
            formats.data_size(each.up_bytes),
            formats.DASH if each.kwh is None else f"{each.kwh:.3g} kWh",
        )
        for who, each in use.items()
    ]
