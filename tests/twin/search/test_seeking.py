"""The search finds each bug that is planted, and nothing where none is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fedmed.twin.search import seeking
from fedmed.twin.search.faults import Fault, Kind, plan
from fedmed.twin.search.seeking import played, search, sought
from tests.twin.search.planted import PLANTED

FOUND_AT = {
    "lost_update": 2,
    "double_count": 1,
    "late_count": 88,
    "corrupt_vector": 13,
    "short_sum": 5,
    "commit_without_fsync": 1,
    "commit_without_name": 1,
    "keystore_without_fsync": 4,
    "sent_before_kept": 2,
    "secrets_kept": 0,
    "second_survivors": 14,
    "round_replayed": 192,
    "rolled_back": 2,
    "logged_before_fsync": 1,
    "stale_head": 0,
    "dated_back": 94,
}
"""A seed that finds each bug."""


@pytest.mark.parametrize("bug", PLANTED)
def test_a_planted_bug_is_found_and_the_same_seed_finds_nothing_without_it(bug, monkeypatch):
    seed = FOUND_AT[bug]
    assert played(plan(seed)).invariant is None
    PLANTED[bug](monkeypatch)
    assert played(plan(seed)).invariant is not None


@pytest.mark.nightly
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("bug", PLANTED)
def test_a_planted_bug_is_found_within_a_thousand_seeds(bug, monkeypatch):
    PLANTED[bug](monkeypatch)
    assert any(played(plan(seed)).invariant is not None for seed in range(1000))


@pytest.mark.nightly
@pytest.mark.timeout(3600)
def test_ten_thousand_seeds_find_nothing():
    assert [finding for _, found in search(range(10_000), 2) for finding in found] == []


def test_the_first_seeds_find_nothing_and_are_all_played():
    told = list(search(range(26)))
    assert [done for done, _ in told] == [25, 1]
    assert [finding for _, found in told for finding in found] == []


@pytest.mark.parametrize("seed", [3, 54, 70])
def test_the_same_seed_has_the_same_trace(seed):
    assert plan(seed) == plan(seed)
    first = played(plan(seed))
    assert first == played(plan(seed))
    assert first.trace


def test_a_finding_is_cut_down_to_the_faults_that_it_takes(monkeypatch):
    PLANTED["corrupt_vector"](monkeypatch)
    twice = Fault(Kind.ANSWER_CORRUPT, 0, "upload", 2, 6)
    beside = Fault(Kind.REORDERED, 0, "confirm", 1, 0), Fault(Kind.REQUEST_DOUBLED, 1, "reveal", 3, 0)
    whole = replace(plan(0), members=4, mode="malicious", turns=2, faults=(beside[0], twice, beside[1]))
    monkeypatch.setattr(seeking, "plan", lambda seed: whole)
    found = sought(0)
    assert found is not None
    assert found.faults == (str(twice),)
    assert found.left_out == 2
    assert any(str(twice) in line for line in found.trace)


def test_a_clinic_whose_disk_lied_takes_no_part_any_more_and_the_others_go_on():
    lied = Fault(Kind.CLINIC_FSYNC, 0, "upload", 2, 0)
    went = played(replace(plan(0), members=5, mode="malicious", turns=1, plays_set_up=False, faults=(lied,)))
    assert went.invariant is None
    assert "  upload: member 2 answers" in went.trace
    assert went.trace[-1].endswith("of members 1,3,4,5")


@pytest.mark.parametrize("stage", ["upload", "confirm", "reveal", "commit"])
@pytest.mark.parametrize("kind", [Kind.CENTER_STOPS, Kind.CENTER_FSYNC, Kind.CENTER_RESTORED])
def test_a_center_that_starts_again_goes_on_from_what_is_in_writing(kind, stage):
    struck = Fault(kind, 1, stage, 2, 1)
    went = played(replace(plan(0), members=4, mode="malicious", turns=2, plays_set_up=False, faults=(struck,)))
    assert went.invariant is None
    assert any("the center is started again" in line for line in went.trace)
    assert " is committed" in went.trace[-1]


def test_a_member_that_a_corrupted_request_took_far_ahead_is_no_finding():
    found = played(plan(8349))
    assert found.invariant is None
    assert any("epoch used before" in line for line in found.trace)
