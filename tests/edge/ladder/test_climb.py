from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.edge.ladder.climb import CRASHES, Climb, Key, Phase, booted, decided, fallen, proven, stopped
from fedmed.serving.ladder import Rung, choose

KEY = Key("a" * 64, "onnxruntime 1", "x86_64")


def chosen(fast_ms: float = 1.0, score: float = 1.0, failure: str = "") -> Climb:
    rungs = (
        Rung("fp32", "cpu", 4.0, 1.0, 120),
        Rung("int8", "cpu", fast_ms, score, 120, failure),
    )
    return decided(Climb(KEY), choose(rungs), "agreement", True)


def test_the_fastest_within_the_gate_is_on_probation_first():
    found = chosen()
    assert (found.phase, found.rung, found.is_up) == (Phase.PROBATION, ("int8", "cpu"), True)
    assert (proven(found, 100).phase, proven(found, 100).rung) == (Phase.HELD, ("int8", "cpu"))


@pytest.mark.parametrize("changes", [{"fast_ms": 5.0}, {"score": 0.98}, {"failure": "crashed"}])
def test_what_is_slower_disagrees_or_fails_is_left_out_with_its_reason(changes: dict):
    found = chosen(**changes)
    assert (found.phase, found.precision, found.is_fast) == (Phase.HELD, "fp32", False)
    assert all(row.reason for row in found.rows)


def test_nothing_runs_here_but_what_was_released():
    found = decided(Climb(KEY), choose([Rung("fp32", "cpu", failure="wrong")]), "agreement", True)
    assert (found.phase, found.precision) == (Phase.HELD, "fp32")


def test_a_fall_is_for_good_and_says_why_in_its_row():
    found = fallen(chosen(), "an image got no answer")
    assert (found.phase, found.precision) == (Phase.HELD, "fp32")
    [row] = [each for each in found.rows if each.precision == "int8"]
    assert (row.reason, row.is_out, row.chosen) == ("out: an image got no answer", True, False)
    assert booted(found) == found


def test_the_process_may_end_on_probation_once():
    once = booted(chosen())
    assert (once.phase, once.crashes) == (Phase.PROBATION, 1)
    assert booted(stopped(once)) == stopped(once)
    twice = booted(once)
    assert (twice.precision, twice.crashes) == ("fp32", CRASHES)
    assert "the process ended with it" in twice.why


@given(st.lists(st.sampled_from(["boot", "stop", "prove", "fall"]), max_size=12))
def test_once_held_in_fp32_nothing_leads_away_from_it(events: list[str]):
    steps = {
        "boot": booted,
        "stop": stopped,
        "prove": lambda each: proven(each, 100),
        "fall": lambda each: fallen(each, "x"),
    }
    found, was_safe = chosen(), False
    for event in events:
        if event in ("prove", "fall") and (found.phase is Phase.HELD and not (event == "fall" and found.is_fast)):
            continue
        found = steps[event](found)
        was_safe = was_safe or not found.is_fast
        assert not (was_safe and found.is_fast)
        assert found.crashes <= CRASHES
        assert found.phase is not Phase.SAFE
