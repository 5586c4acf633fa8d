"""How did training go? Losses and the leading measure over the rounds, all sites together and, where told, one by one."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from fedmed.report import formats
from fedmed.report.axes import figure
from fedmed.report.formats import VISIBLE
from fedmed.report.lines import Line, Spread, over_rounds, over_time
from fedmed.report.markup import Markup, tag
from fedmed.report.measures import LEADING, headline
from fedmed.report.record import Report, Round, Score, SiteScore

_Value = Callable[["Score | SiteScore"], "float | None"]

LABELLED = 6
DRAWN = 20


def section(report: Report) -> Markup:
    """Three charts, and one for each number of the researcher's own; those without a single value are left out."""
    leading = headline(report)[0]
    followed = f"Validation {LEADING[leading]}"

    def scored(score: Score | SiteScore) -> float | None:
        return {"auc": score.auc, "dice": score.dice}[leading]

    charts = [
        _chart(report, "Training loss", "lower is better", lambda r: r.train, lambda s: s.loss),
        _chart(report, "Validation loss", "lower is better", lambda r: r.validation, lambda s: s.loss),
        _chart(report, followed, "higher is better", lambda r: r.validation, scored, unit_range=True),
        _in_time(report, followed, scored),
        *(_chart(report, name, "training, mean by cases", lambda r: r.train, _own(name)) for name in report.own_metrics()),
    ]
    drawn = [chart for chart in charts if chart]
    if not drawn:
        return Markup("")
    return tag("section", tag("h2", "How did training go?"), tag("div", *drawn, class_="charts"))


def _in_time(report: Report, title: str, value: _Value) -> Markup:
    """The same measure at the moments at which its rounds were over; where time is virtual, for there it says something."""
    ends = list(itertools.accumulate(each.seconds or 0.0 for each in report.rounds))
    points = [(end, value(each.validation)) for end, each in zip(ends, report.rounds, strict=True) if each.validation]
    if report.virtual is None or all(y is None for _, y in points):
        return Markup("")
    unit, scale = formats.scaled(formats.TIMES, max(at for at, _ in points))
    line = Line([(at / scale, y) for at, y in points], "fed strong", hint=title, sizes=[2.5] * len(points))
    note = f"all sites together, at the end of its round, in virtual {unit}"
    return figure(f"{title} in time", note, over_time(f"{title} over virtual {unit}", f"virtual {unit}", [line]))


def _own(name: str) -> _Value:
    return lambda score: score.own(name)


def _chart(
    report: Report,
    title: str,
    note: str,
    part: Callable[[Round], Score | None],
    value: _Value,
    *,
    unit_range: bool = False,
) -> Markup:
    scores = [(each.round, score) for each in report.rounds if (score := part(each)) is not None]
    whole = [(float(number), value(score)) for number, score in scores]
    sites = _site_lines(report, scores, value)
    if all(y is None for line in (whole, *(line.points for line in sites)) for _, y in line):
        return Markup("")
    many = len(sites) > DRAWN
    band = _band(sites) if many else _error_band(scores) if unit_range else []
    lines = [] if many else sites
    label = "all sites" if sites else ""
    all_sites = Line(whole, "fed strong", label, f"{title}, all sites together")
    legend = "; band: the middle 80 % of sites" if many else "; thin: each site" if sites else _from_sums(report, band)
    drawing = over_rounds(f"{title} by round", [*lines, all_sites], band, unit_range=unit_range)
    return figure(title, note + legend, drawing)


def _from_sums(report: Report, band: Sequence[Spread]) -> str:
    seen = "; from sums" if report.privacy and report.privacy.is_masked else ""
    return f"{seen}; band: error bound" if band else seen


def _error_band(scores: Sequence[tuple[int, Score]]) -> list[Spread]:
    """Where the measure may lie that was read from histograms, if any of it can be seen."""
    if all((score.auc_error or 0.0) < VISIBLE for _, score in scores):
        return []
    known = [(number, score.auc, score.auc_error or 0.0) for number, score in scores if score.auc is not None]
    return [(float(at), max(0.0, y - off), min(1.0, y + off)) for at, y, off in known]


def _site_lines(report: Report, scores: Sequence[tuple[int, Score]], value: _Value) -> list[Line]:
    lines = []
    for site in report.site_names():
        points = [(float(number), value(score.sites.get(site, SiteScore()))) for number, score in scores]
        if any(y is not None for _, y in points):
            lines.append(Line(points, "thin", site, site))
    if len(lines) > LABELLED:
        return [Line(line.points, line.style, "", line.hint) for line in lines]
    return lines


def _band(lines: Sequence[Line]) -> list[Spread]:
    """10th and 90th percentile over the sites, round by round."""
    band = []
    for at in range(len(lines[0].points)):
        values = sorted(y for line in lines if (y := line.points[at][1]) is not None)
        if values:
            cut = len(values) // 10
            band.append((lines[0].points[at][0], values[cut], values[-1 - cut]))
    return band
