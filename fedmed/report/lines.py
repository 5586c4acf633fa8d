"""Line charts: curves over rounds, ROC and calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fedmed.report.axes import BOTTOM, LEFT, TOP, WIDTH, Axis, chart, frame, span
from fedmed.report.markup import Markup, join, tag

Point = tuple[float, "float | None"]
Spread = tuple[float, float, float]
"""Round, low and high of a band."""

_LONGEST = 17


@dataclass(frozen=True)
class Line:
    """One line; None breaks it. `label` stands at its end, `hint` is shown by a pointer resting on it."""

    points: Sequence[Point]
    style: str
    label: str = ""
    hint: str = ""
    sizes: Sequence[float] = ()
    """Radius of a dot at each point, pixels; no dots when empty."""


def over_rounds(label: str, lines: Sequence[Line], band: Sequence[Spread] = (), *, unit_range: bool = False) -> Markup:
    """Lines over rounds, labelled at their ends, over a band; `unit_range`: the values are in 0..1."""
    values = [y for line in lines for _, y in line.points if y is not None]
    values += [y for _, low, high in band for y in (low, high)]
    longest = max((min(len(line.label), _LONGEST) for line in lines), default=0)
    x = round_axis([at for line in lines for at, _ in line.points], WIDTH - 10 - 6.2 * longest)
    low, high = span(values, 0.0 if min(values, default=0.0) >= 0 else None, 1.0 if unit_range else None)
    y = Axis("", low, high, BOTTOM, TOP)
    drawn = [_draw(line, x, y) for line in lines]
    return chart(label, frame(x, y), _area(band, x, y), *drawn, _end_labels(lines, x, y))


def _area(band: Sequence[Spread], x: Axis, y: Axis) -> Markup:
    there = [f"{x.place(at):.1f} {y.place(high):.1f}" for at, _, high in band]
    back = [f"{x.place(at):.1f} {y.place(low):.1f}" for at, low, _ in reversed(band)]
    return tag("path", d=f"M{'L'.join(there + back)}Z", class_="band") if band else Markup("")


def over_time(label: str, unit: str, lines: Sequence[Line]) -> Markup:
    """Lines over time from its beginning on, labelled at their ends; values are in 0..1."""
    values = [y for line in lines for _, y in line.points if y is not None]
    x = Axis(unit, 0.0, max((at for line in lines for at, _ in line.points), default=1.0) or 1.0, LEFT, WIDTH - 16)
    y = Axis("", *span(values, 0.0, 1.0), BOTTOM, TOP)
    return chart(label, frame(x, y), *(_draw(line, x, y) for line in lines))


def round_axis(rounds: Sequence[float], end: float) -> Axis:
    """Axis of rounds; a single round stands in the middle."""
    low, high = min(rounds, default=1), max(rounds, default=1)
    return Axis("round", low - 0.5 * (low == high), high + 0.5 * (low == high), LEFT, end, whole=True)


def unit_square(label: str, lines: Sequence[Line], x_label: str, key: Sequence[tuple[str, str]]) -> Markup:
    """Lines in the unit square with its diagonal; `key` (style, text) stands where such curves leave room."""
    x = Axis(x_label, 0.0, 1.0, LEFT, WIDTH - 12)
    y = Axis("", 0.0, 1.0, BOTTOM, TOP)
    diagonal = tag("line", x1=x.start, y1=y.start, x2=x.end, y2=y.end, class_="diagonal")
    texts = []
    for row, (style, text) in enumerate(reversed(key)):
        at = BOTTOM - 12 - 17 * row
        texts.append(tag("circle", cx=x.end - 150, cy=at - 3.5, r=4, class_=f"dot {style}"))
        texts.append(tag("text", _cut(text), x=x.end - 140, y=at, class_=f"label {style}"))
    return chart(label, frame(x, y), diagonal, *(_draw(line, x, y) for line in lines), *texts)


def _draw(line: Line, x: Axis, y: Axis) -> Markup:
    strokes: list[list[str]] = [[]]
    dots: list[Markup] = []
    for number, (at, value) in enumerate(line.points):
        if value is None:
            strokes.append([])
            continue
        strokes[-1].append(f"{x.place(at):.1f} {y.place(value):.1f}")
        if line.sizes:
            dots.append(tag("circle", cx=x.place(at), cy=y.place(value), r=line.sizes[number], class_=f"dot {line.style}"))
    path = " ".join("M" + "L".join(stroke if len(stroke) > 1 else stroke * 2) for stroke in strokes if stroke)
    hint = tag("title", line.hint) if line.hint else None
    alone = " alone" if sum(map(len, strokes)) == 1 and not line.sizes else ""  # round caps make a dot of it
    return join(tag("path", hint, d=path, class_=f"line {line.style}{alone}"), *dots) if path else Markup("")


def _end_labels(lines: Sequence[Line], x: Axis, y: Axis) -> Markup:
    """Texts at the right ends, pushed apart until none covers another (12 px)."""
    ends: list[tuple[float, Line]] = []
    for line in lines:
        values = [value for _, value in line.points if value is not None]
        if line.label and values:
            ends.append((y.place(values[-1]) + 3.5, line))
    ends.sort(key=lambda end: end[0])
    places = _apart([at for at, _ in ends], y.start + 3.5)
    texts = [
        tag("text", _cut(line.label), x=x.end + 6, y=at, class_=f"label {line.style}")
        for at, (_, line) in zip(places, ends, strict=True)
    ]
    return join(*texts)


def _apart(places: Sequence[float], bottom: float) -> list[float]:
    """Rising places at least 12 px apart, none below `bottom`: pushed down first, then back up."""
    apart: list[float] = []
    for at in places:
        apart.append(max(at, apart[-1] + 12) if apart else at)
    for number in reversed(range(len(apart))):
        apart[number] = min(apart[number], bottom)
        bottom = apart[number] - 12
    return apart


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
