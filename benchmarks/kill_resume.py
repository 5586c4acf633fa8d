"""`kill -9` of a run at random moments, then `--resume`: is the final model bit-identical to the undisturbed run's?

    python benchmarks/kill_resume.py [--times 20] [--seed 1] [--json]

Each run is killed once, with all its processes, and resumed to its end. Half of the moments are uniform in time (most of a
tiny run is the import of its packages), half are uniform in the run's journal, so that every phase is hit.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from form import make_row, show
from killing import events, finish, kill, phase, start, wait_for_lines, write_inputs

BASELINES = ("--set", "evaluation.baselines=true")
AFTER_S = 0.02  # a moment in the journal is followed by up to this much time


def killed(inputs: Path, out: Path, rng: np.random.Generator, seconds: float | None, lines: int) -> str:
    """Start a run, kill it at a random moment (in time where `seconds` is given), say in which phase that was."""
    while True:
        process = start(inputs, out, *BASELINES)
        if seconds is None:
            wait_for_lines(process, out, int(rng.integers(1, lines)))
            time.sleep(rng.uniform(0, AFTER_S))
        else:
            time.sleep(rng.uniform(0, seconds))
        kill(process)
        if process.returncode == -signal.SIGKILL:
            return phase(out)
        shutil.rmtree(out)  # it had ended before the moment came


def main() -> None:
    """Read the options, run, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rng, phases, identical = np.random.default_rng(options.seed), Counter[str](), 0
    with tempfile.TemporaryDirectory() as name:
        inputs, whole = Path(name), Path(name) / "undisturbed"
        write_inputs(inputs)
        began = time.monotonic()
        undisturbed = finish(start(inputs, whole, *BASELINES))["model_sha256"]
        seconds, lines = time.monotonic() - began, len(events(whole))
        for number in range(options.times):
            out = inputs / f"run-{number}"
            hit = killed(inputs, out, rng, seconds if number % 2 == 0 else None, lines)
            same = finish(start(inputs, out, *BASELINES))["model_sha256"] == undisturbed
            sys.stderr.write(f"run {number + 1}: killed while {hit}: {'identical' if same else 'DIFFERENT'}\n")
            phases[hit] += 1
            identical += same
    bar = f">= {options.times}"
    rows = [make_row("killed, resumed, bit-identical", identical, "runs", bar, identical >= options.times)]
    rows += [make_row(f"killed: {hit}", count, "runs") for hit, count in sorted(phases.items())]
    show("kill_resume", rows, options.json)


if __name__ == "__main__":
    main()
