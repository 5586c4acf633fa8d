from __future__ import annotations

import pytest

from fedmed.errors import BudgetRefused, ConfigError
from fedmed.privacy.dp.accountant import Release, epsilon
from fedmed.privacy.dp.history import Charge, Limit, Spent, after, is_resend, spent

EVENT = Release("update", "discrete gaussian", 10.0)
LIMIT = Limit(2.0, 1e-5, "patient")


def charge(round: int = 1, **other: object) -> Charge:
    return Charge(
        **{"dataset": "chest", "run": "r", "unit": "patient", "events": (EVENT,), "sent": "", "unix": 0.0} | other,
        round=round,
    )


def test_what_was_spent_is_all_charges_together_and_names_whom_it_protects():
    found = spent([charge(1), charge(2, events=(EVENT, EVENT))], LIMIT)
    assert found == Spent(epsilon([EVENT] * 3, 1e-5), 1e-5, 3, "patient")
    assert str(found).endswith("at delta 1e-05 per patient")
    assert str(spent([], Limit(1, 1e-5, "record"))) == "epsilon 0.000 at delta 1e-05 per record: patient ids are missing"


def test_a_round_beyond_the_limit_is_refused_with_what_is_left_to_do():
    before: list[Charge] = []
    while True:
        try:
            found = after(before, charge(len(before)), LIMIT)
        except BudgetRefused as error:
            told = str(error)
            break
        before.append(charge(len(before)))
    assert found == spent(before, LIMIT)
    assert found.epsilon <= 2.0 < spent([*before, charge()], LIMIT).epsilon
    for words in (
        f"round {len(before)} of run 'r'",
        "'chest'",
        "the limit is 2",
        f"{found.epsilon:.3f} is spent",
        "per patient",
    ):
        assert words in told
    assert "Nothing was sent" in told


def test_patients_and_records_are_not_added_up():
    with pytest.raises(BudgetRefused, match="charged per record: patient ids are missing, and the limit is per patient"):
        after([charge(unit="record")], charge(), LIMIT)


def test_what_cannot_be_accounted_for_is_refused():
    with pytest.raises(BudgetRefused, match="cannot be accounted for"):
        after([], charge(events=(Release("update", "discrete gaussian", 10.0, beta=1e-4),)), LIMIT)


def test_a_resend_is_the_very_same_bytes_of_the_same_round():
    paid = charge(3, sent="a" * 64)
    assert is_resend([paid], paid)
    assert not is_resend([paid], charge(3, sent="b" * 64))
    assert not is_resend([paid], charge(4, sent="a" * 64))
    assert not is_resend([paid], charge(3, sent="a" * 64, events=(EVENT, EVENT)))
    assert not is_resend([paid], charge(3, sent="a" * 64, run="other"))
    assert not is_resend([charge(3)], charge(3))


def test_all_that_is_wrong_is_said_at_once():
    with pytest.raises(ConfigError, match=r"epsilon 0 .*delta 2 .*unit 'family' \(known: patient, record\)"):
        Limit(0, 2, "family")
    with pytest.raises(ConfigError) as told:
        charge(-1, dataset="", run="x" * 300, events=(), unit="family", sent="zz")
    for words in ("data set ''", "1 to 256", "round -1", "0 events", "unit 'family'", "digest 'zz'"):
        assert words in str(told.value)
