from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.errors import ConfigError
from fedmed.simulate.sweep import Factor, Point, answer, best, factor, points, reached, table


def test_values_may_hold_commas_in_brackets_and_units():
    assert factor("a.b = 1, 2 ,3") == Factor("a.b", ("1", "2", "3"))
    assert factor("w=[8, 16],[4]") == Factor("w", ("[8, 16]", "[4]"))
    assert factor("lines.dsl.up=10 Mbit/s,20 Mbit/s").values == ("10 Mbit/s", "20 Mbit/s")


@pytest.mark.parametrize("text", ["a", "a=", "=1", "a=1,,2", "a=1,"])
def test_what_is_no_factor_is_refused(text):
    with pytest.raises(ConfigError, match=r"allowed: KEY=A,B"):
        factor(text)


def test_a_value_or_a_key_twice_and_too_many_runs_are_refused():
    with pytest.raises(ConfigError, match="twice"):
        factor("a=1,1")
    with pytest.raises(ConfigError, match="a more than once"):
        points([factor("a=1,2"), factor("a=3")])
    many = Factor("a", tuple(map(str, range(40))))
    with pytest.raises(ConfigError, match=r"1,600 runs; allowed: 1,000"):
        points([many, Factor("b", many.values)])


def test_every_combination_is_a_point_of_its_own():
    found = points([factor("a=1,2"), factor("b=x,y,z")])
    assert [point.name for point in found] == ["1", "2", "3", "4", "5", "6"]
    assert len({point.overrides for point in found}) == 6
    assert found[1].overrides == ("a=1", "b=y")


ROUNDS = [
    {"round": 1, "seconds": 10, "validation": {"auc": 0.5}, "bytes": {"down": 5, "up": 3}, "missing": {}},
    {"round": 2, "seconds": 20, "validation": None, "bytes": {"down": 5, "up": 3}, "missing": {"a": "late"}},
    {"round": 3, "seconds": 30, "validation": {"auc": 0.9}, "bytes": {"down": 5, "up": 3}, "missing": {}},
]


def test_time_to_a_target_is_of_the_first_round_that_has_it():
    assert reached(ROUNDS, "auc", 0.5) == 10
    assert reached(ROUNDS, "auc", 0.8) == 60
    assert reached(ROUNDS, "auc", 0.95) is None
    assert reached(ROUNDS, "dice", 0.1) is None


def test_a_run_is_a_row_and_one_that_failed_says_why(tmp_path):
    point = Point("1", {"a": "2"})
    assert answer(point, tmp_path, "it broke", None) == {"point": "1", "a": "2", "status": "it broke"}
    (tmp_path / "report.json").write_text('{"half')
    assert answer(point, tmp_path, None, None)["status"] == "not run"
    told = {"rounds": ROUNDS, "status": "complete", "overall": {"metrics": {"auc": {"value": 0.8}}}}
    (tmp_path / "report.json").write_text(json.dumps(told))
    row = answer(point, tmp_path, None, ("auc", 0.8))
    assert (row["auc"], row["seconds"], row["rounds"], row["missing"]) == (0.8, 60, 3, 1)
    assert (row["down_bytes"], row["up_bytes"], row["seconds to auc 0.8"]) == (15, 9, 60)


def test_a_modelled_run_is_a_row_without_metrics(tmp_path):
    short = {"number": 1, "down_bytes": 5, "up_bytes": 0, "missing": {"a": "late"}, "is_short": True}
    told = {"learning": "modelled", "status": "complete", "seconds": 7.0, "rounds": [short, {**short, "is_short": False}]}
    (tmp_path / "report.json").write_text(json.dumps(told))
    row = answer(Point("1", {}), tmp_path, None, None)
    assert (row["rounds"], row["attempts in vain"], row["down_bytes"], row["seconds"]) == (1, 1, 10, 7.0)


ROWS = st.lists(
    st.fixed_dictionaries({"auc": st.none() | st.integers(0, 5).map(float), "seconds": st.integers(1, 5).map(float)}),
    max_size=12,
)


@given(ROWS)
def test_nobody_beats_the_best_and_somebody_beats_each_of_the_others(rows):
    def beats(one, other):
        return (
            one["auc"] >= other["auc"]
            and one["seconds"] <= other["seconds"]
            and (one["auc"], -one["seconds"]) != (other["auc"], -other["seconds"])
        )

    known = [row for row in rows if row["auc"] is not None]
    found = best(rows, "auc", "seconds")
    for place, row in enumerate(rows):
        if row["auc"] is None:
            assert place not in found
        else:
            assert (place in found) == (not any(beats(other, row) for other in known))


def test_the_table_has_a_column_for_all_that_any_row_has():
    rows = list(csv.DictReader(io.StringIO(table([{"point": "1", "a": 2}, {"point": "2", "b": 3}]))))
    assert rows == [{"point": "1", "a": "2", "b": ""}, {"point": "2", "a": "", "b": "3"}]
