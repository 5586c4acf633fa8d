from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.twin.planning.money import grown, month_of_power, owned, paid_back, present, returned, running

yearly = st.lists(st.floats(-1e7, 1e7), max_size=12)


def test_eighty_kilowatts_cost_8640_a_month_and_not_8000():
    assert month_of_power(80_000, 0.15) == pytest.approx(8640)
    year = running(80_000, network=12_000, backup=6_000, staff=120_000)
    assert (year.power, year.cooling) == (pytest.approx(103_680), pytest.approx(31_104))
    assert year.total == pytest.approx(272_784)
    assert owned(2_031_000, year.total) == pytest.approx(2_849_352)


@given(st.floats(0, 1e9), yearly, st.floats(0, 1))
def test_the_present_value_is_that_of_a_naive_sum(invested, comes, discount):
    naive, factor = -invested, 1.0
    for each in comes:
        factor *= 1 + discount
        naive += each / factor
    assert present(invested, comes, discount) == pytest.approx(naive, rel=1e-9, abs=1e-3)


def test_money_later_is_worth_less():
    assert present(0, [100], 0.1) == pytest.approx(90.909, abs=1e-3)
    assert present(100, [110], 0.1) == pytest.approx(0)
    with pytest.raises(ValueError, match="more than -1"):
        present(0, [1], -1)


@given(st.floats(1, 1e6), st.lists(st.floats(0, 1e6), min_size=1, max_size=10))
def test_it_is_paid_back_when_the_sum_reaches_what_was_invested(invested, comes):
    found = paid_back(invested, comes)
    if found is None:
        assert sum(comes) < invested * (1 + 1e-9)
    else:
        whole = int(found)
        part = comes[whole] if whole < len(comes) else 0.0
        assert sum(comes[:whole]) + (found - whole) * part == pytest.approx(invested)


def test_savings_that_grow_by_a_twentieth():
    assert grown(0.8e6, 0.05, 3) == (pytest.approx(800_000), pytest.approx(840_000), pytest.approx(882_000))
    assert returned(1e6, grown(0.5e6, 0.0, 5)) == pytest.approx(1.5)
    assert paid_back(1e6, [0.4e6, 0.4e6, 0.4e6]) == pytest.approx(2.5)
    assert paid_back(1e6, [0.1e6]) is None
    with pytest.raises(ValueError, match="more than none"):
        returned(0, [1])
