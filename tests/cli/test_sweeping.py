from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from fedmed.cli import sweeping
from fedmed.simulate.sweep import points

MODELLED = """\
name: small
title: Six clinics
rounds: 2
data: {reader: phantom}
task: {name: image, model_options: {widths: [8, 16]}}
training: {batch_size: 16, epochs: 1}
topology:
  learning: modelled
  masks: none
  lines:
    dsl: {up: 10 Mbit/s, down: 50 Mbit/s, latency: 20 ms}
  center: {line: dsl}
  clinics:
    - {name: ward, count: 6, machine: t4, line: dsl}
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(MODELLED)
    return path


def test_a_run_for_each_combination_and_those_that_are_done_are_not_run_again(small, tmp_path, said):
    out = tmp_path / "sweep"
    asked = ("simulate", str(small), "--sweep", "topology.lines.dsl.up=10 Mbit/s,1 Mbit/s", "--out", str(out), "--json")
    code, shown, _ = said(*asked)
    assert code == 0
    fast, slow = json.loads(shown)
    assert fast["seconds"] < slow["seconds"]
    assert {path.name for path in out.iterdir()} == {"design.json", "sweep.json", "sweep.csv", "sweep.html", "points"}
    assert said(*asked)[0] == 2
    before = (out / "points" / "1" / "run" / "report.json").stat().st_mtime_ns
    shutil.rmtree(out / "points" / "2" / "run")
    code, again, _ = said(*asked, "--resume")
    assert code == 0
    assert json.loads(again) == [fast, slow]
    assert (out / "points" / "1" / "run" / "report.json").stat().st_mtime_ns == before


def test_a_run_that_fails_is_named_and_the_others_go_on(small, tmp_path, said):
    out = tmp_path / "sweep"
    box = MODELLED.replace("machine: t4", "machine: box")
    small.write_text(box.replace("  learning", "  machines: {box: {like: t4}}\n  learning"))
    wanted = "topology.machines.box.memory=1 MB,2 GB"
    code, shown, error = said("simulate", str(small), "--sweep", wanted, "--out", str(out), "--json")
    assert code not in (0, 2)
    assert "1 of 2 runs did not come to their end (1)" in error
    first, second = json.loads(shown)
    assert "seconds" not in first
    assert "box has" in first["status"]
    assert second["status"] == "complete"


def test_faults_of_every_combination_come_before_anything_runs(small, tmp_path, said):
    out = tmp_path / "sweep"
    code, _, error = said("simulate", str(small), "--sweep", "rounds=2,-1,x", "--out", str(out))
    assert code == 2
    assert "with rounds=-1" in error
    assert "with rounds=x" in error
    assert not out.exists()


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (("--target", "auc"), "METRIC=NUMBER"),
        (("--jobs", "0"), "--jobs: got 0"),
        (("--sweep", "rounds=3"), "more than once"),
    ],
)
def test_bad_options_say_what_is_allowed(small, tmp_path, said, more, text):
    code, _, error = said("simulate", str(small), "--sweep", "rounds=1,2", *more, "--out", str(tmp_path / "sweep"))
    assert code == 2
    assert text in error


def test_another_sweep_in_the_same_folder_is_refused(small, tmp_path):
    def options(*factors: str) -> sweeping.Options:
        return sweeping.Options(str(small), None, (), factors, None, 1, None, True, True)

    def claim(*factors: str) -> None:
        given = options(*factors)
        sweeping._claim(tmp_path / "sweep", given, points([sweeping.sweep.factor(text) for text in given.factors]))

    claim("rounds=1,2")
    claim("rounds=1,2")
    with pytest.raises(sweeping.ResumeRefused, match="another sweep"):
        claim("rounds=1,3")
