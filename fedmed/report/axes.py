"""Scales, ticks and the frame that the charts share.

A chart is 360 units wide, about what a telephone shows, and the page lays charts out side by side where there is
room: its letters are never scaled below reading size.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from fedmed.report.markup import Markup, join, tag

WIDTH = 360.0
HEIGHT = 236.0
TOP = 12.0
LEFT = 42.0
BOTTOM = HEIGHT - 34.0


@dataclass(frozen=True)
class Axis:
    """Maps `low..high` to pixels `start..end`."""

    label: str
    low: float
    high: float
    start: float
    end: float
    whole: bool = False
    """Ticks at whole numbers only (rounds)."""

    def place(self, value: float) -> float:
        """Pixel of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self) -> list[tuple[float, str]]:
        """About six round values and their texts."""
        step = _step((self.high - self.low) / 6)
        if self.whole:
            step = max(1.0, step)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        values = [number * step for number in range(first, last + 1)]
        one = math.ceil(self.low)
        if self.whole and (not values or values[0] - one >= step / 2):
            values.insert(0, one)
        decimals = max(0, -math.floor(math.log10(step) + 1e-9))
        return [(value, f"{value:,.{decimals}f}") for value in values]


def _step(rough: float) -> float:
    """1, 2 or 5 times a power of ten, at least `rough`."""
    power: float = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)


def span(values: Iterable[float], low: float | None = None, high: float | None = None) -> tuple[float, float]:
    """Range that holds the values with a little air; `low` and `high` are bounds that it never leaves."""
    known = list(values) or [0.0, 1.0]
    bottom, top = min(known), max(known)
    air = (top - bottom) * 0.06 or abs(top) * 0.1 or 0.5
    bottom, top = bottom - air, top + air
    return (bottom if low is None else max(low, bottom)), (top if high is None else min(high, top))


def frame(x: Axis, y: Axis) -> Markup:
    """Grid lines, tick texts and the labels of both axes."""
    parts: list[Markup] = []
    for value, text in y.ticks():
        at = y.place(value)
        parts.append(tag("line", x1=x.start, x2=x.end, y1=at, y2=at, class_="grid"))
        parts.append(tag("text", text, x=x.start - 6, y=at + 3.5, class_="tick", text_anchor="end"))
    for value, text in x.ticks():
        parts.append(tag("text", text, x=x.place(value), y=y.start + 15, class_="tick", text_anchor="middle"))
    parts.append(tag("line", x1=x.start, x2=x.end, y1=y.start, y2=y.start, class_="axis"))
    parts.append(tag("text", x.label, x=(x.start + x.end) / 2, y=HEIGHT - 4, class_="name", text_anchor="middle"))
    return join(*parts)


def chart(label: str, *parts: Markup) -> Markup:
    """The SVG element around a chart; `label` is what a screen reader says."""
    return tag("svg", *parts, viewBox=f"0 0 {WIDTH:g} {HEIGHT:g}", role="img", aria_label=label, class_="chart")


def figure(title: str, note: str | Markup, drawing: Markup, extra: Markup | None = None) -> Markup:
    """A chart with its title (what and unit) and a note on how to read it."""
    caption = tag("figcaption", tag("strong", title), " ", tag("span", note))
    return tag("figure", caption, drawing, extra)
