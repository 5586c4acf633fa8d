"""Stacked columns over rounds, and totals as labelled bars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fedmed.report.axes import BOTTOM, LEFT, TOP, WIDTH, Axis, chart, frame
from fedmed.report.markup import Markup, tag


@dataclass(frozen=True)
class Layer:
    """One part of the columns: its values by round, and its total in words."""

    name: str
    style: str
    values: Sequence[float]
    total: str


def columns(label: str, rounds: Sequence[int], layers: Sequence[Layer]) -> Markup:
    """Stacked columns, one a round; one path a layer, so that 300 rounds stay small."""
    low, high = min(rounds), max(rounds)
    x = Axis("round", low - 0.5, high + 0.5, LEFT, WIDTH - 10, whole=True)
    sums = [sum(layer.values[number] for layer in layers) for number in range(len(rounds))]
    y = Axis("", 0.0, max(sums) * 1.05 or 1.0, BOTTOM, TOP)
    pitch = (x.end - x.start) / (high - low + 1)
    width = min(28.0, pitch * 0.72 if pitch > 3 else pitch)
    base = [0.0] * len(rounds)
    drawn = []
    for layer in layers:
        steps = []
        for number, value in enumerate(layer.values):
            left, bottom = x.place(rounds[number]) - width / 2, y.place(base[number])
            base[number] += value
            if value:
                steps.append(f"M{left:.1f} {bottom:.1f}V{y.place(base[number]):.1f}h{width:.1f}V{bottom:.1f}Z")
        drawn.append(tag("path", tag("title", layer.name), d="".join(steps), class_=f"fill {layer.style}"))
    return chart(label, frame(x, y), *drawn)


def totals(label: str, layers: Sequence[Layer]) -> Markup:
    """One bar a layer by its share of the whole, with name and total in words; the key of `columns`, too."""
    amounts = [sum(layer.values) for layer in layers]
    whole = sum(amounts) or 1.0
    rows = [_total(layer, amount / whole) for layer, amount in zip(layers, amounts, strict=True)]
    return tag("ul", *rows, class_="totals", aria_label=label)


def _total(layer: Layer, share: float) -> Markup:
    bar = tag(
        "svg",
        tag("rect", width="100%", height="100%", rx=3, class_="track"),
        tag("rect", width=f"{share:.2%}", height="100%", rx=3, class_=f"fill {layer.style}"),
        aria_hidden="true",
    )
    return tag("li", tag("span", layer.name), tag("b", f"{layer.total} · {share:.0%}"), bar)
