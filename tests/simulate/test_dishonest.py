from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks import killing
from fedmed.cli.simulate import summary
from fedmed.config.loading import load
from fedmed.errors import ConfigError
from fedmed.federation.journal import events
from fedmed.privacy.secagg import taking_part
from fedmed.privacy.secagg.attacks import Attack
from fedmed.report.dishonest import line
from fedmed.report.record import Report
from fedmed.simulate import dishonest
from fedmed.simulate.lies import LIES
from fedmed.simulate.run import Request, simulate
from fedmed.simulate.traces import NAME as TRACE
from fedmed.store.commits import Commits
from tests.simulate.test_virtual import SITES, clinics

LYING = {"kind": "lies", "who": "center", "at": "0 s"}
CENTERS = {Attack.FALSE_UPLOAD, Attack.BAD_SHARE}
"""What a center refuses."""
OF_MANY = {Attack.LATE_NONCE, Attack.CUT_GRAPH}
"""What there is beyond 128 members alone."""
Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs five sites, with these faults, for three rounds; no processes, so that what is put in members' place is there."""
    killing.write_inputs(tmp_path / "five", SITES)

    def made(*faults: dict[str, Any], overrides: tuple[str, ...] = (), out: str = "run", **more: Any) -> dict[str, Any]:
        told = yaml.safe_load((tmp_path / "five" / "tiny.yaml").read_text())
        told |= {"rounds": 3, "engine": {"workers": 0}, "topology": clinics(faults=list(faults), **more.pop("topology", {}))}
        (tmp_path / "scenario.yaml").write_text(json.dumps(told))
        return simulate(Request(load(tmp_path / "scenario.yaml", overrides), tmp_path / "five", tmp_path / out, **more))

    return made


def told(folder: Path, event: str) -> list[dict[str, Any]]:
    return [each for each in events(folder) if each["event"] == event]


def honest_lines(folder: Path) -> Iterator[bytes]:
    """The journal without its lies."""
    for line_ in (folder / "journal.jsonl").read_bytes().splitlines():
        if json.loads(line_)["event"] != "lie":
            yield line_


def test_every_lie_is_told_and_refused_as_what_it_is_and_changes_nothing(run, tmp_path):
    report, honest = run(LYING), run(out="honest")
    lies = told(tmp_path / "run", "lie")
    assert {(each["kind"], each["how"]) for each in lies} == {
        (attack.value, how) for step, kinds in LIES.items() if step != "commit" for attack, how, _ in kinds
    }
    assert {each["kind"] for each in lies} == {each.value for each in set(Attack) - CENTERS - OF_MANY}
    assert all(each["answer"].startswith(f"Refused: {each['kind']}: ") and not each["is_answered"] for each in lies)
    assert {each["site"] for each in lies} == set(SITES)
    assert {each["round"] for each in lies} == {0, 1, 2, 3}
    # the model, the trace, what was confirmed and by whom, and what left each site: all as if nobody had lied
    assert report["model_sha256"] == honest["model_sha256"]
    assert (tmp_path / "run" / TRACE).read_bytes() == (tmp_path / "honest" / TRACE).read_bytes()
    assert list(honest_lines(tmp_path / "run")) == list(honest_lines(tmp_path / "honest"))
    assert "lies" not in honest


def test_the_report_tells_how_many_of_which_kind_and_that_no_sum_was_over_too_few(run, tmp_path):
    report = run(LYING)
    found = report["lies"]
    assert found["told"] == sum(each["told"] for each in found["kinds"]) == len(told(tmp_path / "run", "lie"))
    assert (found["answered"], found["least"], found["fewest"]) == (0, 3, 5)
    assert all(each["refused"] == {each["kind"]: each["told"]} for each in found["kinds"])
    page = (tmp_path / "run" / "report.html").read_text()
    assert "What did the center ask that it must not?" in page
    assert "a cohort of this clinic alone" in page
    said = f"The center told {found['told']} lies of 13 kinds beside the honest rounds: sites refused every one."
    assert line(Report.model_validate(report)).startswith(said)
    assert said in summary(report, tmp_path / "run").plain
    assert f"The smallest of {found['sums']} sums that the rounds asked for was over 5 sites; allowed: 3 and more." in page


