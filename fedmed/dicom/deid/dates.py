"""Dates and times as DICOM writes them (PS3.5 6.2), moved by whole days or refused."""

from __future__ import annotations

import re
from datetime import date, timedelta

_DATE = re.compile(r"(\d{4})\.?(\d{2})\.?(\d{2})", re.ASCII)  # with dots: ACR-NEMA, still to be read
_TIME = re.compile(r"([01]\d|2[0-3])(:?[0-5]\d(:?([0-5]\d|60)(\.\d{1,6})?)?)?", re.ASCII)
_DATETIME = re.compile(
    r"(\d{8})((?:[01]\d|2[0-3])(?:[0-5]\d(?:(?:[0-5]\d|60)(?:\.\d{1,6})?)?)?)?([+-](?:0\d|1[0-4])[0-5]\d)?", re.ASCII
)
_OFFSET = re.compile(r"[+-](0\d|1[0-4])[0-5]\d", re.ASCII)


def shifted_date(text: str, days: int) -> str | None:
    """A DA value `days` later; None where it is no date, or no day of the calendar any more."""
    matched = _DATE.fullmatch(text.strip(" \0"))
    if not matched:
        return None
    try:
        moved = date(*(int(part) for part in matched.groups())) + timedelta(days=days)
    except (ValueError, OverflowError):
        return None
    return f"{moved.year:04d}{moved.month:02d}{moved.day:02d}"


def shifted_datetime(text: str, days: int) -> str | None:
    """A DT value `days` later, its time and offset from UTC as they were; None where it names no whole day."""
    matched = _DATETIME.fullmatch(text.strip(" \0"))
    moved = shifted_date(matched[1], days) if matched else None
    return None if matched is None or moved is None else moved + (matched[2] or "") + (matched[3] or "")


def valid_time(text: str) -> str | None:
    """A TM value as it is; None where it is no time. Times stay: the option modifies dates (PS3.15 E.3.6)."""
    stripped = text.strip(" \0")
    return stripped if _TIME.fullmatch(stripped) else None


def shifted(vr: str, text: str, days: int) -> str | None:
    """A value, or several between backslashes, of the representation DA, DT or TM; None where one of them is refused."""
    found = [value if not value.strip(" \0") else _shifted_one(vr, value, days) for value in text.split("\\")]
    return None if any(value is None for value in found) else "\\".join(str(value) for value in found)


def _shifted_one(vr: str, text: str, days: int) -> str | None:
    if vr == "TM":
        return valid_time(text)
    return shifted_date(text, days) if vr == "DA" else shifted_datetime(text, days)


def valid_offset(text: str) -> bool:
    """An offset from UTC: `+0100`."""
    return bool(_OFFSET.fullmatch(text.strip(" \0")))
