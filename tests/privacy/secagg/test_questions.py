from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.privacy.secagg.layout import Layout
from fedmed.privacy.secagg.metrics import put_metric
from fedmed.privacy.secagg.questions import (
    LOSS_BOUND,
    MOST_OF_A_CLASS,
    SQUARES_BOUND,
    SUM_BOUND,
    census_fields,
    loss_fields,
    mask_fields,
    score_fields,
    update_fields,
)

EDGES = st.sampled_from([-1.0, 1.0]) | st.floats(-1, 1)


def written(fields, most: int, bits: int, puts) -> None:
    Layout((), fields, bits, 10, 1.0, most).write({}, 0, puts, bytes(24))


@given(EDGES, st.integers(1, 1 << 32), st.sampled_from([16, 32]), st.data())
def test_whatever_is_within_the_declared_size_fits(edge, most, bits, data):
    cases = data.draw(st.integers(0, most))
    loss = put_metric("loss", edge * LOSS_BOUND, cases)
    written(update_fields(most, {"own": 3.0}), most, bits, {"weight": cases, **loss, **put_metric("own", edge * 3.0, cases)})
    scores = {"scores": np.array([cases, most, 0, 0]), "correct": np.array([cases, 0, most])}
    written((*loss_fields(most), *score_fields(4, 3, most)), most, bits, {**loss, **scores})
    written((*loss_fields(most), *mask_fields(most)), most, bits, {**loss, "cases": cases, **put_metric("dice", 1.0, cases)})
    counts = {"classes": np.array([0, MOST_OF_A_CLASS]), "moments.n": cases}
    sums = {"moments.sum": [edge * SUM_BOUND], "moments.sumsq": [abs(edge) * SQUARES_BOUND]}
    written(census_fields(2, 1, most), most, bits, counts | sums)


@pytest.mark.parametrize(("classes", "names"), [(None, ["scores"]), (3, ["scores", "correct"])])
def test_cases_decided_rightly_are_counted_of_more_than_two_classes(classes, names):
    assert [field.name for field in score_fields(8, classes, 5)] == names


def test_a_census_without_a_scale_counts_classes_only():
    assert [field.name for field in census_fields(2, None, 5)] == ["classes"]
