from __future__ import annotations

from pathlib import Path

import pytest

from fedmed.errors import StoreError
from fedmed.report.record import Report, Round, read_report
from tests.report import sample


def test_a_site_that_was_asked_and_is_in_no_list_counts_as_missing():
    states = Round(round=1, cohort=["a", "b"], joined=["a"]).states()
    assert states["a"] == ("joined", "")
    assert states["b"] == ("missing", "asked, and in no list of the round")


def test_every_state_keeps_its_reason():
    found = Round(
        round=1,
        cohort=list("abcd"),
        joined=["a", "c"],
        missing={"b": "died"},
        refused={"c": "not finite"},
        late=["d"],
    )
    assert found.states() == {
        "a": ("joined", ""),
        "b": ("missing", "died"),
        "c": ("refused", "not finite"),
        "d": ("late", "answered after the deadline"),
    }


def test_what_only_the_summary_lists_as_missing_is_missing_all_the_same():
    made = sample.report()
    made["sites_missing"] = {"3": ["va"], "4": ["a site that no round names"]}
    presence = Report.model_validate(made).presence()
    assert presence["va"][3][0] == "missing"
    assert presence["a site that no round names"][4][0] == "missing"


def test_numbers_that_are_not_finite_are_undefined(tmp_path: Path):
    made = sample.report()
    made["rounds"][0]["train"]["loss"] = float("nan")
    made["sites"]["va"]["federated"]["auc"] = float("inf")
    found = read_report(sample.write(tmp_path, made) / "report.json")
    assert found.rounds[0].train.loss is None
    assert found.sites["va"].federated["auc"].value is None


def test_a_bare_number_is_a_metric_without_an_interval():
    found = Report.model_validate({"overall": {"metrics": {"auc": 0.9, "accuracy": None}}})
    assert found.overall.metrics["auc"].value == 0.9
    assert found.overall.metrics["auc"].low is None
    assert found.overall.metrics["accuracy"].value is None


def test_a_folder_without_a_record_is_refused_with_what_to_do(tmp_path: Path):
    with pytest.raises(StoreError, match=r"report\.json: cannot be read: .*give the folder of a finished run"):
        read_report(tmp_path / "report.json")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"rounds": 3}', '{"rounds": [{"round": "x"}]}', '{"status": "\\ud800"}'])
def test_what_is_no_report_is_refused(tmp_path: Path, text: str):
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(StoreError, match="is no report of fedmed"):
        read_report(tmp_path / "report.json")
