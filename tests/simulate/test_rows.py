from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.simulate.rows import answer, best, reached, read, table, together
from fedmed.simulate.sweep import Point

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
    assert (row["auc"], row["seconds"], row["rounds_done"], row["missing"]) == (0.8, 60, 3, 1)
    assert (row["down_bytes"], row["up_bytes"], row["seconds to auc 0.8"]) == (15, 9, 60)


def test_a_modelled_run_is_a_row_without_metrics(tmp_path):
    short = {"number": 1, "down_bytes": 5, "up_bytes": 0, "missing": {"a": "late"}, "is_short": True}
    told = {"learning": "modelled", "status": "complete", "seconds": 7.0, "rounds": [short, {**short, "is_short": False}]}
    (tmp_path / "report.json").write_text(json.dumps(told))
    row = answer(Point("1", {}), tmp_path, None, None)
    assert (row["rounds_done"], row["attempts in vain"], row["down_bytes"], row["seconds"]) == (1, 1, 10, 7.0)


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


@pytest.mark.parametrize("text", ['{"half', "[]", "3", '{"status": "complete"}', "\udcff"])
def test_what_is_no_report_is_none(tmp_path, text):
    (tmp_path / "report.json").write_text(text, errors="surrogateescape")
    assert read(tmp_path) is None


def test_what_machines_took_is_in_the_row_where_it_is_known(tmp_path):
    told = {"rounds": ROUNDS, "status": "complete", "overall": {"metrics": {}}, "virtual": {}}
    told["answers"] = {"kwh": 2.5, "cost": None, "work": 0.25, "idle": 0.5, "tiers": []}
    (tmp_path / "report.json").write_text(json.dumps(told))
    row = answer(Point("1", {}), tmp_path, None, None)
    assert (row["kwh"], row["work"], row["idle"], row["bytes"]) == (2.5, 0.25, 0.5, 24)
    assert "cost" not in row


def test_seeds_together_have_a_mean_and_a_spread():
    def row(lr: str, seed: str, auc: float | None, seconds: float) -> dict[str, object]:
        about = {"point": f"{lr}{seed}", "lr": lr, "seed": seed, "status": "complete"}
        return {**about, "auc": auc, "seconds": seconds, "time": "virtual"}

    rows = [row("1", "42", 0.8, 10.0), row("1", "43", 0.6, 14.0), row("2", "42", 0.9, 5.0), row("2", "43", None, 7.0)]
    first, second = together([*rows, {"point": "x", "lr": "2", "seed": "44", "status": "it broke"}], ["lr", "seed"])
    assert (first["lr"], first["status"], first["time"]) == ("1", "2 of 2 seeds", "virtual")
    assert (first["auc"], first["± auc"], first["seconds"]) == (pytest.approx(0.7), pytest.approx(0.02**0.5), 12.0)
    assert (second["auc"], second["± auc"], second["seconds"]) == (None, None, 6.0)
    assert second["status"] == "2 of 3 seeds"
    assert "seed" not in first


def test_a_combination_of_which_no_seed_ended_has_no_figures():
    (only,) = together([{"point": "1", "lr": "1", "seed": "42", "status": "it broke"}], ["lr", "seed"])
    assert only == {"point": "1", "lr": "1", "status": "0 of 1 seeds", "seeds": 0}
