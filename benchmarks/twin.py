"""The twin, all figures: virtual time, its grid, real masks, learning beside peers, a day of devices, the search over seeds.

python -m benchmarks.twin [--only time,grid,masks,peers,tiers,search,replay] [--json]

Each part is a benchmark of its own and runs in a process of its own, one after the other; together they take about half an
hour. `replay` needs root (hosts are network namespaces) and is left out where nobody names it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.form import Row, show

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("time", "grid", "masks", "peers", "tiers", "search", "replay")
NAMED_ONLY = ("replay",)


def rows_of(part: str) -> list[Row]:
    """The rows of one part. Raises SystemExit where it cannot run."""
    began = time.monotonic()
    sys.stderr.write(f"{part} ... ")
    sys.stderr.flush()
    command = [sys.executable, str(ROOT / "benchmarks" / f"twin_{part}.py"), "--json"]
    told = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=told, capture_output=True, text=True, check=False)
    sys.stderr.write(f"{time.monotonic() - began:.0f} s\n")
    if done.returncode != 0:
        raise SystemExit(f"twin_{part} ended with exit code {done.returncode}:\n{done.stderr[-2000:]}")
    rows: list[Row] = json.loads(done.stdout)["rows"]
    return [{**row, "name": f"{part}: {row['name']}"} for row in rows]


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--only", default=",".join(each for each in PARTS if each not in NAMED_ONLY), help="parts, by commas"
    )
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    names = options.only.split(",")
    if unknown := sorted(set(names) - set(PARTS)):
        parser.error(f"{', '.join(unknown)}; the parts are {', '.join(PARTS)}")
    show("twin", [row for name in names for row in rows_of(name)], options.json)


if __name__ == "__main__":
    main()
