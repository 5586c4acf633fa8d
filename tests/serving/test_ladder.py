from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from fedmed.serving.ladder import GATE_POINTS, LEAST_CASES, Rung, choose, loss_points

FP32 = Rung("fp32", "cpu", 10.0, 0.95, 400)
FP16 = Rung("fp16", "tensorrt", 4.0, 0.949, 400)
INT8 = Rung("int8", "cpu", 3.0, 0.945, 400)


def reasons(*rungs, **options):
    return {row.precision: row.reason for row in choose(rungs, **options).rows}


def test_the_fastest_within_the_gate():
    choice = choose([INT8, FP32, FP16])
    assert choice.rung == INT8
    assert [row.precision for row in choice.rows] == ["fp32", "fp16", "int8"]
    assert [row.loss_points for row in choice.rows] == [0, 0.1, 0.5]
    assert reasons(INT8, FP32)["fp32"] == "within the gate, slower than int8 on cpu"


def test_one_that_loses_too_much_gives_way_to_the_next_safer():
    worse = Rung("int8", "cpu", 3.0, 0.9399, 400)
    assert choose([FP32, FP16, worse]).rung == FP16
    assert choose([FP32, worse]).rung == FP32
    assert reasons(FP32, worse)["int8"] == "out: loses 1.01 points, allowed is 1"
    assert choose([FP32, Rung("int8", "cpu", 3.0, 0.94, 400)]).rung.precision == "int8"  # a point exactly


def test_what_broke_is_out():
    crashed = Rung("int8", "cpu", failure="the engine ended by the signal SIGSEGV")
    no_number = Rung("fp16", "tensorrt", 4.0, math.nan, 400)
    assert choose([FP32, crashed, no_number]).rung == FP32
    told = reasons(FP32, crashed, no_number)
    assert told["int8"] == "out: the engine ended by the signal SIGSEGV"
    assert told["fp16"] == "out: its score is no number"
    assert choose([crashed]).rung is None


def test_without_fp32_nothing_is_within_a_gate():
    assert choose([INT8]).rung is None
    assert reasons(INT8)["int8"] == "out: fp32 gave no score to compare with"
    assert reasons(Rung("fp32", "cpu", 10.0, math.nan, 400), INT8)["int8"].startswith("out: fp32 gave no score")


def test_a_measure_that_is_undefined_leaves_fp32():
    unknown = Rung("fp32", "cpu", 10.0, None, 400)
    assert choose([unknown, INT8]).rung == unknown


def test_too_few_cases_show_no_point():
    few = [Rung(r.precision, r.backend, r.median_ms, r.score, LEAST_CASES - 1) for r in (FP32, INT8)]
    assert choose(few).rung == few[0]
    assert "to see a point takes 100" in reasons(*few)["int8"]


def test_a_slower_int8_is_not_chosen():
    slow = Rung("int8", "cpu", 11.0, 0.95, 400)
    assert choose([FP32, slow]).rung == FP32


def test_of_equal_speed_the_safer():
    assert choose([Rung("int8", "cpu", 10.0, 0.95, 400), FP32]).rung == FP32


scores = st.one_of(st.none(), st.floats(0, 1), st.just(math.nan))
times = st.one_of(st.none(), st.floats(0.01, 100), st.just(math.inf), st.just(0.0))
any_rung = st.builds(
    Rung,
    st.sampled_from(["fp32", "fp16", "int8"]),
    st.just("cpu"),
    times,
    scores,
    st.integers(0, 500),
    st.sampled_from(["", "x"]),
)


@given(st.lists(any_rung, max_size=6))
def test_whatever_is_measured_what_is_chosen_keeps_the_gate(rungs):
    choice = choose(rungs)
    assert len(choice.rows) == len(rungs)
    assert all(row.reason for row in choice.rows)
    if choice.rung is None:
        assert all(row.reason.startswith("out: ") for row in choice.rows)
        return
    assert not choice.rung.failure
    assert [row for row in choice.rows if row.chosen]
    if choice.rung.precision != "fp32":
        sound = [r for r in rungs if r.precision == "fp32" and not r.failure and r.score is not None and r.median_ms]
        assert any((lost := loss_points(choice.rung, each)) is not None and lost <= GATE_POINTS for each in sound)
        assert choice.rung.cases >= LEAST_CASES
