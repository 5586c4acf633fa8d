"""Puts the report together: one file, no script, nothing fetched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fedmed.errors import StoreError
from fedmed.report import (
    aside,
    attacked,
    cost,
    dishonest,
    gains,
    gantt,
    modelled,
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
    path, record = folder / "report.html", folder / "report.json"
    told = modelled.read(record)
    write(path, render(read_report(record)) if told is None else _modelled(told, record))
    return path


def _modelled(told: dict[str, Any], record: Path) -> str:
    try:
        return modelled.page(told)
    except (AttributeError, KeyError, TypeError, ValueError) as error:  # of a record that was damaged
        fault = f"{type(error).__name__}: {error}".splitlines()[0]
        raise StoreError(f"{record}: is no report of fedmed ({fault}); run the scenario anew in another folder") from error


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
