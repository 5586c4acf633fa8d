"""Puts the report together: one file, no script, nothing fetched."""

from __future__ import annotations

from pathlib import Path

from fedmed.report import (
    aside,
    attacked,
    cost,
    dishonest,
    gains,
    gantt,
    pictures,
    presence,
    protection,
    quality,
    setup,
    tiers,
    training,
    verdict,
)
from fedmed.report.document import document, write
from fedmed.report.markup import Markup, join
from fedmed.report.record import Report, read_report


def write_report(folder: Path) -> Path:
    """Read `folder/report.json` and write `folder/report.html`; returns its path.

    The page is self-contained and makes no request. Raises StoreError where the record is missing or no report, or the
    page cannot be written.
    """
    path = folder / "report.html"
    write(path, render(read_report(folder / "report.json")))
    return path


def render(report: Report) -> str:
    """The page as text."""
    return document(verdict.title(report), _body(report), "page.css", pictures=bool(report.pictures))


def _body(report: Report) -> Markup:
    sections = (
        protection,
        verdict,
        attacked,
        dishonest,
        gains,
        pictures,
        training,
        presence,
        aside,
        quality,
        cost,
        tiers,
        gantt,
        setup,
    )
    return join(*(part.section(report) for part in sections))
