"""What the command line of `fedmed clinic approve` says."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fedmed.clinic.lacking import Said
from fedmed.clinic.terms import Terms


@dataclass(frozen=True)
class Cases:
    """Which data set; with a folder or a reader one that is to be registered."""

    dataset: str | None
    reader: str | None
    folder: Path | None
    site: str | None
    settings: tuple[str, ...]

    @property
    def are_told(self) -> bool:
        """Whether a data set is described that may not be there yet."""
        return any((self.reader, self.folder, self.site, self.settings))


@dataclass(frozen=True)
class Signature:
    """Who signs, with which key."""

    approver: str | None
    key: Path | None
    passphrase_file: Path | None


@dataclass(frozen=True)
class Request:
    """All of it."""

    run: str
    cases: Cases
    release: bool | None
    members: Mapping[str, str]
    terms: Terms
    signature: Signature
    wait: bool
    yes: bool
    as_json: bool

    @property
    def may_ask(self) -> bool:
        """Whether there is somebody to ask."""
        return not (self.yes or self.as_json) and sys.stdin.isatty() and sys.stderr.isatty()

    def said(self) -> Said:
        """What needs no question."""
        who, cases = self.signature, self.cases
        secret = who.passphrase_file is not None
        return Said(who.approver, secret, cases.dataset, cases.are_told, self.release, self.members, self.yes)
