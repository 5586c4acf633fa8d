"""Puts the report together: one file, no script, nothing fetched."""

from __future__ import annotations

import base64
import hashlib
import string
from importlib import resources
from pathlib import Path

from fedmed.errors import StoreError
from fedmed.report import aside, cost, gains, pictures, presence, quality, setup, training, verdict
from fedmed.report.markup import Markup, escaped, join
from fedmed.report.record import Report, read_report


def write_report(folder: Path) -> Path:
    """Read `folder/report.json` and write `folder/report.html`; returns its path.

    The page is self-contained and makes no request. Raises StoreError where the record is missing or no report, or the
    page cannot be written.
    """
    page = render(read_report(folder / "report.json"))
    path, part = folder / "report.html", folder / "report.html.part"
    try:
        part.write_text(page, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error.strerror}; free the disk or choose another folder") from error
    return path


def render(report: Report) -> str:
    """The page as text."""
    style = _template("page.css")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    images = " img-src data:;" if report.pictures else ""
    values = {
        # Nothing may be loaded, run or sent, even if a name from a site slipped through the escaping.
        "policy": f"default-src 'none'; style-src 'sha256-{digest}';{images} base-uri 'none'; form-action 'none'",
        "style": style,
        "title": escaped(verdict.title(report)),
        "body": _body(report),
    }
    return string.Template(_template("page.html")).substitute(values)


def _body(report: Report) -> Markup:
    sections = (verdict, gains, pictures, training, presence, aside, quality, cost, setup)
    return join(*(part.section(report) for part in sections))


def _template(name: str) -> str:
    return resources.files("fedmed.report").joinpath(name).read_text(encoding="utf-8")
