"""Under differential privacy nothing leaves a clinic that its data set's budget was not charged for."""

from __future__ import annotations

import hashlib

from fedmed.errors import BudgetRefused
from fedmed.privacy.dp.history import UNITS, Spent
from fedmed.privacy.dp.terms import Terms
from fedmed.store.budgets import Budget


def pay(budget: Budget, found: Terms, unit: str, dataset: str, run: str, number: int, sent: bytes | memoryview) -> Spent:
    """Charge round `number`; only when this returns may `sent`, the very bytes, leave. They may leave again at no cost.

    `unit` is what the data set's cases can be told apart by: `patient`, or `record` where ids are missing. An aborted round
    stays charged. Raises BudgetRefused, nothing being written, where the limit would be exceeded or is set for patients of a
    data set that does not know them; StoreError where the budget cannot be written.
    """
    if unit != budget.limit.unit:
        raise BudgetRefused(
            f"data set {dataset!r} can be charged {UNITS[unit]}, and the limit is {UNITS[budget.limit.unit]}: "
            "set the limit in the unit of the data set, or give its cases patient ids. Nothing was sent"
        )
    return budget.charge(dataset, run, number, found.releases(), hashlib.sha256(sent).hexdigest())
