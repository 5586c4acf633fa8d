from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.errors import ConfigError
from fedmed.store.spool.entry import REAL_TIME, SpoolFull
from fedmed.store.spool.quota import BLOCK, DAY_S, Candidate, Drop, Policy, Quota, make_room, weight

MB = 1 << 20
QUOTA = Quota(bytes=10 * MB, reserve=0.2)
NOW = 100 * DAY_S


def waiting(*priorities: int, age_days: float = 1.0) -> list[Candidate]:
    return [Candidate(n, priority, MB, NOW - age_days * DAY_S) for n, priority in enumerate(priorities, 1)]


def test_what_fits_drops_nothing_however_old_the_rest_is():
    assert make_room(QUOTA, 5 * MB, MB, 20, NOW, waiting(10, age_days=4000)) == []


def test_the_least_urgent_goes_first_of_these_the_oldest_and_no_more_than_is_needed():
    drops = make_room(QUOTA, 8 * MB, 2 * MB, 20, NOW, waiting(5, 10, 10, 15))
    assert drops == [Drop(1, "outranked"), Drop(2, "outranked")]


def test_what_is_as_urgent_goes_only_when_it_outlived_its_days_or_the_policy_says_so():
    with pytest.raises(SpoolFull):
        make_room(QUOTA, 8 * MB, MB, 20, NOW, waiting(20, 20))
    assert make_room(QUOTA, 8 * MB, MB, 20, NOW, waiting(20, age_days=7.1)) == [Drop(1, "outlived")]
    oldest = Quota(bytes=10 * MB, policy=Policy.OLDEST, reserve=0.2)
    assert make_room(oldest, 8 * MB, MB, 20, NOW, waiting(20, 20)) == [Drop(1, "overtaken")]


def test_what_is_refused_says_what_came_what_is_allowed_and_what_to_do():
    refusing = Quota(bytes=10 * MB, policy=Policy.REFUSE, reserve=0.2)
    with pytest.raises(SpoolFull) as refused:
        make_room(refusing, 8 * MB, MB, 20, NOW, waiting(5, age_days=4000))
    for words in (
        f"{8 * MB} bytes are used",
        f"{MB} more of priority 20",
        f"{8 * MB} of {10 * MB}",
        "'refuse'",
        "larger quota",
    ):
        assert words in str(refused.value)


def test_only_real_time_work_takes_the_reserve():
    with pytest.raises(SpoolFull):
        make_room(QUOTA, 8 * MB, 1, REAL_TIME - 1, NOW, [])
    assert make_room(QUOTA, 8 * MB, 2 * MB, REAL_TIME, NOW, []) == []
    with pytest.raises(SpoolFull):
        make_room(QUOTA, 8 * MB, 2 * MB + 1, REAL_TIME, NOW, [])


def test_nothing_is_dropped_for_what_would_never_fit():
    def candidates():
        raise AssertionError("nobody has to look")
        yield

    with pytest.raises(SpoolFull):
        make_room(QUOTA, 0, 10 * MB + 1, REAL_TIME, NOW, candidates())


candidate = st.builds(Candidate, st.integers(1, 999), st.integers(0, 50), st.integers(1, 3 * MB), st.floats(0, NOW))


@given(
    found=st.lists(candidate, max_size=12, unique_by=lambda one: one.number),
    need=st.integers(1, 4 * MB),
    priority=st.integers(0, 50),
    policy=st.sampled_from(Policy),
)
def test_afterwards_it_fits_and_nothing_more_urgent_went_and_the_last_drop_was_needed(found, need, priority, policy):
    quota = Quota(bytes=10 * MB, policy=policy, reserve=0.2)
    found.sort(key=lambda one: (one.priority, one.number))
    used, by_number = sum(one.weight for one in found), {one.number: one for one in found}
    try:
        drops = make_room(quota, used, need, priority, NOW, iter(found))
    except SpoolFull:
        may = [one for one in found if one.priority < priority or (one.priority == priority and policy is Policy.OLDEST)]
        freed = 0 if policy is Policy.REFUSE else sum(one.weight for one in may)
        assert used - freed + need > quota.allowed(priority)
        return
    gone = [by_number[drop.number] for drop in drops]
    assert all(one.priority <= priority for one in gone)
    assert used - sum(one.weight for one in gone) + need <= quota.allowed(priority)
    if gone:
        assert used - sum(one.weight for one in gone[:-1]) + need > quota.allowed(priority)


@given(head=st.integers(0, 10**5), body=st.integers(0, 10**9))
def test_a_weight_is_whole_blocks_and_no_less_than_what_is_kept(head, body):
    assert weight(head, body) % BLOCK == 0
    assert head + body < weight(head, body) <= head + body + 512 + BLOCK


def test_all_faults_of_a_quota_are_told_at_once():
    with pytest.raises(ConfigError) as refused:
        Quota(bytes=1, days=0, reserve=1.0, ballast=-1)
    assert all(word in str(refused.value) for word in ("bytes is 1", "days is 0", "reserve is 1.0", "ballast is -1"))
