from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from fedmed.store.models.retention import Retention


@dataclass(frozen=True)
class Made:
    run: str
    round: int
    unix: float
    sha256: str
    score: float | None
    higher_is_better: bool


@st.composite
def histories(draw):
    made = []
    for run in draw(st.sets(st.sampled_from("abc"), min_size=1)):
        higher = draw(st.booleans())
        for number in draw(st.sets(st.integers(1, 60), max_size=30)):
            score = draw(st.none() | st.floats(0, 1))
            made.append(Made(run, number, float(number), f"{run}{number}", score, higher))
    return made


policies = st.builds(Retention, last=st.integers(1, 12), best=st.integers(0, 5))


@given(histories(), policies, st.data())
def test_what_stays(made, policy, data):
    held = data.draw(st.sets(st.sampled_from([one.sha256 for one in made]))) if made else set()
    stay = policy.kept(made, held)
    assert stay <= {(one.run, one.round) for one in made}
    for run in {one.run for one in made}:
        own = [one for one in made if one.run == run]
        kept = [one for one in own if (run, one.round) in stay]
        newest = sorted((one.round for one in own), reverse=True)[: policy.last]
        assert {(run, number) for number in newest} <= stay
        assert len(kept) <= policy.last + policy.best + sum(one.sha256 in held for one in own)
        sign = 1 if own[0].higher_is_better else -1
        scored = sorted((sign * one.score for one in own if one.score is not None), reverse=True)[: policy.best]
        assert scored == sorted((sign * one.score for one in kept if one.score is not None), reverse=True)[: policy.best]
    assert all((one.run, one.round) in stay for one in made if one.sha256 in held)
    again = [one for one in made if (one.run, one.round) in stay]
    assert policy.kept(again, held) == stay


@given(histories(), policies)
def test_one_by_one_keeps_the_newest_and_the_best_of_all_that_were_ever_made(made, policy):
    there: list[Made] = []
    for one in sorted(made, key=lambda one: one.round):
        there.append(one)
        stay = policy.kept(there)
        there = [each for each in there if (each.run, each.round) in stay]
    assert {(one.run, one.round) for one in there} == policy.kept(made)


def made(number: int, unix: float) -> Made:
    return Made("a", number, unix, "", None, True)


def test_when_one_is_due():
    by_rounds, by_time = Retention(rounds=5), Retention(rounds=5, minutes=120)
    assert by_rounds.is_due(None, 1, 0)
    assert not by_rounds.is_due(made(1, 0), 5, 1e9)
    assert by_rounds.is_due(made(1, 0), 6, 0)
    assert not by_time.is_due(made(1, 0), 5, 7199)
    assert by_time.is_due(made(1, 0), 2, 7200)


def test_of_equal_scores_the_earlier_stays():
    equal = [Made("a", number, 0, str(number), 0.5, True) for number in range(1, 6)]
    assert Retention(last=1, best=2).kept(equal) == {("a", 5), ("a", 1), ("a", 2)}