def test_a_member_that_answers_a_lie_is_seen(run, tmp_path, monkeypatch):
    """It reveals its shares whoever confirmed; the honest rounds go on, for their survivors are the same."""
    monkeypatch.setattr(taking_part, "_check_quorum", lambda *_: None)
    report = run(LYING)
    (seen,) = [each for each in report["lies"]["kinds"] if each["answered"]]
    assert seen["kind"] == Attack.NO_QUORUM.value
    assert report["lies"]["answered"] == seen["told"] == len(seen["answered"]) > 0
    assert f"SITES ANSWERED {seen['told']}." in line(Report.model_validate(report))
    assert "banner bad" in (tmp_path / "run" / "report.html").read_text().split("</style>")[1]


def test_lies_are_the_same_bytes_whatever_the_number_of_processes(run, tmp_path):
    for workers in ("0", "2"):
        run(LYING, overrides=(f"engine.workers={workers}", "rounds=2"), out=workers)
    for name in ("journal.jsonl", TRACE):
        assert (tmp_path / "0" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


def test_members_that_drop_out_answer_no_lie_either(run, tmp_path):
    away = [{"kind": "dark", "who": f"all/{number}", "every": "4 min", "lasts": "90 s"} for number in (2, 3)]
    report = run(LYING, *away, overrides=("federation.deadline_s=60", "rounds=8"))
    assert any(each["missing"] for each in report["rounds"])
    assert report["lies"]["answered"] == 0
    assert report["lies"]["fewest"] >= report["lies"]["least"] == 3


def test_lies_begin_and_end_when_the_fault_does(run, tmp_path):
    run({**LYING, "at": "30 s", "lasts": "60 s"}, overrides=("rounds=4",))
    began, lies = told(tmp_path / "run", "virtual")[0]["unix"], told(tmp_path / "run", "lie")
    assert lies
    assert all(30 <= each["unix"] - began <= 150 for each in lies), "an answer comes within a round of the lie"
    assert {each["round"] for each in lies}.isdisjoint({0, 4})


def test_a_run_that_is_taken_up_again_lies_on_and_counts_no_lie_twice(run, tmp_path):
    whole = run(LYING)
    last = Commits(tmp_path / "run").latest()[0]
    assert last is not None
    shutil.rmtree(tmp_path / "run" / "commits" / f"round-{last.round:06d}")
    again = run(LYING, resume=True)
    assert again["resumed"] == [2]
    assert again["model_sha256"] == whole["model_sha256"]
    lies = told(tmp_path / "run", "lie")
    before = [each for each in lies[: whole["lies"]["told"]] if each["round"] <= 2]
    assert again["lies"]["told"] == len(before) + len(lies) - whole["lies"]["told"]
    assert again["lies"]["answered"] == 0


@pytest.mark.parametrize(
    ("fault", "topology", "overrides", "said"),
    [
        ({}, {}, ("engine.name=ray",), "got ray; allowed where the center lies: inprocess"),
        ({}, {}, ("privacy.secure_aggregation=hbc",), "privacy.secure_aggregation: malicious"),
        ({}, {"masks": "none"}, (), "topology.masks: real"),
        ({"at": None, "every": "1 h"}, {}, (), "got every; allowed: at"),
    ],
)
def test_what_lies_cannot_be_played_in_is_refused_by_name(run, tmp_path, fault, topology, overrides, said):
    wished = {key: value for key, value in {**LYING, **fault}.items() if value is not None}
    with pytest.raises(ConfigError) as caught:
        run(wished, topology=topology, overrides=overrides)
    assert said in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_journal_without_lies_tells_of_none(tmp_path):
    (tmp_path / "journal.jsonl").write_text('{"event": "epoch", "least": 3}\n')
    assert dishonest.told(tmp_path) == {}
