"""A tiny federation as a real tree of processes, to be killed at chosen moments and taken up again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

SITES, CASES = ("north", "south", "west"), 40
ENDED_S, POLL_S = 120.0, 0.002
SCENARIO = """\
name: tiny
title: Three sites and a handful of numbers
rounds: 30
data:
  reader: csv
  options: {site: site}
task: {name: tabular}
training: {learning_rate: 0.05, momentum: 0.9, batch_size: 8, epochs: 1, average_last: 5}
strategy: {name: fedadam}
evaluation: {baselines: false}
engine: {workers: 2}
"""
PHASES = {
    "preparing": "preparing the sites",
    "met": "meeting the sites",
    "start": "meeting the sites",
    "resumed": "meeting the sites",
    "round": "training",
    "train": "training",
    "evaluate": "validating",
    "committed": "between two rounds",
    "end": "after the last round",
    "comparing": "training models to compare with",
    "compared": "training models to compare with",
    "evaluating": "writing the report",
    "done": "after the end",
}


def write_inputs(folder: Path, sites: Sequence[str] = SITES) -> None:
    """`tiny.yaml` and `cases.csv` in `folder`: sites whose labels follow from three numbers, roughly."""
    rng = np.random.default_rng(0)
    lines = ["a,b,c,site,label"]
    for site in sites:
        x = rng.normal(size=(CASES, 3))
        labels = np.where(x.sum(axis=1) + rng.normal(size=CASES) > 0, "ill", "well")
        lines += [f"{a:.4f},{b:.4f},{c:.4f},{site},{label}" for (a, b, c), label in zip(x, labels, strict=True)]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cases.csv").write_text("\n".join(lines) + "\n")
    (folder / "tiny.yaml").write_text(SCENARIO)


def start(inputs: Path, out: Path, *options: str, before: Callable[[], None] | None = None) -> subprocess.Popen[str]:
    """`fedmed simulate` in a session of its own, resuming where `out` holds a run; `before` is called in it first."""
    more = ["--resume"] if (out / "scenario.yaml").exists() else []
    command = [sys.executable, "-m", "fedmed", "simulate", inputs / "tiny.yaml", "--data", inputs, "--out", out, "--json"]
    return subprocess.Popen(
        [*command, *more, *options],
        text=True,
        start_new_session=True,
        preexec_fn=before,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def finish(process: subprocess.Popen[str]) -> dict[str, Any]:
    """The report of a run that ends by itself. Raises RuntimeError where it fails."""
    out, err = process.communicate(timeout=ENDED_S)
    if process.returncode != 0:
        raise RuntimeError(f"fedmed simulate ended with exit code {process.returncode}: {err[-2000:]}")
    report: dict[str, Any] = json.loads(out)
    return report


def kill(process: subprocess.Popen[str]) -> None:
    """SIGKILL to the command and all that it started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=ENDED_S)


def events(out: Path) -> list[dict[str, Any]]:
    """The run's journal so far, without a line that is not whole."""
    path = out / "journal.jsonl"
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith(b"}")]


def wait_for_lines(process: subprocess.Popen[str], out: Path, count: int) -> None:
    """Wait until the journal has `count` lines or the run has ended."""
    end = time.monotonic() + ENDED_S
    while process.poll() is None and len(events(out)) < count and time.monotonic() < end:
        time.sleep(POLL_S)


def phase(out: Path) -> str:
    """What a run that was killed was doing, by its journal and its commits."""
    if any((out / "commits").glob(".writing-*")):
        return "writing a commit"
    told = events(out)
    if not told:
        return "starting"
    last = told[-1]
    return PHASES.get(last.get("kind") or last["event"], last["event"])


def family(process: subprocess.Popen[str]) -> dict[int, set[str]]:
    """The living processes of the command's session, and the shared memory folders that each has open (Linux)."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == process.pid and fields[0] != "Z":
                found[int(folder.name)] = _shared(folder)
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def _shared(process: Path) -> set[str]:
    mapped = (line.split()[-1] for line in (process / "maps").read_text().splitlines() if line.strip())
    return {str(Path(path).parent) for path in mapped if path.startswith("/dev/shm/fedmed-")}
