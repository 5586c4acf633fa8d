"""Names of measures and models, the order they stand in, and the cells that show them."""

from __future__ import annotations

from collections.abc import Iterable

from fedmed.report import formats
from fedmed.report.markup import Markup, tag
from fedmed.report.record import Metric, Metrics, Report, SiteResult

NAMES = {
    "dice": "Dice",
    "iou": "IoU",
    "auc": "AUC",
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "precision": "Precision",
}
KINDS = {"classification": ("auc", "accuracy"), "segmentation": ("dice", "iou")}
"""Kind of task -> the two measures to remember of it; validation follows the first."""
_MEANS = ("dice", "iou", "auc", "sensitivity", "specificity", "precision")
_PROPER = ("dice", "iou", "auc")
LEADING = {measures[0]: NAMES[measures[0]] for measures in KINDS.values()}
"""Measures that validation follows, by their key -> name on screen and page."""
MEANINGS = {
    "federated": "the shared model that all sites trained",
    "personal": "the site's own model that the shared one pulls at (Ditto)",
    "mixture": "the site's own mix of the shared model and its own",
    "local": "a model trained on that site's cases alone",
    "pooled": "one model trained on all cases in one place, which a federation is there to avoid",
}
MODELS = {
    "federated": ("Federation", "fed"),
    "personal": ("Personal", "other"),
    "mixture": ("Mixture", "mix"),
    "local": ("Own data only", "local"),
    "pooled": ("Pooled data", "pooled"),
}
"""Key of the record -> name on the page and style."""


def name(report: Report, measure: str) -> str:
    """Name of a measure; with more than two classes it is the mean over the classes."""
    shown = NAMES.get(measure, measure.replace("_", " ").capitalize())
    several = max((len(site.classes) for site in report.sites.values()), default=2) > 2
    return f"{shown} (macro)" if several and measure in _MEANS else shown


def headline(report: Report) -> tuple[str, ...]:
    """The measures to remember of this kind of task."""
    return KINDS.get(report.kind, KINDS["classification"])


def in_text(measure: str) -> str:
    """Name of a measure within a sentence."""
    return NAMES[measure] if measure in _PROPER else NAMES[measure].lower()


def measures(found: Iterable[Metrics | None]) -> list[str]:
    """Every measure there is, the known ones first."""
    there = dict.fromkeys(measure for metrics in found for measure in metrics or {})
    return [measure for measure in NAMES if measure in there] + [measure for measure in there if measure not in NAMES]


def models_of(site: SiteResult) -> dict[str, Metrics]:
    """Metrics of each model that was measured at the site."""
    found = {model: getattr(site, model) for model in MODELS}
    return {model: metrics for model, metrics in found.items() if metrics is not None}


def cell(metric: Metric, why: str = "") -> Markup:
    """Value over interval; a dash that says why where it is undefined."""
    if metric.value is None:
        return tag("td", formats.DASH, class_="none", title=metric.why or why or "undefined")
    between = formats.interval(metric.low, metric.high)
    return tag("td", formats.score(metric.value), tag("small", between) if between else None)


def undefined(site: SiteResult) -> str:
    """Why a measure has no value at the site."""
    tests = site.examples.get("test")
    if tests == 0:
        return "the site has no test cases"
    held = [label for label, number in site.classes.items() if number]
    if len(held) == 1 and len(site.classes) > 1:
        return f"all cases are of one class ({held[0]})"
    return "undefined on these test cases, for instance because a class is absent"
