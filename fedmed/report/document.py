"""One file that is a whole page: style within, no script, nothing fetched."""

from __future__ import annotations

import base64
import hashlib
import string
from importlib import resources
from pathlib import Path

from fedmed.errors import StoreError
from fedmed.report.markup import Markup, escaped


def document(title: str, body: Markup, *styles: str, pictures: bool = False) -> str:
    """The page as text; `styles` are files of this room, `pictures` allows images that lie within the page."""
    style = "".join(map(_template, styles))
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    images = " img-src data:;" if pictures else ""
    values = {
        # Nothing may be loaded, run or sent, even if a name from a site slipped through the escaping.
        "policy": f"default-src 'none'; style-src 'sha256-{digest}';{images} base-uri 'none'; form-action 'none'",
        "style": style,
        "title": escaped(title),
        "body": body,
    }
    return string.Template(_template("page.html")).substitute(values)


def write(path: Path, page: str) -> None:
    """Write the page beside its place and rename it. Raises StoreError where it cannot be written."""
    part = path.with_name(f"{path.name}.part")
    try:
        part.write_text(page, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error.strerror}; free the disk or choose another folder") from error


def _template(name: str) -> str:
    return resources.files("fedmed.report").joinpath(name).read_text(encoding="utf-8")
