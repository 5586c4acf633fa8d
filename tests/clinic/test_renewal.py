from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.clinic.renewal import FIRST_RETRY_S, MOST_WAIT_S, decide, due_at
from fedmed.identity.authority import PublicMember
from tests.identity.parties import identity

DAY_S = 86400.0
BEGAN, ENDS = 1000 * DAY_S, 1090 * DAY_S
KNOWN = identity(1)


def member(number: int = 1) -> PublicMember:
    who = identity(number) if number != 1 else KNOWN
    return PublicMember(who.name, who.transport_public, who.signing_public, BEGAN, ENDS)


@pytest.mark.parametrize("number", range(1, 9))
def test_it_is_due_when_a_third_is_left_and_not_for_all_at_once(number):
    left = (ENDS - due_at(member(number))) / (ENDS - BEGAN)
    assert 1 / 4 <= left <= 1 / 3
    assert due_at(member(number)) == due_at(member(number))


def test_clinics_are_spread():
    assert len({due_at(member(number)) for number in range(1, 9)}) == 8


@given(st.floats(BEGAN, ENDS), st.integers(0, 50))
def test_within_its_life_it_is_renewed_once_due_and_looked_at_often_enough(now, failures):
    found = decide(member(), now, failures)
    assert found.renew == (now >= due_at(member()))
    assert 0 < found.wait_s <= MOST_WAIT_S
    if not found.renew:
        assert now + found.wait_s <= due_at(member()) + 1e-3
        assert not found.warning


def test_tries_go_on_until_the_end():
    """A center that is down for weeks: the clinic tries about once an hour, and warns when half of the time is gone."""
    now, failures, warned = due_at(member()), 0, []
    while now < ENDS:
        found = decide(member(), now, failures)
        assert found.renew
        warned.append(bool(found.warning))
        now, failures = now + found.wait_s, failures + 1
    assert 400 < failures < 1000
    assert (warned[0], warned[-1]) == (False, True)
    assert decide(member(), due_at(member()), 0).wait_s == FIRST_RETRY_S


def test_clocks_that_are_years_off():
    early, late = decide(member(), BEGAN - 1000 * DAY_S), decide(member(), ENDS + 1000 * DAY_S)
    assert (early.renew, "set it right" in early.warning) == (False, True)
    assert (late.renew, "new join file" in late.warning) == (True, True)
