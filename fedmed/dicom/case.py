"""What is said of something that cannot be trusted: what it is, why, and which bytes that was said of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fedmed.dicom.reasons import OVERRULABLE, Reason

Level = Literal["file", "series"]


@dataclass(frozen=True)
class Case:
    """Something that cannot be trusted."""

    level: Level
    subject: str
    """What it is, the same at every scan: a path, or a series UID and stack."""
    reason: Reason
    detail: str
    """What was found and what was expected; no patient's name or number."""
    where: str
    """The path of the file, or of the folder that holds the series."""
    sha256: str
    """Of the bytes of its files: whatever changes them ends a release."""

    @property
    def releasable(self) -> bool:
        """Whether a person may overrule the reason: never where bytes are missing or cannot be decoded."""
        return self.reason in OVERRULABLE
