from __future__ import annotations

from fedmed.report.page import render
from fedmed.report.record import Report
from tests.report import sample
from tests.report.test_virtual import virtual

USE = {"work_s": 50.0, "line_s": 25.0, "idle_s": 25.0, "down_bytes": 2e6, "up_bytes": 1e6, "kwh": 0.25}
ROW = {"who": "<va>", "bars": [[100.0, 130.0, "down"], [130.0, 900.0, "work"]], "lost": "dark"}
GANTT = {"round": 2, "began": 100.0, "ended": 1000.0, "rows": [ROW], "more": 3}


def test_the_longest_round_and_each_sites_time_are_shown():
    text = render(Report.model_validate(virtual(gantt=GANTT, use={"va": USE})))
    assert "Who did what in round 2" in text
    assert "the longest one, 15 min 0 s, in virtual time; 3 more sites that ended before these" in text
    assert "&lt;va&gt;: work, 12 min 50 s" in text
    assert "no answer: dark" in text
    assert "<td>50%</td><td>25%</td><td>25%</td><td>2 MB</td><td>1 MB</td><td>0.25 kWh</td>" in text


def test_without_a_round_there_is_the_table_alone():
    text = render(Report.model_validate(virtual(use={"va": USE | {"kwh": None}})))
    assert "Who did what" not in text
    assert "Virtual time, by site" in text


def test_a_run_in_the_machines_own_time_has_neither():
    assert "Virtual time, by site" not in render(Report.model_validate(sample.masked()))
