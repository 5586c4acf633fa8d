from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from fedmed.errors import BudgetRefused
from fedmed.outbound.charging import pay
from fedmed.privacy.dp.history import Limit
from fedmed.privacy.dp.terms import Cohort, Terms
from fedmed.store.budgets import Budget, read
from tests.store.test_ledger import Fixed


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "budget.jsonl"


def budget(path: Path, epsilon: float = 2.0, unit: str = "patient") -> Budget:
    return Budget(path, Fixed(), Limit(epsilon, 1e-5, unit))


def terms(mode: str = "clinic", noise: float = 8.0) -> Terms:
    rate = 1.0 if mode == "clinic" else 0.1
    return Terms(mode, 1.0, rate, noise, 1, 10, 1e-5, 100, Cohort(10, 8))


def rounds_paid(ours: Budget, found: Terms) -> int:
    paid = 0
    with suppress(BudgetRefused):
        while paid < 200:
            spent = pay(ours, found, "patient", "chest", "run", paid + 1, bytes([paid]))
            assert spent.epsilon <= ours.limit.epsilon
            paid += 1
    with pytest.raises(BudgetRefused, match="Nothing was sent"):
        pay(ours, found, "patient", "chest", "run", paid + 1, b"again")
    return paid


def test_rounds_are_paid_until_one_would_exceed_the_limit_and_that_one_is_not_written(path):
    paid = rounds_paid(budget(path), terms())
    assert 1 < paid < 200
    assert [charge.round for charge in read(path)] == list(range(1, paid + 1))
    assert all(charge.events == terms().releases() for charge in read(path))


def test_a_charge_stays_when_its_round_is_aborted_and_its_bytes_may_leave_again(path):
    found = terms()
    first = pay(budget(path), found, "patient", "chest", "run", 1, b"masked")
    again = pay(budget(path), found, "patient", "chest", "run", 1, b"masked")  # after a crash: the same bytes
    assert first == again == budget(path).spent("chest")
    other = pay(budget(path), found, "patient", "chest", "run", 1, b"masked anew")
    assert other.events == 2
    assert other.epsilon > first.epsilon


def test_a_limit_for_patients_is_no_limit_for_records(path):
    with pytest.raises(
        BudgetRefused, match="can be charged per record: patient ids are missing, and the limit is per patient"
    ):
        pay(budget(path), terms(), "record", "chest", "run", 1, b"masked")
    assert not path.exists()
    assert "per record" in str(pay(budget(path, unit="record"), terms(), "record", "chest", "run", 1, b"masked"))


def test_a_mode_of_records_is_charged_with_its_sampling(path):
    pay(budget(path), terms("record-distributed", 2.0), "patient", "chest", "run", 1, b"masked")
    [charge] = read(path)
    assert [(event.sampling_rate, event.mechanism) for event in charge.events] == [(0.1, "discrete gaussian")]
