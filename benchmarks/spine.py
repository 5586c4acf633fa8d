"""Every figure of the spine in one report: accuracy, overhead, memory, the demo's seconds, kill and resume.

    scripts/bench spine [--json]

About fifteen minutes on two cores. The parts are benchmarks of their own: flamby_heart, accuracy, overhead, kill_resume.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from form import Row, make_row, show

HERE = Path(__file__).parent
PARTS = ("flamby_heart", "accuracy", "overhead", "kill_resume")


def part(name: str) -> list[Row]:
    """The rows of another benchmark, run in a process of its own."""
    sys.stderr.write(f"spine: {name}\n")
    done = subprocess.run([sys.executable, HERE / f"{name}.py", "--json"], stdout=subprocess.PIPE, text=True, check=True)
    rows: list[Row] = json.loads(done.stdout)["rows"]
    return rows


def demo() -> list[Row]:
    """Seconds of the installed command, from the start of the process to its end."""
    rows = []
    for label, options, bar in (("--rounds 1", ["--rounds", "1"], 10.0), ("whole", [], 60.0)):
        seconds = min(_demo_seconds(options) for _ in range(3))
        rows.append(make_row(f"fedmed simulate demo, {label}, min of 3", seconds, "s", f"<= {bar:g}", seconds <= bar))
    return rows


def _demo_seconds(options: list[str]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        command = [sys.executable, "-m", "fedmed", "simulate", "demo", "--out", f"{folder}/run", *options]
        subprocess.run(command, check=True, capture_output=True)
        return time.perf_counter() - began


def main() -> None:
    """Read the options, run all parts, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = demo()
    for name in PARTS:
        rows += part(name)
    show("spine", rows, options.json)


if __name__ == "__main__":
    main()
