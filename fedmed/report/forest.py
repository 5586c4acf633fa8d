"""What each hospital gained, drawn: a forest plot for a few sites, one point a site for many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fedmed.report import formats
from fedmed.report.axes import BOTTOM, LEFT, TOP, WIDTH, Axis, chart, frame, span
from fedmed.report.markup import Markup, join, tag
from fedmed.report.record import Metric


@dataclass(frozen=True)
class Mark:
    """One model's score at one site."""

    name: str
    style: str
    metric: Metric


def strip_axis(marks: Sequence[Mark]) -> Axis:
    """The axis that all strips share, in percent of their width."""
    metrics = [mark.metric for mark in marks]
    known = [value for metric in metrics for value in (metric.low, metric.value, metric.high) if value is not None]
    low, high = span(known, 0.0, 1.0)
    return Axis("", low, high, 0.0, 100.0)


def strip(mark: Mark, axis: Axis) -> Markup:
    """Point and interval of one score; positions in percent, so that strips of any width keep their letters."""
    parts = _grid(axis)
    metric = mark.metric
    if metric.low is not None and metric.high is not None:
        ends = {"x1": f"{axis.place(metric.low):.2f}%", "x2": f"{axis.place(metric.high):.2f}%"}
        parts.append(tag("line", y1="50%", y2="50%", class_=f"whisker {mark.style}", **ends))
    if metric.value is not None:
        parts.append(tag("circle", cx=f"{axis.place(metric.value):.2f}%", cy="50%", r=5, class_=f"dot {mark.style}"))
    return tag("svg", *parts, class_="strip", aria_hidden="true")


def strip_ticks(axis: Axis) -> Markup:
    """The numbers under the strips."""
    texts = [
        tag("text", text, x=f"{axis.place(value):.2f}%", y=13, class_="tick", text_anchor=_anchor(axis.place(value)))
        for value, text in axis.ticks()
    ]
    return tag("svg", *texts, class_="strip", aria_hidden="true")


def _grid(axis: Axis) -> list[Markup]:
    at = [f"{axis.place(value):.2f}%" for value, _ in axis.ticks()]
    return [tag("line", x1=x, x2=x, y1=0, y2="100%", class_="grid") for x in at]


def _anchor(percent: float) -> str:
    return "start" if percent < 4 else "end" if percent > 96 else "middle"


def scatter(label: str, points: Sequence[tuple[str, float, float]], measure: str) -> Markup:
    """One dot a site: own model to the right, the federation's up; above the diagonal the site gained."""
    low, high = span([value for _, own, shared in points for value in (own, shared)], 0.0, 1.0)
    x = Axis(f"{measure} of the site's own model", low, high, LEFT, WIDTH - 12)
    y = Axis("", low, high, BOTTOM, TOP)
    dots = []
    for site, own, shared in points:
        hint = tag("title", f"{site}: {formats.score(own)} alone, {formats.score(shared)} with the federation")
        style = "fed" if shared >= own else "local"
        dots.append(tag("circle", hint, cx=x.place(own), cy=y.place(shared), r=3.6, class_=f"dot faint {style}"))
    line = tag("line", x1=x.start, y1=y.start, x2=x.end, y2=y.end, class_="diagonal")
    gained = tag("text", "gained", x=x.start + 8, y=TOP + 12, class_="label fed")
    lost = tag("text", "lost", x=x.end - 8, y=BOTTOM - 10, class_="label local", text_anchor="end")
    return chart(label, frame(x, y), line, join(*dots), gained, lost)
