from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest

from fedmed.errors import StoreError
from fedmed.report import write_report
from fedmed.report.formats import kind_of
from fedmed.report.modelled import page, read, reasons_of, table


def attempt(number: int, **more: Any) -> dict[str, Any]:
    whole = {"number": number, "attempt": 1, "began": 10.0 * number, "closed": 10.0 * number + 8, "verdict": "complete"}
    whole |= {"asked": 5, "joined": 5, "devices": 0, "down_bytes": 5e6, "up_bytes": 5e6, "missing": {}, "is_short": False}
    return {**whole, **more}


TOLD = {
    "scenario": {"title": "A <title>", "rounds": 2},
    "masks": "timed",
    "seconds": 28.0,
    "median_s": 8.0,
    "rounds": [
        attempt(1),
        attempt(2, joined=3, missing={"a": "no answer: away for 72 s", "b": "no answer: away for 9 s"}),
    ],
}


def test_reasons_are_counted_without_what_was_measured():
    assert reasons_of(TOLD) == [("2", "no answer: away")]
    assert kind_of("east: no answer by the deadline of 303 s (8 took 69-88 s (0.0 s)): dark for 360 s") == (
        "east: no answer by the deadline: dark"
    )


def test_the_page_says_what_it_is_of_and_escapes_what_is_not_its_own():
    told = page(TOLD)
    assert "Learning was modelled" in told
    assert "Masks were not made" in told
    assert "A &lt;title&gt;" in told
    assert "2 of 2 rounds in 28.0 s" in told
    assert "10 MB went down to clinics, and the updates in the sums were 10 MB." in told


def test_where_nobody_was_missing_it_says_so():
    assert "No clinic was missing in any round." in page({**TOLD, "rounds": [attempt(1)]})
    assert "No clinic was missing in any round." not in page(TOLD)


def test_reasons_beyond_the_most_frequent_are_counted_together():
    gone = {f"a{letter}{number}": f"reason {letter}" for letter in "abcdefghijklmno" for number in range(100)}
    rows = reasons_of({"rounds": [attempt(number, missing=gone) for number in range(12)]})
    assert rows[0][0] == "1,200"
    assert rows[-1] == ("3,600", "other reasons; see report.json")


def test_a_run_without_a_round_has_a_page():
    assert "No round came to an end" in page({**TOLD, "rounds": [], "seconds": 0.0, "median_s": None})


def test_the_page_is_written_anew_from_its_record(tmp_path):
    (tmp_path / "report.json").write_text(json.dumps(TOLD | {"learning": "modelled"}))
    assert write_report(tmp_path).read_text() == page(TOLD)


@pytest.mark.parametrize("text", ["[]", "{", '{"learning": "real"}'])
def test_a_record_of_another_kind_is_none(tmp_path, text):
    (tmp_path / "report.json").write_text(text)
    assert read(tmp_path / "report.json") is None
    assert read(tmp_path / "none.json") is None


@pytest.mark.parametrize(
    "damage", [{"rounds": None}, {"rounds": [{}]}, {"masks": "?"}, {"seconds": "a"}, {"answers": {"tiers": 1}}]
)
def test_a_damaged_record_is_refused(tmp_path, damage):
    (tmp_path / "report.json").write_text(json.dumps(TOLD | {"learning": "modelled"} | damage))
    with pytest.raises(StoreError, match=r"report.json: is no report of fedmed .*; run the scenario anew"):
        write_report(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_a_row_an_attempt():
    rows = list(csv.DictReader(io.StringIO(table(TOLD))))
    assert [row["number"] for row in rows] == ["1", "2"]
    assert rows[1]["missing"] == "a: no answer: away for 72 s; b: no answer: away for 9 s"
