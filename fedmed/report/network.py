"""What the clinics' lines carried over virtual time."""

from __future__ import annotations

from collections.abc import Sequence

from fedmed.report import formats
from fedmed.report.axes import BOTTOM, LEFT, TOP, WIDTH, Axis, chart, figure, frame
from fedmed.report.bars import Layer, totals
from fedmed.report.markup import Markup, join, tag
from fedmed.report.timed import Network

WAYS = (("to the clinics", "p1", "down"), ("from the clinics", "mix", "up"))


def picture(found: Network | None) -> Markup:
    """Mean rate in each span of time, all clinics together; nothing where nothing went."""
    if found is None or not sum(found.down) + sum(found.up):
        return Markup("")
    count = max(len(found.down), len(found.up))
    time, scale = formats.scaled(formats.TIMES, count * found.step_s)
    rate, bits = formats.scaled(
        formats.RATES, max(max(found.down, default=0.0), max(found.up, default=0.0)) * 8 / found.step_s
    )
    layers = [
        Layer(name, style, getattr(found, way), formats.data_size(sum(getattr(found, way)))) for name, style, way in WAYS
    ]
    drawn = [[each * 8 / found.step_s / bits for each in layer.values] for layer in layers]
    x = Axis(time, 0.0, count * found.step_s / scale, LEFT, WIDTH - 12)
    y = Axis("", 0.0, max(max(values, default=0.0) for values in drawn) * 1.05, BOTTOM, TOP)
    steps = [_steps(values, layer, x, y, found.step_s / scale) for layer, values in zip(layers, drawn, strict=True)]
    note = f"{rate}, mean of spans of {formats.duration(found.step_s)}"
    label = f"Rate on the clinics' lines in {rate} over {time}"
    return figure("On the clinics' lines", note, chart(label, frame(x, y), *steps), totals("Bytes", layers))


def _steps(values: Sequence[float], layer: Layer, x: Axis, y: Axis, step: float) -> Markup:
    if not any(values):
        return Markup("")
    marks = [f"V{y.place(value):.1f}H{x.place((number + 1) * step):.1f}" for number, value in enumerate(values)]
    outline = f"M{x.place(0.0):.1f} {y.start:.1f}{''.join(marks)}V{y.start:.1f}"
    hint = tag("title", layer.name)
    return join(
        tag("path", hint, d=f"{outline}Z", class_=f"area {layer.style}"),
        tag("path", d=outline, class_=f"line {layer.style}"),
    )
