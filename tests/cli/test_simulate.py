from __future__ import annotations

import io
import json
import os
import pty
import re
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from fedmed.cli.simulate import summary
from tests.report import sample

KEYS = {
    "scenario",
    "seed",
    "engine",
    "rounds",
    "overall",
    "sites",
    "sites_missing",
    "bytes",
    "seconds",
    "model_sha256",
}
ESCAPE = "\x1b["


@pytest.fixture(scope="module")
def finished(apart, wards, tmp_path_factory) -> tuple[subprocess.CompletedProcess[str], Path]:
    """A whole run in processes, with the models to compare with."""
    out = tmp_path_factory.mktemp("runs") / "run"
    settings = ["--set", "engine.workers=1", "--set", "evaluation.baselines=true", "--seed", "7", "--rounds", "3"]
    done = apart("simulate", wards / "bedside.yaml", "--data", wards, "--out", out, *settings, "--json")
    return done, out


def test_json_is_all_there_is_on_standard_output(finished):
    done, out = finished
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert done.stdout.count("\n") == 1
    assert set(report) >= KEYS
    assert (report["seed"], report["engine"], len(report["rounds"])) == (7, "inprocess", 3)
    assert report["scenario"]["rounds"] == 3
    assert {"auc", "accuracy", "balanced_accuracy", "sensitivity", "specificity"} <= set(report["overall"]["metrics"])
    assert set(report["sites"]) == {"east", "north", "west"}
    for site in report["sites"].values():
        assert site["rounds_joined"] == 3
        assert {"federated", "local", "pooled"} <= set(site)
    assert report["sites_missing"] == {}
    assert report["bytes"]["down"] > 0 < report["bytes"]["up"]
    assert re.fullmatch("[0-9a-f]{64}", report["model_sha256"])
    assert json.loads((out / "report.json").read_text()) == report


def test_the_folder_holds_the_model_the_report_and_the_commits(finished):
    _, out = finished
    assert {"model.safetensors", "report.json", "report.html", "commits"} <= {path.name for path in out.iterdir()}
    assert not (out / "sites").exists()


def test_progress_without_a_terminal_is_plain_lines_on_standard_error(finished):
    done, _ = finished
    lines = done.stderr.splitlines()
    assert ESCAPE not in done.stderr
    assert "\r" not in done.stderr
    assert any("preparing bedside" in line for line in lines)
    assert any("3 sites: east" in line for line in lines)
    rounds = [line for line in lines if line.startswith("round ")]
    assert [line.split(":")[0] for line in rounds] == ["round 1/3", "round 2/3", "round 3/3"]
    assert all(re.search(r"train loss \d+\.\d{3}.*AUC \d\.\d{3}.*about \d+ s", line) for line in rounds), rounds
    assert sum(line.startswith("compared: ") for line in lines) == 4
    assert not [line for line in lines if "Warning" in line or "Traceback" in line or "INFO" in line], done.stderr


def test_a_folder_that_holds_a_run_is_refused_without_resume(finished, said, wards):
    _, out = finished
    code, _, err = said("simulate", wards / "bedside.yaml", "--data", wards, "--out", out)
    assert code == 2
    assert "holds a run already; add --resume" in err


@pytest.mark.parametrize(
    ("holds", "text"),
    [
        (None, "leave --resume out to start one there"),
        ("mine.txt", "leave --resume out, and give an empty or a new folder"),
        ("design.json", "it holds a sweep: repeat its command, --sweep included"),
    ],
)
def test_a_resume_where_there_is_no_run_says_what_would_do(said, wards, tmp_path, holds, text):
    if holds:
        (tmp_path / holds).touch()
    code, _, err = said("simulate", wards / "bedside.yaml", "--data", wards, "--out", tmp_path, "--resume")
    assert code == 2
    assert err == f"fedmed: --resume: {tmp_path} holds no run to go on with; {text}\n"


def test_resuming_with_another_scenario_is_refused_with_the_difference(finished, said, wards):
    _, out = finished
    settings = ["--set", "engine.workers=1", "--set", "evaluation.baselines=true", "--seed", "8", "--rounds", "3"]
    code, _, err = said("simulate", wards / "bedside.yaml", "--data", wards, "--out", out, "--resume", *settings)
    assert code == 5
    assert re.search(r"seed.*7.*8", err)


def test_the_report_can_be_written_anew(finished, said):
    _, out = finished
    before = (out / "report.html").read_bytes()
    (out / "report.html").unlink()
    code, said_out, _ = said("report", out)
    assert (code, said_out.strip()) == (0, str((out / "report.html").resolve()))
    assert (out / "report.html").read_bytes() == before
    code, said_out, _ = said("report", out, "--json")
    assert json.loads(said_out) == {"report": str((out / "report.html").resolve())}


