"""A day of 40 clinics with four devices each in virtual time: real learning of a CNN of 214 k words, real masks, faults.

python -m benchmarks.twin_tiers [--json] [TIMES]      the whole command `fedmed simulate`, in a process of its own

The scenario is `simulations/hospital-day.yaml` with 500 training cases (28 x 28, from a seed) a clinic and its devices in
place of 50, and steps that are as much shorter, so that the day is the same.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks.form import Row, make_row, show

SCENARIO = Path(__file__).resolve().parents[1] / "simulations" / "hospital-day.yaml"
CLINICS, SAMPLES, SIDE, MORE = 40, 500, 28, 10
BATCH, OWN_BATCH, RATE = 32, 16, 0.05
"""Cases of a step, here and in the scenario."""
WIDTHS = [16, 32, 64, 328]
PARAMETERS = 214_746
PR_SET_CHILD_SUBREAPER = 36  # prctl(2)
MOST_S, LEAST_ROUNDS, DAY_S = 300.0, 24, 86_400.0


def write_inputs(folder: Path) -> Path:
    """The cases, 20,000 to train on, and the scenario; returns its path."""
    draws = np.random.default_rng(5)
    kinds = draws.normal(0, 20, (2, SIDE, SIDE))
    parts = {}
    for part, count in (("train", CLINICS * SAMPLES), ("val", 2000), ("test", 2000)):
        labels = draws.integers(0, 2, count)
        noise = draws.normal(128, 60, (count, SIDE, SIDE))
        parts[f"{part}_images"] = np.clip(noise + kinds[labels], 0, 255).astype(np.uint8)
        parts[f"{part}_labels"] = labels[:, None]
    np.savez(folder / "data.npz", **parts)
    told: dict[str, Any] = yaml.safe_load(SCENARIO.read_text())
    told["data"] = {"reader": "npz", "partition": told["data"]["partition"]}
    told["task"]["model_options"]["widths"] = WIDTHS
    told["evaluation"]["every"] = LEAST_ROUNDS
    told["training"] = {"optimiser": "sgd", "learning_rate": RATE, "batch_size": BATCH, "epochs": 1}
    for machine in told["topology"]["machines"].values():  # a case takes as long as there, divided by `MORE`
        machine["step"] = f"{float(machine['step'].split()[0]) * BATCH / OWN_BATCH / MORE:g} s"
    path = folder / "day.yaml"
    path.write_text(json.dumps(told))
    return path


def one(folder: Path, number: int) -> dict[str, Any]:
    """One run of the command: its seconds, those of the processors, and what its report says."""
    out, before = folder / f"run-{number}", resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [str(Path(sys.executable).with_name("fedmed")), "simulate", str(folder / "day.yaml")]
    began = time.perf_counter()
    subprocess.run([*command, "--data", str(folder), "--out", str(out)], check=True, stdout=subprocess.DEVNULL)
    took = time.perf_counter() - began
    _await_orphans()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    report = json.loads((out / "report.json").read_text())
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": took, "cpu": cpu, "load": os.getloadavg()[0], "report": report}


def _await_orphans() -> None:
    """Whoever the command left behind (its site processes end with it), so that their seconds count."""
    while True:
        try:
            os.wait()
        except ChildProcessError:
            return


def rows(times: int) -> list[Row]:
    """Of the report."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    with tempfile.TemporaryDirectory(prefix="fedmed-tiers-") as name:
        folder = Path(name)
        write_inputs(folder)
        runs = [one(folder, number) for number in range(times)]
    seconds, report = [run["seconds"] for run in runs], runs[0]["report"]
    rounds, virtual = report["rounds"], report["virtual"]
    day = [each for each in np.cumsum([each["seconds"] for each in rounds]) if each <= DAY_S]
    devices = virtual["devices"].values()
    missing = sum(sum(each["missing"].values()) for each in devices)
    same = len({run["report"]["model_sha256"] for run in runs}) == 1
    made = [
        make_row("the whole command, least", min(seconds), "s", f"< {MOST_S:g}", min(seconds) < MOST_S),
        make_row("the whole command, median", statistics.median(seconds), "s"),
        make_row("processors, least", min(run["cpu"] for run in runs), "s"),
        make_row("load at the end, least", min(run["load"] for run in runs), "tasks"),
        make_row("load at the end, most", max(run["load"] for run in runs), "tasks"),
        make_row("rounds within a simulated day", len(day), "rounds", f">= {LEAST_ROUNDS}", len(day) >= LEAST_ROUNDS),
        make_row("virtual time of the run", virtual["seconds"] / 3600, "h"),
        make_row("clinics missing, all rounds", sum(len(each["missing"]) for each in rounds), "of clinics"),
        make_row("updates of devices in", sum(each["joined"] for each in devices), "updates"),
        make_row("updates of devices missing", missing, "updates"),
        make_row("AUC at the end", report["overall"]["metrics"]["auc"]["value"], ""),
    ]
    if times > 1:
        made.append(make_row("all runs give the same model", int(same), "1 = yes", "1", same))
    return made


def main() -> None:
    """Measure."""
    times = [int(each) for each in sys.argv[1:] if each.isdigit()]
    show("twin_tiers", rows(*times or [1]), "--json" in sys.argv)


if __name__ == "__main__":
    main()
