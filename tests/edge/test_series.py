from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.edge.series import (
    Around,
    Because,
    Close,
    Forget,
    Late,
    Look,
    Note,
    Part,
    Rule,
    Series,
    Verdict,
    Wait,
    announced,
    judged,
)

RULE = Rule(quiet_s=30, longest_s=600, late_s=300, remembered_s=1000, most_images=50, most_bytes=10_000)


def part(number: int, at: float = 0.0, **said: object) -> Part:
    return Part(number, 100, at, at, **said)  # type: ignore[arg-type]


def at(series: Series, now: float, *associations: str, **around: bool) -> Verdict:
    return judged(series, Around(now, associations, **around), RULE)


def test_a_series_is_whole_when_its_associations_ended_and_nothing_came_for_a_while():
    series = Series((part(1, 0, association="a"), part(2, 10, association="b")))
    assert at(series, 39, "c") == Wait(40)
    assert at(series, 40, "c") == Look(Because.QUIET)
    assert at(series, 100, "a") == Wait(100)  # that one may send more
    assert at(series, 100, "b", "c") == Wait(100)
    assert at(series, 100, is_coming=True) == Wait(100)
    assert at(series, 600, "a", is_coming=True) == Look(Because.BOUND)
    by_folder = Series((part(1, 0),))
    assert at(by_folder, 30, "") == Look(Because.QUIET)


def test_as_many_images_as_the_headers_say_are_a_whole_series_at_once():
    three = tuple(part(number, in_series=3, association="a") for number in (1, 2, 3))
    assert at(Series(three), 0, "a") == Look(Because.COUNTED)
    assert at(Series(three), 0, "a", is_coming=True) == Wait(0)
    assert at(Series(three[:2]), 0) == Wait(30)
    assert at(Series((*three, part(4, in_series=3))), 0) == Wait(30)  # a count that is passed is none
    two = [part(1, acquisition="1", in_acquisition=2), part(2, acquisition="1", in_acquisition=2)]
    assert at(Series((*two,)), 0) == Look(Because.COUNTED)
    other = part(3, acquisition="2", in_acquisition=2)
    assert at(Series((*two, other)), 0) == Wait(30)
    assert at(Series((*two, other, replace(other, number=4))), 0) == Look(Because.COUNTED)
    assert announced([*two, part(5, acquisition="1", in_acquisition=9)]) is None
    assert announced([*two, part(5)]) is None
    assert announced([]) is None


def test_what_comes_late_is_looked_at_with_what_was_there_and_later_yet_set_aside():
    seen = (part(1), part(2))
    told = Note(3, frozenset({1, 2}), 100.0)
    assert at(Series(seen, told), 399) == Wait(400)
    assert at(Series(seen, told), 400) == Close()
    late = Series((*seen, part(4, 200)), told)
    assert at(late, 229) == Wait(230)
    assert at(late, 230) == Look(Because.QUIET)
    closed = replace(told, closed="too late")
    assert at(Series((part(4, 200),), closed), 201) == Late((4,), "too late")
    assert at(Series((), closed), 1099) == Wait(1100)
    assert at(Series((), closed), 1100) == Forget()


def test_more_than_is_held_is_not_looked_at():
    many = Series(tuple(part(number) for number in range(1, 52)))
    assert isinstance(at(many, 0), Close)
    assert "more than 50 images" in at(many, 0).why  # type: ignore[union-attr]
    large = Series((replace(part(1), size=10_001),))
    assert "10001 bytes" in at(large, 0).why  # type: ignore[union-attr]


def test_without_a_model_of_series_all_waits_as_long_as_anything_does():
    series = Series((part(1, in_series=1),))
    assert at(series, 599, is_able=False) == Wait(600)
    assert at(series, 600, is_able=False) == Look(Because.BOUND)


@given(
    times=st.lists(st.floats(0, 400), min_size=1, max_size=20),
    associations=st.lists(st.sampled_from(["", "a", "b"]), min_size=20, max_size=20),
    open_=st.sets(st.sampled_from(["a", "b"])),
    told=st.integers(0, 25),
)
@pytest.mark.parametrize("is_coming", [False, True])
def test_whatever_comes_a_series_is_looked_at_within_its_bound_and_never_waits_for_the_past(
    times: list[float], associations: list[str], open_: set[str], told: int, is_coming: bool
):
    parts = tuple(part(n, when, association=associations[n - 1]) for n, when in enumerate(times, 1))
    series = Series(parts, Note(99, frozenset(range(1, told + 1)), max(times)) if told else None)
    now, steps = max(times), 0
    while isinstance(verdict := at(series, now, *open_, is_coming=is_coming), Wait):
        assert verdict.until >= now
        now, steps = max(verdict.until, now + 1), steps + 1
        assert now <= min(times) + RULE.longest_s + max(times) + 2
    fresh = [each.began for each in series.fresh]
    if fresh:
        assert isinstance(verdict, Look)
        assert now <= max(min(fresh) + RULE.longest_s + 1, max(times))
    else:
        assert verdict == Close()
