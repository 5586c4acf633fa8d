"""How good against how much: a dot a run, those that no other beats joined by a line, the others grey."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedmed.report.axes import BOTTOM, LEFT, TOP, WIDTH, Axis, chart, figure, frame, span
from fedmed.report.markup import Markup, join, tag

LETTER, LINE = 6.2, 12.0
"""Pixels of a letter, and between two lines of text."""
MOST_LABEL = 22


@dataclass(frozen=True)
class Cost:
    """What little of is better: a key of the rows, its name, and unit and scale of the axis."""

    key: str
    name: str
    unit: str
    scale: float


@dataclass(frozen=True)
class _Dot:
    left: float
    top: float
    label: str
    hint: str
    is_best: bool


def plot(
    rows: Sequence[Mapping[str, Any]], labels: Sequence[str], best: Sequence[int], more: str, named: str, cost: Cost
) -> Markup:
    """`best` are the places of the rows that no other beats; `more` the key of what much of is better, in 0..1."""
    known = [place for place, row in enumerate(rows) if row.get(more) is not None and row.get(cost.key) is not None]
    if not known:
        return Markup("")
    x = Axis(cost.unit, *span([rows[place][cost.key] / cost.scale for place in known], 0.0), LEFT, WIDTH - 16)
    y = Axis("", *span([rows[place][more] for place in known], 0.0, 1.0), BOTTOM, TOP)
    dots = [_dot(rows[place], labels[place], place in best, x, y, more, cost) for place in known]
    dots.sort(key=lambda dot: dot.is_best)  # what matters is on top
    drawing = chart(f"{named} against {cost.name}", frame(x, y), _front(dots), *map(_drawn, dots), *_labels(dots))
    return figure(f"{named} against {cost.name}", "joined: no other is as good for less; grey: another is", drawing)


def _dot(row: Mapping[str, Any], label: str, is_best: bool, x: Axis, y: Axis, more: str, cost: Cost) -> _Dot:
    value, spent = float(row[more]), float(row[cost.key]) / cost.scale
    hint = f"{row['point']}: {label}; {value:.3f}, {spent:.3g} {cost.unit}"
    return _Dot(x.place(spent), y.place(value), label, hint, is_best)


def _drawn(dot: _Dot) -> Markup:
    style = "fed" if dot.is_best else "p5"
    return tag(
        "circle", tag("title", dot.hint), cx=dot.left, cy=dot.top, r=4.5 if dot.is_best else 3.5, class_=f"dot {style}"
    )


def _front(dots: Sequence[_Dot]) -> Markup:
    """Steps: what can be had for so much is what the dot to the left has."""
    front = sorted((dot for dot in dots if dot.is_best), key=lambda dot: dot.left)
    if len(front) < 2:
        return Markup("")
    steps = [f"M{front[0].left:.1f} {front[0].top:.1f}", *(f"H{dot.left:.1f}V{dot.top:.1f}" for dot in front[1:])]
    return tag("path", d="".join(steps), class_="line fed thin")


def _labels(dots: Sequence[_Dot]) -> list[Markup]:
    """Of those on the front, on the side with more room, none over another."""
    taken, found = list[tuple[float, float, float]](), list[Markup]()
    for dot in sorted((dot for dot in dots if dot.is_best), key=lambda dot: dot.top):
        text = dot.label if len(dot.label) <= MOST_LABEL else f"{dot.label[: MOST_LABEL - 1]}…"
        wide = LETTER * len(text)
        is_right = dot.left + 8 + wide <= WIDTH
        start = dot.left + 8 if is_right else max(LEFT, dot.left - 8 - wide)
        top = dot.top + (14 if is_right else -6)
        while any(abs(top - at) < LINE and start < right and left < start + wide for left, right, at in taken):
            top += LINE
        if top > BOTTOM - 3:
            continue  # no room; the hint and the table say which it is
        taken.append((start, start + wide, top))
        found.append(tag("text", text, x=start, y=top, class_="label fed"))
    return [join(*found)]
