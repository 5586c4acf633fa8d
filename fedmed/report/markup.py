"""HTML and SVG elements built from values; every text is escaped here, so that none can be forgotten elsewhere."""

from __future__ import annotations

import html

Value = str | float | int | None


class Markup(str):
    """Text that already is markup."""

    __slots__ = ()


def tag(name: str, *children: Value, **attributes: Value) -> Markup:
    """One element. `class_` is `class`, `stroke_width` is `stroke-width`; None leaves a child or an attribute out."""
    written = "".join(f' {_name(key)}="{escaped(value)}"' for key, value in attributes.items() if value is not None)
    return Markup(f"<{name}{written}>{join(*children)}</{name}>")


def join(*children: Value) -> Markup:
    """Children one after the other, text escaped."""
    return Markup("".join(escaped(child) for child in children if child is not None))


def escaped(value: Value) -> str:
    """Markup as it is, numbers short (pixels need no third decimal), text escaped."""
    if isinstance(value, Markup):
        return value
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return html.escape(str(value))


def _name(key: str) -> str:
    return key.rstrip("_").replace("_", "-")
