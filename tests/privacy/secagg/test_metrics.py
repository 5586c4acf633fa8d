from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.errors import UpdateRefused
from fedmed.privacy.secagg.layout import Layout
from fedmed.privacy.secagg.metrics import RESOLUTION, metric_fields, own_fields, put_metric, read_metric
from fedmed.privacy.secagg.scale import MOST_WEIGHT

MOST = 5000


def layout(bits=32, **more) -> Layout:
    return Layout((), metric_fields("auc", bound=1.0, most_weight=MOST, **more), bits, 8, 1.0, MOST)


def mean_of(agreed: Layout, told) -> float | None:
    vectors = [agreed.write({}, 0, put_metric("auc", value, weight), bytes(24)) for value, weight in told]
    return read_metric(agreed.read(np.sum(vectors, axis=0, dtype=vectors[0].dtype), len(vectors)), "auc")


values = st.none() | st.just(math.nan) | st.floats(-1, 1)


@given(st.sampled_from([16, 32]), st.lists(st.tuples(values, st.integers(0, MOST)), min_size=1, max_size=8))
@settings(deadline=None)
def test_the_mean_is_that_of_the_clinics_that_can_tell(bits, told):
    found = mean_of(layout(bits), told)
    known = [(value, weight) for value, weight in told if value is not None and not math.isnan(value) and weight]
    if not known:
        assert found is None
    else:
        exact = np.average([value for value, _ in known], weights=[weight for _, weight in known])
        # clinics of weight 0 round nothing: 0 is kept
        assert abs(found - exact) <= RESOLUTION / 2 + 1e-12


def test_a_finer_resolution_is_kept():
    assert mean_of(layout(resolution=1e-12), [(0.123456789012, 1), (None, 900)]) == pytest.approx(0.123456789012, abs=1e-12)


def test_nobody_who_can_tell_is_not_zero():
    assert mean_of(layout(), [(None, 10), (math.nan, 20)]) is None
    assert mean_of(layout(), [(0.0, 10), (math.nan, 20)]) == 0.0


@pytest.mark.parametrize("value", [math.inf, -math.inf, 1.01])
def test_a_metric_beyond_its_bound_is_refused_by_name(value):
    with pytest.raises(UpdateRefused, match=r"'auc\.sum'"):
        mean_of(layout(), [(value, MOST)])


def test_a_weight_beyond_the_most_is_refused_by_name():
    with pytest.raises(UpdateRefused, match=r"'auc\.weight'"):
        mean_of(layout(), [(0.0, MOST + 1)])


@given(st.dictionaries(st.text("abc", min_size=1), st.floats(1e-30, 1e30), max_size=5), st.integers(1, MOST_WEIGHT))
def test_steps_of_a_researchers_own_metrics_follow_from_their_bounds(bounds, most):
    fields = own_fields(bounds, most)
    assert [field.name for field in fields] == [f"{name}.{part}" for name in sorted(bounds) for part in ("sum", "weight")]
    Layout((), fields, 16, 500, 1.0, most)  # fits lanes of any width
    for field in fields[::2]:
        bound = bounds[field.name.removesuffix(".sum")]
        assert bound * 2.0**-31 < field.resolution <= bound * 2.0**-30
        assert math.frexp(field.resolution)[0] == 0.5
