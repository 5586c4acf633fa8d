"""A clinic's own privacy budget: what every round of every run cost its data sets, on disk before anything is sent.

The file is a chain (`store.chain`), so that a line changed, taken out or cut off is found; then nothing is charged, and
nothing may be sent. A charge stays, whatever becomes of its round: an aborted round may have let its bytes go.

A data set is known by the *name* the clinic gave it, not by the digest of a version: one more patient makes another
version, and the budget of all the others would begin anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fedmed.clock import Clock
from fedmed.errors import ConfigError, StoreError
from fedmed.privacy.dp.accountant import Release
from fedmed.privacy.dp.history import Charge, Limit, Spent, after, is_resend, spent
from fedmed.store import chain
from fedmed.store.locks import alone


class Budget:
    """The budgets of one clinic's data sets under one limit; safe with several processes at once."""

    def __init__(self, path: Path, clock: Clock, limit: Limit) -> None:
        self.path = path
        self.limit = limit
        self._clock = clock

    def charge(self, dataset: str, run: str, round: int, events: Sequence[Release], sent: str = "") -> Spent:
        """Charge a round; only when this returns, with the charge on the disk, may its bytes be sent.

        `sent` is the SHA-256 of those bytes. The very same bytes of the same run and round, at the same cost, are a resend:
        they are paid for, and not charged again. Whatever else comes for a round that was charged, such as the new noise
        of an attempt taken up again, or bytes without a digest, is one more release and is charged once more.
        Raises BudgetRefused, nothing being written, where all charges ever made of the data set would exceed the limit;
        ConfigError for what cannot be a charge; StoreError where the file is damaged or cannot be written.
        """
        charge = Charge(dataset, run, round, self.limit.unit, tuple(events), sent, self._clock.unix())
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with alone(self.path.with_name(f".{self.path.name}.lock")):
                charges = self._charges(dataset)
                if is_resend(charges, charge):
                    return spent(charges, self.limit)
                would = after(charges, charge, self.limit)
                chain.append(self.path, asdict(charge))
                return would
        except OSError as error:
            raise StoreError(
                f"the privacy budget {self.path} cannot be written ({error.strerror or error}); nothing leaves without it"
            ) from error

    def spent(self, dataset: str) -> Spent:
        """(epsilon, delta, number of releases, unit) of all that was ever charged. Raises StoreError."""
        charges = self._charges(dataset)
        unit = charges[-1].unit if charges else self.limit.unit
        return spent(charges, Limit(self.limit.epsilon, self.limit.delta, unit))

    def _charges(self, dataset: str) -> list[Charge]:
        return [charge for charge in read(self.path) if charge.dataset == dataset]


def read(path: Path) -> list[Charge]:
    """Every charge, the chain verified. Raises StoreError saying which line is wrong and how."""
    return chain.verify(path, _charge)


def _charge(body: dict[str, Any]) -> Charge:
    try:
        return Charge(**{**body, "events": tuple(Release(**event) for event in body["events"])})
    except ConfigError as error:
        raise ValueError(str(error)) from error
