from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.privacy.secagg import parameters
from fedmed.privacy.secagg.attacks import Attack, Refused
from fedmed.privacy.secagg.parameters import least_colluders
from tests.privacy.secagg.federation import terms_for


@pytest.mark.parametrize(
    ("members", "colluders", "quorum"), [(3, 0, 2), (4, 1, 3), (5, 1, 4), (10, 1, 6), (10, 3, 7), (100, 10, 56)]
)
def test_quorums(members, colluders, quorum):
    assert terms_for(members, colluders=colluders).quorum == quorum


@given(members=st.integers(3, 4096), data=st.data())
def test_two_quorums_share_an_honest_member(members, data):
    colluders = data.draw(st.integers(least_colluders(members), (members - 1) // 3))
    quorum = (members + colluders) // 2 + 1
    assert 2 * quorum - members > colluders
    assert quorum <= members - colluders  # colluders alone cannot keep a sum from opening


@pytest.mark.parametrize(
    ("members", "cohort", "least"), [(3, 3, 3), (4, 4, 3), (5, 5, 3), (10, 10, 5), (10, 4, 3), (40, 40, 20)]
)
def test_least_sums(members, cohort, least):
    assert terms_for(members).least_survivors(cohort) == least


def test_terms_may_ask_for_larger_sums():
    assert terms_for(10, least=8).least_survivors(10) == 8


@given(data=st.data())
def test_what_is_written_is_read(data):
    members = data.draw(st.integers(3, 20))
    terms = terms_for(
        members,
        epoch=data.draw(st.integers(1, 2**32 - 1)),
        colluders=data.draw(st.integers(least_colluders(members), (members - 1) // 3)),
        dropouts=data.draw(st.integers(0, members - 1)),
        rounds=data.draw(st.integers(1, 128)),
        least=data.draw(st.integers(3, members)),
        mode=data.draw(st.sampled_from(parameters.MODES)),
    )
    assert parameters.decode(terms.encode()) == terms


@pytest.mark.parametrize(
    "changes",
    [
        {"rounds": 0},
        {"rounds": 129},
        {"epoch": 0},
        {"colluders": 0},
        {"colluders": 2},
        {"dropouts": 5},
        {"least": 2},
        {"least": 6},
        {"run": ""},
        {"run": "x" * 201},
        {"mode": "open"},
        {"roster": (bytes(32),) * 5},
        {"roster": (bytes(32), b"x" * 32)},
        {"roster": (b"b" * 32, b"a" * 32, b"c" * 32)},
        {"roster": (b"a" * 31, b"b" * 32, b"c" * 32)},
    ],
    ids=str,
)
def test_terms_that_make_no_sense(changes):
    with pytest.raises(Refused) as caught:
        replace(terms_for(5), **changes)
    assert caught.value.attack is Attack.STRANGE_TERMS


def test_beyond_128_members_survivors_are_always_confirmed():
    assert terms_for(128, mode="hbc").design.is_complete
    with pytest.raises(Refused, match="mode hbc with 129 members"):
        terms_for(129, mode="hbc")


def test_a_strangers_index():
    with pytest.raises(Refused) as caught:
        terms_for(5).index_of(bytes(32))
    assert caught.value.attack is Attack.SYBIL
