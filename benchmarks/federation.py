"""What a round of a real federation takes: a center and three node processes over mutual TLS, masked, nothing trained.

    scripts/bench federation [--json] [--quick]

The product's round loop on a SuperLink in memory, and on one in an SQLite file; one model of 1M float32; every clinic's
answer is on its disk before it is confirmed. Center and nodes share this machine's cores. Set-up is the first round's and is
told beside it. Stock Flower is not in this run.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
from form import Row, make_row, show

sys.path.insert(0, str(Path(__file__).parents[1]))

from fedmed.clock import SystemClock
from fedmed.flower.allocation import keep_freed_memory
from fedmed.flower.direct import DirectGrid
from fedmed.flower.transport import Transport
from tests.flower.masked import clinics, laid_out, loop, until_online
from tests.flower.real import federation

NAMES, SIZE = ["east", "north", "west"], 1_000_000
BAR_S = 0.8


def rounds(database: str | None, count: int) -> list[float]:
    """Seconds of each of `count` rounds."""
    folder = Path(tempfile.mkdtemp(prefix="fedmed-bench-"))
    sites, seconds = laid_out(folder, NAMES), []
    model = {"w": np.random.default_rng(1).standard_normal(SIZE, dtype=np.float32)}
    with federation(folder, database and folder / database) as fed, clinics(fed, NAMES, sites) as (by_node, started):
        grid = DirectGrid(fed.engine.link, fed.engine.link.start_run("noop"))
        until_online(grid, len(NAMES), started)
        with loop(Transport(grid, SystemClock()), by_node, sites, folder) as each:
            for number in range(1, count + 1):
                began = time.perf_counter()
                model, _ = each.train(number, model, "{}")
                seconds.append(time.perf_counter() - began)
    return seconds


def rows_of(count: int) -> list[Row]:
    """Every row."""
    rows = []
    for what, database in (("in memory", None), ("in an SQLite file", "state.db")):
        first, *others = rounds(database, count)
        middle = median(others)
        rows.append(make_row(f"first round, set-up included, state {what}", first, "s"))
        rows.append(make_row(f"round of 3 clinics x 1M, state {what}", min(others), f"s, min (median {middle:.3f})"))
        rows.append(make_row(f"median round, state {what}", middle, "s", f"<= {BAR_S}", middle <= BAR_S))
    return rows


def main() -> None:
    """Read the options, run, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true", help="five rounds of each kind instead of twenty")
    options = parser.parse_args()
    keep_freed_memory()
    show("federation", rows_of(5 if options.quick else 20), options.json)


if __name__ == "__main__":
    main()
