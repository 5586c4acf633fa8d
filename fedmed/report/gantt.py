"""A round of virtual time as a Gantt chart, and what each site's time went into."""

from __future__ import annotations

from collections.abc import Sequence

from fedmed.report import formats
from fedmed.report.axes import Axis, figure
from fedmed.report.markup import Markup, join, tag
from fedmed.report.record import Report
from fedmed.report.tables import plain
from fedmed.report.timed import Gantt, GanttRow, Use

WIDE, NAMES, ROW, FOOT = 760.0, 150.0, 17.0, 34.0
HEAD = 15.0
"""Above the rows: room for what the lines are."""
STYLES = {"down": "p3", "work": "p1", "up": "p2", "wait": "wait", "gone": "gone"}
WORDS = {
    "down": "on its way down, or waiting there",
    "work": "work, or waiting for those below",
    "up": "on its way up",
    "wait": "answered, waiting for the others",
    "gone": "nothing comes of it",
}
MOST_NAME, LETTER = 22, 5.9


def section(report: Report) -> Markup:
    """Nothing for a run in the machine's own time."""
    found = report.virtual
    if found is None or not found.use:
        return Markup("")
    drawn = picture(found.gantt)
    known = {who: place for place, who in enumerate(report.sites)}  # the order of all other tables
    use = dict(sorted(found.use.items(), key=lambda each: known.get(each[0], len(known))))
    return tag("section", tag("h2", "Virtual time, by site"), drawn, _table(use), id="time")


def picture(found: Gantt | None) -> Markup:
    """A round; nothing where nobody was in it."""
    if found is None or not found.rows:
        return Markup("")
    which = f"round {found.round}" if found.round is not None else "the longest attempt at a round"
    more = f"; {formats.count(found.more, 'more site')} not shown" if found.more else ""
    note = f"the longest one, {formats.duration(found.ended - found.began)}, in virtual time; last answers on top{more}"
    there = {part for row in found.rows for _, _, part in row.bars}
    return figure(f"Who did what in {which}", note, _chart(found), _key(there))


def _chart(found: Gantt) -> Markup:
    height = HEAD + ROW * len(found.rows) + FOOT
    unit, scale = ("minutes", 60.0) if found.ended - found.began >= 600 else ("seconds", 1.0)
    x = Axis(unit, 0.0, max((found.ended - found.began) / scale, 1e-9), NAMES, WIDE - 14)
    bottom = height - FOOT + 4
    parts = [tag("line", x1=x.place(at), x2=x.place(at), y1=HEAD, y2=bottom, class_="grid") for at, _ in x.ticks()]
    parts += [tag("text", text, x=x.place(at), y=bottom + 14, class_="tick", text_anchor="middle") for at, text in x.ticks()]
    parts.append(tag("text", x.label, x=(x.start + x.end) / 2, y=height - 2, class_="name", text_anchor="middle"))
    rows = [_row(row, place, x, found.began, scale) for place, row in enumerate(found.rows)]
    marks = _marks(found, x, scale, bottom)
    label = "What each site did in the longest round"
    view = f"0 0 {WIDE:g} {height:g}"
    drawn = tag("svg", join(*parts), *rows, marks, viewBox=view, role="img", aria_label=label, class_="chart wide")
    return tag("div", drawn, class_="scroll", tabindex=0)


def _marks(found: Gantt, x: Axis, scale: float, bottom: float) -> Markup:
    """When the round was over, and its deadline; of two at one place the deadline closed it."""
    told = {"training closed": found.closed, "deadline": found.deadline}
    places = {
        name: x.place((at - found.began) / scale)
        for name, at in told.items()
        if at is not None and found.began <= at <= found.ended
    }
    if len(places) == 2 and abs(places["training closed"] - places["deadline"]) < 2:
        places = {"closed at the deadline": places["deadline"]}
    parts = []
    for name, at in places.items():
        is_left = at > (x.start + x.end) / 2
        parts.append(tag("line", x1=at, x2=at, y1=2, y2=bottom, class_=f"mark-line {name.split()[-1]}"))
        parts.append(
            tag("text", name, x=at - 4 if is_left else at + 4, y=10, class_="tick", text_anchor="end" if is_left else None)
        )
    return join(*parts)


def _row(row: GanttRow, place: int, x: Axis, began: float, scale: float) -> Markup:
    top = HEAD + ROW * place + 3
    name = row.who if len(row.who) <= MOST_NAME else f"{row.who[: MOST_NAME - 1]}…"
    parts = [tag("text", name, x=NAMES - 8, y=top + 9.5, class_="tick", text_anchor="end")]
    for start, end, part in row.bars:
        left, right = x.place((start - began) / scale), x.place((end - began) / scale)
        title = tag("title", f"{row.who}: {WORDS.get(part, part)}, {formats.duration(end - start)}")
        style = f"fill {STYLES.get(part, 'p4')}"
        parts.append(tag("rect", title, x=left, y=top, width=max(right - left, 0.6), height=ROW - 6, class_=style))
    if row.lost:
        parts.append(_why(row, x, began, scale, top))
    return join(*parts)


def _why(row: GanttRow, x: Axis, began: float, scale: float, top: float) -> Markup:
    """Where nothing was heard of it any more, or at its end, as much of the reason as there is room for."""
    silent = [(start, end) for start, end, part in row.bars if part == "gone"] or [(end, end) for _, end, _ in row.bars[-1:]]
    left = max((x.place((start - began) / scale) for start, _ in silent), default=x.start)
    text = formats.kind_of(row.lost).removeprefix("no answer ")
    room = max(int((x.end - left - 5) / LETTER), 0)
    if room < min(len(text), 16):  # it stands before the end instead, on what is drawn there
        return _over(row.lost, _cut(text, int((x.end - x.start) / LETTER) - 2), x.end - 4, top)
    return tag("text", tag("title", row.lost), _cut(text, room), x=left + 5, y=top + 9, class_="label lost")


def _over(reason: str, text: str, end: float, top: float) -> Markup:
    """Words on a plate of their own, for no colour of a bar is one that they can be read on."""
    wide = LETTER * len(text) + 6
    plate = tag("rect", x=end - wide + 3, y=top - 1, width=wide, height=ROW - 4, class_="plate")
    words = tag("text", tag("title", reason), text, x=end, y=top + 9, class_="label lost", text_anchor="end")
    return join(plate, words)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _key(there: set[str]) -> Markup:
    items = [
        tag(
            "li", tag("svg", tag("rect", width=11, height=11, class_=f"fill {style}"), width=11, height=11), " ", WORDS[part]
        )
        for part, style in STYLES.items()
        if part in there
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
            formats.DASH if each.kwh is None else formats.energy(each.kwh),
        )
        for who, each in use.items()
    ]
