"""Who took part in which round: one row a site, one column a round, for four sites or a hundred."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fedmed.report import formats
from fedmed.report.axes import Axis
from fedmed.report.markup import Markup, join, tag
from fedmed.report.record import State

Presence = dict[int, tuple[State, str]]

_SEPARATE = 60
"""Up to this many rounds each has a cell of its own; beyond, equal neighbours become one."""
MARKS = {"missing": "×", "refused": "!", "late": "…"}
"""States are told apart without colour, too, where a cell is large enough for a mark."""


def matrix(presence: dict[str, Presence], rounds: Sequence[int]) -> Markup:
    """The matrix with its names, its counts and its axis of rounds."""
    height = 26 if len(presence) <= 12 else 15
    tall = height * len(presence)
    first, last = min(rounds), max(rounds)
    cells = [_row(site, found, row, first, last) for row, (site, found) in enumerate(presence.items())]
    inner = tag(
        "svg",
        *cells,
        viewBox=f"0 0 {last - first + 1} {len(presence)}",
        preserveAspectRatio="none",
        width="100%",
        height=tall,
    )
    marks = _marks(presence, first, last, height)
    dense = " dense" if last - first >= _SEPARATE else ""
    middle = tag("svg", inner, marks, _ticks(first, last, tall), height=tall + 34, width="100%", class_=f"cells{dense}")
    names = [tag("text", _cut(site), tag("title", site), x=0, y=_middle(row, height)) for row, site in enumerate(presence)]
    counts = [tag("text", _count(found), x=0, y=_middle(row, height)) for row, found in enumerate(presence.values())]
    small = "" if height > 20 else " small"
    wide = " wide" if len(rounds) > _SEPARATE else ""
    return tag(
        "div",
        tag("svg", *names, height=tall + 34, class_=f"names{small}"),
        tag("div", tag("div", middle, class_=f"inner{wide}"), class_="scroll", tabindex=0),
        tag("svg", *counts, height=tall + 34, class_=f"counts{small}"),
        class_="matrix",
        role="img",
        aria_label="Participation of each site in each round; the absences are listed below",
    )


def _row(site: str, found: Presence, row: int, first: int, last: int) -> Markup:
    separate = last - first < _SEPARATE
    inset = 0.0 if separate else 0.06
    tall = 1 - 2 * inset
    steps, parts = [], []
    for start, end, state, reason in _runs(found, first, last, separate):
        left, wide = start - first, end - start + 1
        if state == "joined":
            steps.append(f"M{left} {row + inset:g}h{wide}v{tall:g}h-{wide}Z")
            continue
        hint = tag("title", f"{site}, round {formats.ranges(range(start, end + 1))}: {state} – {reason}")
        parts.append(tag("rect", hint, x=left, y=row + inset, width=wide, height=tall, class_=f"cell {state}"))
    joined = tag("path", tag("title", f"{site}: joined"), d="".join(steps), class_="cell joined") if steps else None
    return join(joined, *parts)


def _marks(presence: dict[str, Presence], first: int, last: int, height: int) -> Markup:
    """Placed in percent, outside the stretched cells, so that they keep their shape."""
    if last - first >= _SEPARATE:
        return Markup("")
    axis = Axis("", first - 0.5, last + 0.5, 0.0, 100.0)
    marks = [
        tag("text", MARKS[state], x=f"{axis.place(number):.2f}%", y=_middle(row, height), class_=f"mark {state}")
        for row, found in enumerate(presence.values())
        for number, (state, _) in found.items()
        if state in MARKS
    ]
    return join(*marks)


def _runs(found: Presence, first: int, last: int, separate: bool) -> Iterator[tuple[int, int, State, str]]:
    """Rounds of one state and reason in a row; rounds in which the site was not asked are left out."""
    start = first
    for number in range(first, last + 1):
        here = found.get(number)
        if number == last or separate or found.get(number + 1) != here:
            if here:
                yield start, number, *here
            start = number + 1


def _ticks(first: int, last: int, tall: int) -> Markup:
    axis = Axis("", first - 0.5, last + 0.5, 0.0, 100.0, whole=True)
    texts = [
        tag("text", text, x=f"{axis.place(value):.2f}%", y=tall + 14, class_="tick", text_anchor="middle")
        for value, text in axis.ticks()
    ]
    return join(*texts, tag("text", "round", x="50%", y=tall + 30, class_="name", text_anchor="middle"))


def _middle(row: int, height: int) -> float:
    return row * height + height / 2 + 4


def _count(found: Presence) -> str:
    return f"{sum(state == 'joined' for state, _ in found.values())}/{len(found)}"


def _cut(text: str) -> str:
    return text if len(text) <= 18 else text[:17] + "…"
