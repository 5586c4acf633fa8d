"""A plain table of words and numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fedmed.report.markup import Markup, join, tag


def plain(head: Sequence[str], rows: Iterable[Sequence[str]], style: str = "") -> Markup:
    """Rows under a head, each named by its first cell; with the style `words` it stands to the left."""
    first = tag("thead", tag("tr", join(*(tag("th", each) for each in head))))
    body = tag("tbody", join(*(tag("tr", *_cells(row)) for row in rows)))
    return tag("table", first, body, **({"class_": style} if style else {}))


def _cells(row: Sequence[str]) -> list[Markup]:
    return [tag("th", row[0], scope="row"), *(tag("td", each) for each in row[1:])]
