from __future__ import annotations

import csv
import io

from fedmed.report.record import Report
from fedmed.report.rounds import table
from tests.report import sample


def test_every_round_is_a_line_with_its_figures():
    made = sample.report(rounds=3)
    made["rounds"][1] |= {"joined": made["rounds"][1]["cohort"][1:], "missing": {"va": 'a "reason", with; signs'}}
    made["rounds"][2]["validation"] = None
    rows = list(csv.DictReader(io.StringIO(table(Report.model_validate(made)))))
    assert [row["round"] for row in rows] == ["1", "2", "3"]
    assert float(rows[2]["ended"]) == sum(each["seconds"] for each in made["rounds"])
    assert (rows[1]["cohort"], rows[1]["joined"], rows[1]["missing"]) == ("4", "3", "1")
    assert rows[1]["missing_why"] == 'va: a "reason", with; signs'
    assert float(rows[0]["validation_auc"]) == made["rounds"][0]["validation"]["auc"]
    assert rows[2]["validation_auc"] == rows[0]["validation_dice"] == ""
