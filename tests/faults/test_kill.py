"""A run as a real tree of processes: killed, interrupted, orphaned, out of disk; and taken up again."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks import killing
from fedmed.errors import ConfigError, FedmedError, QuorumError, ResumeRefused, StoreError
from fedmed.store.commits import Commits

GONE_S = 5.0


def rounds_of(out: Path) -> int:
    commit, faults = Commits(out).latest()
    assert faults == []
    return commit.round


def is_gone(process: subprocess.Popen[str], shared: set[str]) -> bool:
    """Whether nothing is left, after a few seconds at most, of a command whose first process has ended."""
    end = time.monotonic() + GONE_S
    while killing.family(process) or any(Path(folder).exists() for folder in shared):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


class Trials:
    """What may befall a run; each starts or resumes it and leaves it unfinished. Returns the rounds committed."""

    def __init__(self, inputs: Path, out: Path) -> None:
        self.inputs, self.out, self.draw = inputs, out, random.Random(5)

    def begin(self, lines: int) -> subprocess.Popen[str]:
        process = killing.start(self.inputs, self.out)
        killing.wait_for_lines(process, self.out, len(killing.events(self.out)) + lines)
        return process

    def full_disk_at_the_sites(self) -> int:
        def small_files_only() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (25_000, 25_000))  # what the sites' ledgers outgrow first

        return self.ends_with(killing.start(self.inputs, self.out, before=small_files_only), QuorumError)

    def full_disk_at_the_center(self) -> int:
        process = self.begin(20)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (6_000, 6_000))  # its site processes keep theirs
        return self.ends_with(process, StoreError)

    def ends_with(self, process: subprocess.Popen[str], error: type[FedmedError]) -> int:
        said, told = process.communicate(timeout=60)
        assert (process.returncode, said) == (error.exit_code, "")
        assert "Traceback" not in told
        assert "File too large" in told or "the disk is full" in told
        assert "--resume" in told
        return rounds_of(self.out)

    def kill_all(self) -> int:
        process = self.begin(self.draw.randint(8, 60))
        time.sleep(self.draw.uniform(0, 0.02))
        killing.kill(process)
        assert process.returncode == -signal.SIGKILL
        return rounds_of(self.out)

    def kill_the_first(self) -> int:
        process = self.begin(20)
        family = killing.family(process)
        shared = set().union(*family.values())
        os.kill(process.pid, signal.SIGKILL)
        process.communicate(timeout=30)
        assert (len(family), len(shared)) == (5, 1), "the command, its two helpers and two site processes"
        assert is_gone(process, shared)
        return rounds_of(self.out)

    def interrupt(self) -> int:
        process = self.begin(20)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does, to every process of the command
        said, told = process.communicate(timeout=30)
        assert (process.returncode, said) == (130, "")
        assert "Traceback" not in told
        rounds = rounds_of(self.out)
        assert f"fedmed: stopped; {rounds} of 30 rounds are committed in {self.out}" in told
        assert "--resume" in told
        assert not (self.out / "sites").exists(), "no case stays behind"
        assert is_gone(process, set())
        return rounds


@pytest.fixture(scope="module")
def undisturbed(simulated, tmp_path_factory):
    """The report of a run that nothing befalls, and its folder."""
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    return simulated(folder), folder


@pytest.mark.nightly  # a full disk at the center, and at a gate (tests/outbound/test_gate.py), are in the suite
def test_sites_whose_disk_is_full_stop_the_run_which_ends_in_the_same_bits(inputs, simulated, undisturbed, tmp_path):
    trials = Trials(inputs, tmp_path / "run")
    reached = trials.full_disk_at_the_sites()
    assert 0 < reached < 30
    report = simulated(trials.out, resume=True)
    assert (report["model_sha256"], report["resumed"]) == (undisturbed[0]["model_sha256"], [reached])


@pytest.mark.parametrize(
    "befalls",
    [
        ("full_disk_at_the_center", "kill_the_first"),
        # Each trial starts the whole tree; in the suite, tests/cli/test_simulate.py interrupts one.
        pytest.param(("full_disk_at_the_center", "kill_all", "interrupt", "kill_the_first"), marks=pytest.mark.nightly),
    ],
    ids=len,
)
def test_whatever_befalls_a_run_it_ends_in_the_same_bits(inputs, simulated, undisturbed, tmp_path, befalls):
    undisturbed, whole = undisturbed
    trials = Trials(inputs, tmp_path / "run")
    reached = [getattr(trials, each)() for each in befalls]
    assert reached[0] > 0
    assert reached[-1] < 30
    assert reached == sorted(reached)

    report = simulated(trials.out, resume=True)
    assert report["model_sha256"] == undisturbed["model_sha256"]
    assert (report["status"], report["resumed"]) == ("complete", sorted(set(reached)))
    assert [record["round"] for record in report["rounds"]] == list(range(1, 31))
    for record, other in zip(report["rounds"], undisturbed["rounds"], strict=True):
        assert (record["train"], record["validation"]) == (other["train"], other["validation"])
    assert sorted(path.name for path in trials.out.iterdir()) == sorted(path.name for path in whole.iterdir())
    assert [path.name for path in (trials.out / "commits").iterdir() if path.name.startswith(".")] == []


def test_a_site_deep_in_its_work_does_not_outlive_a_killed_run(tmp_path):
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-m", "tests.faults.sleeper"]
    process = subprocess.Popen(command, cwd=root, start_new_session=True, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "asleep\n"
    family = killing.family(process)
    shared = set().union(*family.values())
    process.kill()
    process.communicate()
    assert (len(family), len(shared)) == (5, 1)
    assert is_gone(process, shared)


def test_a_changed_scenario_is_refused_and_the_difference_shown(simulated, tmp_path):
    out = tmp_path / "run"
    simulated(out, "rounds=1", "engine.workers=0")
    before = sorted((path, path.stat().st_mtime_ns) for path in out.rglob("*") if path.is_file())
    with pytest.raises(ResumeRefused) as caught:
        simulated(out, "rounds=2", "engine.workers=0", "training.learning_rate=0.5", resume=True)
    assert "rounds: 1 -> 2" in str(caught.value)
    assert "training.learning_rate: 0.05 -> 0.5" in str(caught.value)
    with pytest.raises(ConfigError, match="holds a run already; add --resume"):
        simulated(out, "rounds=1", "engine.workers=0")
    assert sorted((path, path.stat().st_mtime_ns) for path in out.rglob("*") if path.is_file()) == before


def test_a_scenario_changed_in_the_run_s_own_folder_is_refused_too(simulated, tmp_path):
    out = tmp_path / "run"
    simulated(out, "rounds=1", "engine.workers=0")
    path = out / "scenario.yaml"
    path.write_text(path.read_text().replace("learning_rate: 0.05", "learning_rate: 0.5"))
    with pytest.raises(ResumeRefused, match=r"training.learning_rate: 0\.05 -> 0\.5"):
        simulated(out, "rounds=1", "engine.workers=0", "training.learning_rate=0.5", resume=True)


def test_changed_data_are_refused(simulated, inputs, tmp_path):
    out, cases = tmp_path / "run", inputs / "cases.csv"
    simulated(out, "rounds=1", "engine.workers=0")
    before = cases.read_text()
    try:
        cases.write_text(before.replace("ill", "swap").replace("well", "ill").replace("swap", "well"))
        with pytest.raises(ResumeRefused, match="has changed: SHA-256"):
            simulated(out, "rounds=1", "engine.workers=0", resume=True)
    finally:
        cases.write_text(before)
