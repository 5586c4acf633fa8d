"""What did it cost? Seconds by phase and bytes by direction, in all and round by round."""

from __future__ import annotations

from fedmed.report import formats, virtual
from fedmed.report.axes import figure
from fedmed.report.bars import Layer, columns, totals
from fedmed.report.markup import Markup, join, tag
from fedmed.report.record import Report

_ORDER = ("train", "aggregate", "validate", "commit")
_STYLES = ("p1", "p2", "p3", "p4", "p5")


def section(report: Report) -> Markup:
    """Time and data, the totals being the key of the columns beside them."""
    if not report.rounds:
        return Markup("")
    parts = join(_time(report), _data(report), _run(report))
    return tag("section", tag("h2", "What did it cost?"), tag("div", parts, class_="charts"))


def _time(report: Report) -> Markup:
    there = dict.fromkeys(phase for each in report.rounds for phase in each.phases)
    names = [phase for phase in _ORDER if phase in there] + [phase for phase in there if phase not in _ORDER]
    values = {phase: [each.phases.get(phase) or 0.0 for each in report.rounds] for phase in names}
    rest = [max(0.0, (each.seconds or 0.0) - sum(t or 0.0 for t in each.phases.values())) for each in report.rounds]
    if sum(rest) > 0.01 * sum(map(sum, values.values())):
        values["rest"] = rest
    layers = [
        Layer(phase, _STYLES[min(number, len(_STYLES) - 1)], spent, formats.duration(sum(spent)))
        for number, (phase, spent) in enumerate(values.items())
    ]
    if not layers:
        return Markup("")
    unit = virtual.unit(report)
    drawing = columns(f"{unit.capitalize()} per round by phase", _numbers(report), layers)
    return figure("Time of a round", f"{unit}, by phase", drawing, totals(f"{unit.capitalize()} by phase", layers))


def _run(report: Report) -> Markup:
    """The whole run by its own phases, the rounds being one of them."""
    spent = {phase: seconds for phase, seconds in report.seconds.phases.items() if seconds}
    rest = (report.seconds.total or 0.0) - sum(spent.values())
    if rest > 0.01 * sum(spent.values()):
        spent["rest"] = rest
    layers = [Layer(part, "p2", [seconds], formats.duration(seconds)) for part, seconds in spent.items()]
    total = formats.duration(report.seconds.total)
    clock = "" if report.virtual is None else ", in this machine's own time"
    return figure("The whole run", f"{total} from start to end{clock}", totals("Seconds of the run", layers))


def _data(report: Report) -> Markup:
    sums = [each.bytes.down + each.bytes.up for each in report.rounds]
    unit, scale = next(((u, s) for u, s in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)) if max(sums) >= s), ("bytes", 1.0))
    ways = (("to the sites", "p1", "down"), ("back", "p3", "up"))
    layers = []
    for text, style, way in ways:
        moved = [getattr(each.bytes, way) for each in report.rounds]
        layers.append(Layer(text, style, [size / scale for size in moved], formats.data_size(sum(moved))))
    drawing = columns("Bytes per round by direction", _numbers(report), layers)
    return figure("Data moved in a round", f"{unit}, by direction", drawing, totals("Bytes by direction", layers))


def _numbers(report: Report) -> list[int]:
    return [each.round for each in report.rounds]
