"""From the table's action codes to one action: which option speaks, and what a compound code means here."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from fedmed.dicom.deid.table import Row

DATES, TEXTS = frozenset({"DA", "DT", "TM"}), frozenset({"LO", "SH", "LT", "ST", "UT", "UC", "CS"})


class Action(Enum):
    """What happens to an attribute; the letters are those of PS3.15 Table E.1-1a."""

    REMOVE = "X"
    EMPTY = "Z"
    DUMMY = "D"
    UID = "U"
    KEEP = "K"
    SHIFT = "C, dates"
    CLEAN = "C, text"
    DESCEND = "C, sequence"


@dataclass(frozen=True)
class Policy:
    """Which options are applied beside the Basic Profile (PS3.15 E.3)."""

    modified_dates: bool = True
    """113107: dates shifted by whole days, one shift per patient."""
    device: bool = True
    """113109: which machine made the image stays."""
    descriptors: bool = True
    """113105: descriptions stay after what identifies somebody was taken out."""
    structured_content: bool = False
    """113104: the content of structured reports stays, its texts cleaned; else it is replaced by a dummy."""


POLICY = Policy()

CONTENT_SEQUENCE = 0x0040A730
# PS3.15 Table E.1-1: the rows of the Clean Structured Content option.
STRUCTURED = frozenset({CONTENT_SEQUENCE, 0x00400555, 0x00400610})

# The action that leaves the object valid whatever the type of the attribute is in its IOD (PS3.3): a zero-length value
# where a compound code allows one and no dummy (types 2 and 3), else a dummy (types 1, 2 and 3).
_COMPOUND = {
    "X": Action.REMOVE,
    "Z": Action.EMPTY,
    "D": Action.DUMMY,
    "U": Action.UID,
    "K": Action.KEEP,
    "X/Z": Action.EMPTY,
    "Z/D": Action.DUMMY,
    "X/D": Action.DUMMY,
    "X/Z/D": Action.DUMMY,
    "X/Z/U*": Action.DESCEND,
}


def basic_action(row: Row, vr: str) -> Action:
    """What the Basic Profile alone does with an attribute of that value representation."""
    action = _COMPOUND[row.basic]
    if vr == "SQ" and action is Action.DUMMY and "/" in row.basic:
        # No dummy item is valid for every sequence; the code allows to do without one.
        return Action.EMPTY if "Z" in row.basic else Action.REMOVE
    return action


def action_of(row: Row, vr: str, policy: Policy) -> Action:
    """What happens to an attribute of the table, options included.

    Where two options speak, dates are shifted rather than kept: both allow it, and a date kept beside shifted ones would
    tell the shift. What an option wants cleaned and nobody can clean (titles of application entities, binary
    time stamps) falls back to the Basic Profile.
    """
    if policy.modified_dates and row.dates == "C" and vr in DATES:
        return Action.SHIFT
    if policy.modified_dates and row.dates == "C" and row.keyword == "TimezoneOffsetFromUTC":
        return Action.KEEP
    if policy.structured_content and row.tag != "private" and "x" not in row.tag and int(row.tag, 16) in STRUCTURED:
        return Action.DESCEND
    for asked, code in ((policy.device, row.device), (policy.descriptors, row.descriptors)):
        if asked and code and not (row.dates and vr in DATES):
            if vr == "SQ":
                return Action.DESCEND
            if code == "K":
                return Action.KEEP
            if vr in TEXTS:
                return Action.CLEAN
    return basic_action(row, vr)
