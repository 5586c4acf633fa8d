from __future__ import annotations

import pytest

from fedmed.report.lines import Line, over_rounds, over_time


@pytest.mark.parametrize(
    ("points", "is_alone"), [([(3, 0.5)], True), ([(2, None), (3, 0.5)], True), ([(2, 0.4), (3, 0.5)], False)]
)
def test_a_single_value_is_a_dot_that_is_seen(points, is_alone):
    for drawn in (over_rounds("loss", [Line(points, "fed")]), over_time("auc", "hours", [Line(points, "fed")])):
        assert ('class="line fed alone"' in drawn) == is_alone


def test_a_line_with_dots_of_its_own_gets_no_other():
    assert "alone" not in over_rounds("loss", [Line([(3, 0.5)], "fed", sizes=[2.0])])
