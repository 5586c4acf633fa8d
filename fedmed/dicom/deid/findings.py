"""What de-identification did to one object."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Findings:
    """Counts for one object; nothing in it identifies anybody."""

    done: Counter[str] = field(default_factory=Counter)
    """By what happened to them: removed, emptied, replaced, uid, shifted, cleaned, kept, private, unknown, malformed."""
    lost: Counter[str] = field(default_factory=Counter)
    """Keywords of attributes that the profile keeps and that went, because they were malformed or named somebody."""
    pixels: str = "none"
    """`none`, `untouched` or `regions`: all but the regions that the object declares was blanked."""
    options: tuple[str, ...] = ()
    """Codes of CID 7050 that were applied, the profile's first."""
