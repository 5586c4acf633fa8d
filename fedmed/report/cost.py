"""What did it cost? Seconds by phase and bytes by direction, in all and round by round."""

from __future__ import annotations

from fedmed.report import formats
from fedmed.report.axes import figure
from fedmed.report.bars import Layer, columns, totals
from fedmed.report.markup import Markup, join, tag
from fedmed.report.record import Report

_STYLES = ("fed", "local", "pooled", "mix", "other")


def section(report: Report) -> Markup:
    """Time and data, the totals being the key of the columns beside them."""
    if not report.rounds:
        return Markup("")
    parts = join(_time(report), _data(report))
    return tag("section", tag("h2", "What did it cost?"), tag("div", parts, class_="charts pairs"))


def _time(report: Report) -> Markup:
    names = list(dict.fromkeys(phase for each in report.rounds for phase in each.phases))
    values = {phase: [each.phases.get(phase) or 0.0 for each in report.rounds] for phase in names}
    rest = [max(0.0, (each.seconds or 0.0) - sum(t or 0.0 for t in each.phases.values())) for each in report.rounds]
    if sum(rest) > 0.01 * sum(map(sum, values.values())):
        values["rest"] = rest
    layers = [
        Layer(phase, _STYLES[min(number, 4)], spent, formats.duration(sum(spent)))
        for number, (phase, spent) in enumerate(values.items())
    ]
    if not layers:
        return Markup("")
    outside = [
        f"{phase} {formats.duration(spent)}"
        for phase, spent in report.seconds.phases.items()
        if spent and phase not in names
    ]
    note = tag("p", f"Beside the rounds: {', '.join(outside)}.", class_="note") if outside else Markup("")
    drawing = columns("Seconds per round by phase", _numbers(report), layers)
    return figure("Time", "seconds a round, by phase", drawing, join(totals("Seconds by phase", layers), note))


def _data(report: Report) -> Markup:
    sums = [each.bytes.down + each.bytes.up for each in report.rounds]
    unit, scale = next(((u, s) for u, s in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)) if max(sums) >= s), ("bytes", 1.0))
    ways = (("to the sites", "fed", "down"), ("back", "local", "up"))
    layers = []
    for text, style, way in ways:
        moved = [getattr(each.bytes, way) for each in report.rounds]
        layers.append(Layer(text, style, [size / scale for size in moved], formats.data_size(sum(moved))))
    drawing = columns("Bytes per round by direction", _numbers(report), layers)
    return figure("Data moved", f"{unit} a round, by direction", drawing, totals("Bytes by direction", layers))


def _numbers(report: Report) -> list[int]:
    return [each.round for each in report.rounds]
