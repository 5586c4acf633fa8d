from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from fedmed.cli import sweeping
from fedmed.simulate.sweep import points

# Data and task of nation-of-500, whose cost is stored: no run has to start PyTorch to count it.
MODELLED = """\
name: small
title: Six clinics
rounds: 2
data: {reader: phantom, options: {share: 0.1}}
task: {name: scan, model: resnet18}
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
        (("--target", "auc=nan"), "above 0 to 1"),
        (("--target", "speed=0.5"), "auc or dice"),
        (("--repeats", "0"), "--repeats: got 0"),
        (("--sweep", "training.epochs=1,1.0"), "training.epochs"),
        (("--sweep", "nobody.knows=1"), "nobody"),
        (("--sweep", "seed="), "allowed: KEY=A,B"),
        (("--sweep", f"seed={','.join(map(str, range(501)))}"), "1,002 runs; allowed: 1,000"),
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
        return sweeping.Options(str(small), None, (), factors, None, 1, 1, None, True, True)

    def claim(*factors: str) -> None:
        given = options(*factors)
        sweeping._claim(tmp_path / "sweep", given, points([sweeping.sweep.factor(text) for text in given.factors]))

    first = dataclasses.replace(options("rounds=1,2"), resume=False)
    sweeping._claim(tmp_path / "sweep", first, points([sweeping.sweep.factor("rounds=1,2")]))
    claim("rounds=1,2")
    with pytest.raises(sweeping.ResumeRefused, match="another sweep"):
        claim("rounds=1,3")


def test_values_that_come_to_the_same_run_are_refused(small, tmp_path, said):
    code, _, error = said("simulate", str(small), "--sweep", "training.learning_rate=0.1,0.10", "--out", str(tmp_path / "x"))
    assert code == 2
    assert "with training.learning_rate=0.10: is the same run as training.learning_rate=0.1" in error


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--jobs", "2"), "--jobs: allowed with --sweep"),
        (("--repeats", "2"), "--repeats: allowed with --sweep"),
        (("--sweep", "rounds=1,2", "--resume"), "--resume needs --out"),
    ],
)
def test_options_that_belong_to_others_are_refused(small, said, options, text):
    code, _, error = said("simulate", str(small), *options)
    assert code == 2
    assert text in error


def test_a_folder_that_holds_something_else_or_is_damaged_is_refused(small, tmp_path, said):
    asked = ("simulate", str(small), "--sweep", "rounds=1,2", "--out")
    (tmp_path / "file").write_text("")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("")
    assert "cannot be a folder" in said(*asked, str(tmp_path / "file"))[2]
    assert "is not empty" in said(*asked, str(tmp_path / "full"))[2]
    assert "holds no sweep" in said(*asked, str(tmp_path / "none"), "--resume")[2]
    assert not (tmp_path / "none").exists()
    (tmp_path / "full" / "mine.txt").rename(tmp_path / "full" / "design.json")
    code, _, error = said(*asked, str(tmp_path / "full"), "--resume")
    assert code == 5
    assert "is damaged" in error


@pytest.mark.nightly  # two runs more
def test_repeats_are_seeds_and_their_means_are_told(small, tmp_path, said):
    out = tmp_path / "sweep"
    small.write_text(MODELLED.replace("machine: t4", "machine: t4, cases: {spread: 1.0}"))
    asked = ("simulate", str(small), "--sweep", "rounds=1,2", "--repeats", "2", "--jobs", "2", "--out", str(out), "--json")
    code, shown, error = said(*asked)
    assert code == 0
    assert "4 of 4 runs: " in error
    assert [(row["rounds"], row["seed"]) for row in json.loads(shown)] == [
        ("1", "42"),
        ("1", "43"),
        ("2", "42"),
        ("2", "43"),
    ]
    told = json.loads((out / "sweep.json").read_text())
    assert [(row["rounds"], row["status"]) for row in told["seeds"]] == [("1", "2 of 2 seeds"), ("2", "2 of 2 seeds")]
    assert told["seeds"][0]["± seconds"] > 0
    assert "Seeds together" in (out / "sweep.html").read_text()


def test_a_sweep_that_is_killed_leaves_nobody_behind_and_goes_on(wards, command, tmp_path):
    out = tmp_path / "sweep"
    asked = [*command, "simulate", str(wards / "bedside.yaml"), "--data", str(wards), "--set", "rounds=20"]
    asked += ["--sweep", "training.learning_rate=0.1,0.05", "--out", str(out), "--json"]
    sweep = subprocess.Popen(asked, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(lambda: list((out / "points").glob("1/run/commits/*")))
    child = int(Path(f"/proc/{sweep.pid}/task/{sweep.pid}/children").read_text().split()[0])
    os.kill(sweep.pid, signal.SIGKILL)
    sweep.wait()
    until(lambda: not is_alive(child))
    again = subprocess.run([*asked, "--resume"], capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    rows = json.loads(again.stdout)
    assert [row["rounds_done"] for row in rows] == [20] * 2
    assert '"resumed"' in (out / "points" / "1" / "run" / "journal.jsonl").read_text()
    assert all(row["time"] == "of this machine" for row in rows)
    assert "2 of 2 runs" in again.stderr
    assert "no scenario has a topology" in (out / "sweep.html").read_text()


def until(holds) -> None:
    for _ in range(600):
        if holds():
            return
        time.sleep(0.1)
    raise AssertionError("it did not come about within a minute")


def is_alive(process: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except OSError:
        return False
