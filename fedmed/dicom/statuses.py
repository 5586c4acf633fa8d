"""What a storage server's answer to C-STORE means for the one who sent (PS3.4 table B.2-1, PS3.7 annex C)."""

from __future__ import annotations

from enum import Enum


class Outcome(str, Enum):
    """What becomes of an object that was sent."""

    STORED = "stored"
    CHANGED = "stored-changed"
    """Stored, with attributes that the server coerced or left out."""
    LATER = "later"
    """Not stored, for a reason that may pass: it is sent again."""
    NEVER = "never"
    """Refused as it is: sent again it would be refused again, so a person must look."""


WARNINGS = {
    0xB000: "it changed some attributes (coercion of data elements)",
    0xB006: "it left some attributes out (elements discarded)",
    0xB007: "it says that the data set does not match its SOP class, and stored it",
}
DUPLICATE = 0x0111
"""The UIDs of results are derived from their sources, so that what is there already is the same result."""
GENERAL = {
    0x0110: "processing failure",
    0x0117: "invalid SOP instance",
    0x0122: "SOP class not supported",
    0x0124: "not authorized",
    0x0210: "duplicate invocation",
    0x0211: "unrecognized operation",
    0x0212: "mistyped argument",
}


def meaning(status: int) -> tuple[Outcome, str]:
    """The outcome, and what to tell a person; a status that the standard does not know is a refusal."""
    if status == 0x0000:
        return Outcome.STORED, ""
    if status == DUPLICATE:
        return Outcome.STORED, "it has this object already"
    if status in WARNINGS or status == 0x0001 or 0xB000 <= status <= 0xBFFF:
        return Outcome.CHANGED, WARNINGS.get(status, f"it stored it with warning {status:04X}")
    if 0xA700 <= status <= 0xA7FF:
        return Outcome.LATER, f"it is out of resources ({status:04X})"
    if 0xA900 <= status <= 0xA9FF:
        return Outcome.NEVER, f"it says that the data set does not match its SOP class ({status:04X})"
    if 0xC000 <= status <= 0xCFFF:
        return Outcome.NEVER, f"it cannot understand the data set ({status:04X})"
    return Outcome.NEVER, f"it refused: {GENERAL.get(status, 'a status that PS3.4 does not know')} ({status:04X})"
