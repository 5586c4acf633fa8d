"""Random faults by seed: how long 10,000 seeds take, and whether any breaks an invariant.

python -m benchmarks.twin_search [--seeds N] [--json]
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.form import Row, make_row, show
from fedmed.twin.search.seeking import search


def rows(seeds: int, jobs: int) -> list[Row]:
    """One search."""
    began, played, findings = time.perf_counter(), 0, 0
    for count, found in search(range(seeds), jobs):
        played, findings = played + count, findings + len(found)
        sys.stderr.write(f"\r{played} of {seeds} seeds, {findings} findings ")
    sys.stderr.write("\n")
    took, used = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return [
        make_row("seeds played", played, "seeds"),
        make_row("seeds that break an invariant", findings, "seeds", "0", findings == 0),
        make_row("all of them", took, f"s, {jobs} processes"),
        make_row("processors", 1e3 * (used.ru_utime + used.ru_stime) / max(1, played), "ms a seed"),
        make_row("load when it ended", os.getloadavg()[0], "tasks"),
    ]


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10_000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    show("twin_search", rows(options.seeds, os.cpu_count() or 1), options.json)


if __name__ == "__main__":
    main()
