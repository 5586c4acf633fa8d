"""The attributes of PS3.15 Table E.1-1 and what the Basic Profile and our four options say of each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

FILE = "profile_2026c.csv"
EDITION = "2026c"


@dataclass(frozen=True)
class Row:
    """One row; an option's column is empty where the option says nothing of the attribute."""

    tag: str
    """`ggggeeee` in lower-case hexadecimal, with `x` for any digit; `private` for every odd group."""
    keyword: str
    basic: str
    """Action code of the Basic Profile: D, Z, X, K, C, U or a compound such as X/Z/D."""
    dates: str
    """Of Retain Longitudinal Temporal Information with Modified Dates (113107)."""
    device: str
    """Of Retain Device Identity (113109)."""
    descriptors: str
    """Of Clean Descriptors (113105)."""


@cache
def rows() -> tuple[Row, ...]:
    """Every row, in the order of tags."""
    lines = files(__package__).joinpath(FILE).read_text(encoding="utf-8").splitlines()
    data = [line.split(",") for line in lines if line and not line.startswith("#")]
    return tuple(Row(*fields) for fields in data[1:])


@cache
def _single() -> dict[int, Row]:
    return {int(row.tag, 16): row for row in rows() if "x" not in row.tag and row.tag != "private"}


@cache
def _repeating() -> dict[tuple[int, int | None], Row]:
    """By group's first byte and element (None: any)."""
    found = [row for row in rows() if "x" in row.tag]
    return {(int(row.tag[:2], 16), None if "x" in row.tag[4:] else int(row.tag[4:], 16)): row for row in found}


@cache
def _private() -> Row:
    return next(row for row in rows() if row.tag == "private")


def row_of(tag: int) -> Row | None:
    """The row that governs the attribute `tag` (group x 65536 + element), or None where the table does not name it."""
    group, element = tag >> 16, tag & 0xFFFF
    if group & 1:
        return _private()
    if row := _single().get(tag):
        return row
    repeating = _repeating()
    return repeating.get((group >> 8, element)) or repeating.get((group >> 8, None))
