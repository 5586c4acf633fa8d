from __future__ import annotations

from fedmed.report.gantt import picture
from fedmed.report.page import render
from fedmed.report.record import Report
from fedmed.report.timed import Gantt
from tests.report import sample
from tests.report.test_virtual import virtual

USE = {"work_s": 50.0, "line_s": 25.0, "idle_s": 25.0, "down_bytes": 2e6, "up_bytes": 1e6, "kwh": 0.25}
ROW = {
    "who": "<va>",
    "bars": [[100.0, 130.0, "down"], [130.0, 400.0, "work"], [400.0, 900.0, "gone"]],
    "lost": "no answer by the deadline of 800 s: dark",
}
GANTT = {"round": 2, "began": 100.0, "closed": 900.0, "deadline": 900.0, "ended": 1000.0, "rows": [ROW], "more": 3}


def test_the_longest_round_and_each_sites_time_are_shown():
    text = render(Report.model_validate(virtual(gantt=GANTT, use={"va": USE})))
    assert "Who did what in round 2" in text
    assert "the longest one, 15 min 0 s, in virtual time; last answers on top; 3 more sites not shown" in text
    assert "&lt;va&gt;: work, or waiting for those below, 4 min 30 s" in text
    assert ">by the deadline: dark</text>" in text
    assert "<title>no answer by the deadline of 800 s: dark</title>" in text
    assert "closed at the deadline" in text
    assert "nothing comes of it" in text
    assert "waiting for the others" not in text
    assert "<td>50%</td><td>25%</td><td>25%</td><td>2 MB</td><td>1 MB</td><td>0.25 kWh</td>" in text


def test_without_a_round_there_is_the_table_alone():
    text = render(Report.model_validate(virtual(use={"va": USE | {"kwh": None}})))
    assert "Who did what" not in text
    assert "Virtual time, by site" in text


def test_a_run_in_the_machines_own_time_has_neither():
    assert "Virtual time, by site" not in render(Report.model_validate(sample.masked()))


def test_a_deadline_that_was_not_needed_stands_beside_the_end():
    text = str(picture(Gantt.model_validate(GANTT | {"closed": 300.0})))
    assert ">training closed</text>" in text
    assert ">deadline</text>" in text
    assert ">deadline</text>" not in str(picture(Gantt.model_validate(GANTT | {"closed": 300.0, "deadline": 2000.0})))


def test_a_reason_stands_within_the_chart_however_little_room_there_is():
    row = {"who": "a", "bars": [[100.0, 999.0, "down"]], "lost": "x" * 300}
    text = str(picture(Gantt.model_validate(GANTT | {"rows": [row]})))
    assert f"<title>{'x' * 300}</title>" in text
    assert "x…</text>" in text
    assert text.index('class="plate"') < text.index("x…</text>")  # on a plate: not on the colour of a bar
    assert picture(None) == picture(Gantt.model_validate(GANTT | {"rows": []})) == ""


def test_on_a_telephone_a_round_is_scrolled_and_not_shrunk():
    assert '<div class="scroll" tabindex="0"><svg' in str(picture(Gantt.model_validate(GANTT)))


def test_sites_stand_in_the_order_of_the_run():
    whole = virtual(use={"zz": USE, "basel": USE, "va": USE})
    site = next(iter(whole["sites"].values()))
    text = render(Report.model_validate(whole | {"sites": {"va": site, "basel": site}}))
    rows = text[text.index("Virtual time, by site") :]
    assert rows.index(">va</th>") < rows.index(">basel</th>") < rows.index(">zz</th>")