def test_without_json_a_person_reads_a_summary(said, wards, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = said("simulate", wards / "bedside.yaml", "--data", wards, "--set", "strategy.name=fedprox")
    assert code == 0, err
    lines = out.splitlines()
    assert lines[0] == "Three wards: complete"
    assert re.match(r"  pooled test \(36 cases\): AUC \d\.\d{3} \(\d\.\d{3}–\d\.\d{3}\), accuracy \d", lines[1])
    assert [line.split(":")[0].strip() for line in lines[2:5]] == ["east", "north", "west"]
    assert all("2 rounds joined" in line for line in lines[2:5])
    assert lines[-1].endswith(str(tmp_path / "runs" / "bedside" / "report.html"))
    assert not {"proximal_mu", "WARNING", "INFO"} & set(re.findall(r"\w+", err))  # what Flower says is not true here
    said("simulate", wards / "bedside.yaml", "--data", wards, "--rounds", "1")
    assert (tmp_path / "runs" / "bedside-2" / "report.html").is_file()


@pytest.mark.parametrize(
    ("made", "colour", "sentence"),
    [
        (sample.report, "\x1b[1;31m", "Secure aggregation is off: the center saw every site's update, counts and metrics."),
        (
            lambda: sample.masked("hbc"),
            "\x1b[33m",
            "Secure aggregation in mode hbc, which is weaker: the center was trusted",
        ),
        (sample.masked, "", "What the center could learn: sums over at least 3 of 4 sites."),
    ],
    ids=["off", "hbc", "on"],
)
def test_the_summary_ends_with_what_the_center_could_learn(made, colour, sentence, tmp_path):
    report = made() | {"kind": "classification", "set_aside": {}}
    report["chosen"] = {"choose": "best", "round": 7, "measure": "auc", "value": 0.9124, "error": None}
    said = summary(report, tmp_path)
    plain = said.plain.splitlines()
    assert any(line.startswith(f"  {sentence}") for line in plain[-3:-1])
    assert plain[-1].endswith("report.html")
    assert f"  Each site's figures are measured by {report['evaluated_by']}." in plain
    assert any(line.startswith("  The model of round 7, chosen by the federation's own validation") for line in plain)
    screen = io.StringIO()
    Console(file=screen, force_terminal=True, color_system="standard", width=300, highlight=False).print(said)
    assert f"{colour}  {sentence}" in screen.getvalue()
    assert ("\x1b" in screen.getvalue()) == bool(colour)


def test_the_data_folder_may_come_from_the_environment(said, wards, tmp_path, monkeypatch):
    monkeypatch.setenv("FEDMED_DATA", str(wards))
    code, out, err = said("simulate", wards / "bedside.yaml", "--rounds", "1", "--out", tmp_path / "run", "--json")
    assert code == 0, err
    assert len(json.loads(out)["rounds"]) == 1


def test_a_terminal_shows_a_bar(command, wards, tmp_path):
    ours, theirs = pty.openpty()
    done = subprocess.Popen(
        [*command, "simulate", wards / "bedside.yaml", "--data", wards, "--out", tmp_path / "run", "--json"],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "120"},
    )
    os.close(theirs)
    screen = b""
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        screen += piece
    os.close(ours)
    out, _ = done.communicate(timeout=60)
    text = screen.decode()
    assert done.returncode == 0, text
    assert json.loads(out)["status"] == "complete"
    assert ESCAPE in text
    assert "rounds" in text
    assert "2/2" in text
    assert "━" in text
    assert "train loss" in text
    assert "round 1/2:" not in text  # no plain lines beside the bar


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 60
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)


def test_ctrl_c_ends_all_processes_cleanly_and_the_run_goes_on_later(command, said, wards, tmp_path):
    run = ["simulate", wards / "bedside.yaml", "--data", wards, "--out", tmp_path / "run"]
    run += ["--rounds", "60", "--set", "engine.workers=1"]
    with subprocess.Popen(
        [*command, *map(str, run)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        wait_for(tmp_path / "run" / "commits" / "round-000002", process)
        family = psutil.Process(process.pid).children(recursive=True)
        assert len(family) > 1
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to every process of the command
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in err
    stopped = re.search(r"stopped; (\d+) of 60 rounds are committed in .*--resume", err)
    assert stopped, err
    assert 2 <= int(stopped[1]) < 60
    assert not psutil.wait_procs(family, timeout=10)[1]
    code, out, err = said(*run, "--resume", "--json")
    assert code == 0, err
    assert f"going on after round {stopped[1]}" in err
    assert [record["round"] for record in json.loads(out)["rounds"]] == list(range(1, 61))
