"""How good is the shared model? ROC, calibration, and the measures on the test cases of all sites together."""

from __future__ import annotations

import math
import statistics

from fedmed.report import formats
from fedmed.report.axes import figure
from fedmed.report.lines import Line, unit_square
from fedmed.report.markup import Markup, tag
from fedmed.report.measures import MODELS, cell, measures, name
from fedmed.report.record import Curve, Metric, Metrics, Report

INTERVALS = (
    "Each figure is the mean over the test cases (and over their classes but the background); a class that is neither in "
    "the truth nor drawn is left out. 95 % intervals: Student's t with the patient as the unit; none for a single patient."
)


def section(report: Report) -> Markup:
    """ROC and calibration where there are curves, and the table."""
    curves = {model: curve for model, curve in (report.curves or {}).items() if curve is not None}
    drawn = [part for part in (_roc(curves), _calibration(curves)) if part]
    table = _table(report)
    if not drawn and not table:
        return Markup("")
    curved = report.kind == "classification"
    notes = ["ROC and calibration are drawn for tasks of two classes."] if curved and not drawn else []
    notes += [] if curved else [INTERVALS]
    notes += [f"Evaluated by {report.evaluated_by}."] if report.evaluated_by else []
    remarks = [tag("p", note, class_="note") for note in notes]
    return tag("section", tag("h2", "How good is the shared model?"), tag("div", *drawn, table, class_="charts"), *remarks)


def _named(model: str) -> tuple[str, str]:
    return MODELS.get(model, (model, "other"))


def _roc(curves: dict[str, Curve]) -> Markup:
    found = {model: curve.roc for model, curve in curves.items() if curve.roc}
    if not found:
        return Markup("")
    lines = [Line(points, f"{_named(model)[1]} strong", hint=_named(model)[0]) for model, points in found.items()]
    key = [(_named(model)[1], _named(model)[0]) for model in found]
    drawing = unit_square("ROC curves", list(reversed(lines)), "1 − specificity", key)
    return figure("ROC curve", "sensitivity upwards; the dashed diagonal is chance", drawing)


def _calibration(curves: dict[str, Curve]) -> Markup:
    found = {model: curve.calibration for model, curve in curves.items() if curve.calibration}
    if not found:
        return Markup("")
    largest = max(cases for points in found.values() for _, _, cases in points) or 1.0
    lines = []
    for model, points in found.items():
        sizes = [2.0 + 5.0 * math.sqrt(cases / largest) for _, _, cases in points]
        shown, style = _named(model)
        lines.append(Line([(at, share) for at, share, _ in points], style, hint=shown, sizes=sizes))
    key = [(_named(model)[1], _named(model)[0]) for model in found]
    drawing = unit_square("Calibration", list(reversed(lines)), "mean predicted probability", key)
    return figure("Calibration", "observed share upwards; larger dots hold more cases; ideal on the diagonal", drawing)


def _table(report: Report) -> Markup:
    """Measures on the pooled test cases: shared model, pooled model, and the middle one of the sites' own."""
    baselines = report.baselines
    columns: dict[str, Metrics] = {"federated": report.overall.metrics}
    if baselines and baselines.pooled:
        columns["pooled"] = baselines.pooled
    own = list((baselines.local or {}).values()) if baselines else []
    shown = measures([*columns.values(), *own])
    if not shown:
        return Markup("")
    if own:
        columns["local"] = {measure: _middle(own, measure) for measure in shown}
    heads = [tag("th", tag("span", _named(m)[0], class_=f"model {_named(m)[1]}"), scope="col") for m in columns]
    rows = [
        tag(
            "tr",
            tag("th", name(report, measure), scope="row"),
            *(cell(m.get(measure, Metric())) for m in columns.values()),
        )
        for measure in shown
    ]
    table = tag("table", tag("thead", tag("tr", tag("td"), *heads)), tag("tbody", *rows))
    cases = report.overall.test_examples
    note = f"{cases:,} cases of all sites together" if cases else "cases of all sites together"
    note += f"; own data only: median of {formats.count(len(own), 'model')}" if own else ""
    caption = tag("figcaption", tag("strong", "Test measures"), " ", tag("span", note))
    return tag("figure", caption, tag("div", table, class_="scroll", tabindex=0))


def _middle(found: list[Metrics], measure: str) -> Metric:
    values = [m[measure].value for m in found if measure in m]
    known = [value for value in values if value is not None]
    return Metric(value=statistics.median(known) if known else None)
