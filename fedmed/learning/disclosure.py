"""The way out of a site: what is told of its cases leaves once, approved and written down before it goes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from fedmed.clock import Clock, SystemClock
from fedmed.errors import StoreError
from fedmed.learning.fingerprint import WHAT, Fingerprint, has_images, read_statement, statement, version_of
from fedmed.preprocess.fused.parity import Certificate
from fedmed.sites.cases import Site
from fedmed.store import ledger
from fedmed.store.ledgers import FOLDER

NO_DESK, NOT_APPROVED = "the site keeps no ledger", "the site did not approve it"
NO_LEDGER = "the site's ledger is damaged or cannot be written"
MAX_PURPOSE = 200
APPROVED = "approved"
"""In a node's configuration: the digest of the run that the staff approved, whose descriptions the daemon writes down."""


class Releasing(Protocol):
    """Who decides what is told of the cases."""

    def release(self, key: tuple[str, str, str], purpose: str, make: Callable[[], str]) -> str | None:
        """The statement, or None where it may not leave. Raises StoreError where it cannot be recorded."""


class Counter:
    """A desk within the app's process: the run was approved as a whole, and the daemon records what leaves."""

    def release(self, key: tuple[str, str, str], purpose: str, make: Callable[[], str]) -> str:
        """The statement; the clinic's gate judges it, and writes it down before it goes."""
        return make()


@dataclass(frozen=True)
class Desk:
    """Who decides at a site what leaves it, and where that is written down."""

    ledger: Path
    clock: Clock
    approve: Callable[[str], bool]
    """Whether this statement, word for word what would be sent, may leave; asked once for each."""
    approver: str
    """Who that is, for the ledger."""

    def release(self, key: tuple[str, str, str], purpose: str, make: Callable[[], str]) -> str | None:
        """The statement `(what, data set, pipeline)`: as it was sent before, or made, approved and recorded now.

        None where it is not approved. Raises StoreError where it cannot be recorded.
        """

        def approved() -> tuple[str, str] | None:
            made = make()
            return (made, self.approver) if self.approve(made) else None

        return ledger.once(self.ledger, self.clock, key, purpose[:MAX_PURPOSE], approved)


def simulated_desk(sites_folder: Path, number: int) -> Desk:
    """The desk of the `number`-th site of a simulation: everything is approved, and its ledger says by whom."""
    path = sites_folder.parent / FOLDER / f"{number:05d}.jsonl"
    return Desk(path, SystemClock(), lambda statement: True, "the simulation's harness, which approves everything")


def fingerprint_of(site: Site, desk: Releasing | None, parity: Certificate | None, purpose: str) -> Fingerprint | None:
    """What the site tells of its images; None where it has none."""
    if not has_images(site.train):
        return None
    if desk is None:
        return Fingerprint(site.pipeline, parity, None, NO_DESK)
    key = (WHAT, version_of(site), site.pipeline.fingerprint())
    try:
        text = desk.release(key, purpose, lambda: statement(site.train))
    except StoreError:
        return Fingerprint(site.pipeline, parity, None, NO_LEDGER)
    if text is None:
        return Fingerprint(site.pipeline, parity, None, NOT_APPROVED)
    return Fingerprint(site.pipeline, parity, read_statement(text))
