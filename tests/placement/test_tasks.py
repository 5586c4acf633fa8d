from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.errors import ConfigError
from fedmed.placement.tasks import Amount, Kind, Needs, Precision, Rung, Task

FP32, FP16, INT8 = Precision


def test_smaller_batches_of_the_same_step_come_before_lower_precision():
    needs = Needs(ladder=(FP32, FP16), batch=12, can_split=True)
    assert list(needs.rungs()) == [
        *(Rung(FP32, 12, 1), Rung(FP32, 6, 2), Rung(FP32, 3, 4)),
        *(Rung(FP16, 12, 1), Rung(FP16, 6, 2), Rung(FP16, 3, 4)),
    ]


@given(st.integers(1, 65536), st.permutations([FP32, FP16, INT8]), st.booleans())
def test_every_rung_makes_the_same_step(batch, ladder, can_split):
    rungs = list(Needs(ladder=tuple(ladder), batch=batch, can_split=can_split).rungs())
    assert rungs[0] == Rung(ladder[0], batch, 1)
    assert all(rung.batch * rung.accumulate == batch for rung in rungs)
    assert len(set(rungs)) == len(rungs)
    assert can_split or len(rungs) == 3


def test_a_lower_precision_takes_less():
    needs = Needs(fixed_bytes=400, item_bytes=40, batch=10, ladder=(FP32, FP16, INT8))
    assert [needs.network_bytes(rung) for rung in needs.rungs()] == [800, 400, 200]


amounts = st.builds(Amount, *[st.integers(0, 1000)] * 4)


@given(amounts, amounts)
def test_what_was_added_can_be_taken_away(one, other):
    assert one.plus(other).plus(other, -1) == one
    assert (one.over(other) == "") == (one.share(other) <= 1)


def test_what_is_over_is_named_with_its_unit():
    assert Amount(1500).over(Amount(1000)) == "1.5 cores of 1"
    assert Amount(0, 2 * 10**9).over(Amount(9, 10**9)) == "2.0 GB memory of 1.0"
    assert Amount(gpu=1).over(Amount(9, 9, 0, 9)).endswith("GB gpu of 0.0")


@pytest.mark.parametrize(
    "bad",
    [
        lambda: Task("", Kind.BATCH, "east"),
        lambda: Task("../x", Kind.BATCH, "east"),
        lambda: Task("x" * 129, Kind.BATCH, "east"),
        lambda: Task("x", Kind.BATCH, ""),
        lambda: Task("x", Kind.BATCH, "ea st"),
        lambda: Task("x", Kind.BATCH, "east", priority=10),
        lambda: Task("x", Kind.BATCH, "east", priority=True),
        lambda: Task("x", Kind.BATCH, "east", members=0),
        lambda: Task("x", Kind.BATCH, "east", members=65),
        lambda: Task("x", Kind.BATCH, "east", deadline=math.nan),
        lambda: Needs(batch=0),
        lambda: Needs(ladder=()),
        lambda: Needs(ladder=(FP32, FP32)),
        lambda: Needs(accelerators=()),
        lambda: Needs(Amount(-1)),
        lambda: Needs(Amount(1.5)),
        lambda: Needs(Amount(memory=1 << 60)),
        lambda: Needs(fixed_bytes=-1),
        lambda: Needs(data=frozenset({"a b"})),
    ],
)
def test_what_no_task_may_be_is_refused(bad):
    with pytest.raises(ConfigError, match=r"allowed|name"):
        bad()


def test_who_reads_patients_data_has_one_home():
    assert Task("x", Kind.BATCH, "east").homes() == ("east",)
    assert Task("x", Kind.BATCH, "east", reads_patients=False).homes() == ("east", "")
    assert Task("x", Kind.BATCH, "", reads_patients=False).homes() == ("",)
