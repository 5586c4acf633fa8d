"""A real federation recorded at one speed of its lines; what its twin says of two others, and what these take.

    python benchmarks/twin_replay.py [--recorded 6] [--rounds 10] [--hidden 3160] [--json]

Needs root and iproute2. A center and three clinics are processes on hosts of their own (network namespaces): mutual TLS 1.3,
masked, the app in its cell, all on the disk; every clinic's line has the same limit (tc, both ways). A tabular network of
10M parameters with `--hidden 3160`, validated each round. `fedmed twin record` reads a copy of the center's folder after
rounds at the first speed; `fedmed twin replay --set lines.CLINIC.up=...` says what rounds take at the others before they are
run. The first round after a change of speed is not counted. About 13 minutes with 10 rounds. No peer: none records.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from form import Row, make_row, show
from namespaces import RUN, SCENARIO, write_cases

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.system.houses import Houses, until
from tests.system.network import is_possible

SITES = {"north": "north", "east": "east", "south": "south"}
RECORDED, OTHERS = 40, (20, 80)
"""Mbit/s of each clinic's line, up and down."""
MOST_APART, LEAST_MOVED = 0.15, 0.5
PATIENCE_S = 1800.0


def begin(houses: Houses, place: Path, hidden: int) -> None:
    """Center and clinics up, and a run begun at the recorded speed."""
    houses.found()
    houses.join()
    (place / "line.yaml").write_text(SCENARIO.replace("HIDDEN", str(hidden)).replace("REQUIRED", ""))
    limit(houses, RECORDED)
    houses.run(str(place / "line.yaml"))

    def staff(name: str) -> None:
        write_cases(houses.clinics[name].folder / "numbers", list(SITES).index(name))
        houses.approve(name, RUN, "--dataset", "numbers", "--reader", "csv", "--folder", "numbers")
        houses.clinics[name].up("clinic")

    houses.staffs_do(staff)


def limit(houses: Houses, megabits: float) -> None:
    """Of every clinic's line."""
    for name in SITES:
        houses.network.limit(name, megabits)


def observed(houses: Houses, count: int) -> list[float]:
    """Seconds of `count` rounds, each from its first message to its commit, after the one that is under way."""
    first = houses.committed(RUN) + 2
    until(lambda: houses.committed(RUN) >= first + count - 1, f"{count} rounds", PATIENCE_S)
    begun = {each["round"]: each["unix"] for each in houses.events(RUN, "round")}
    over = {each["round"]: each["unix"] for each in houses.events(RUN, "committed")}
    return [over[number] - begun[number] for number in range(first, first + count)]


def fedmed(*arguments: str) -> Any:
    """What a command says in JSON."""
    command = [sys.executable, "-m", "fedmed", "twin", *arguments, "--json"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout)


def record(houses: Houses, place: Path) -> Path:
    """The twin, from a copy of the center's folder that was made while it served."""
    copy, twin = place / "copy", place / "twin.yaml"
    shutil.copytree(houses.study / "runs", copy / "runs", ignore=shutil.ignore_patterns(".*"))
    shutil.copy(houses.study / "center.yaml", copy)
    fedmed("record", str(copy), "--out", str(twin))
    return twin


def predicted(twin: Path, megabits: float) -> dict[str, Any]:
    """What the twin says of lines of that speed."""
    lines = [f"lines.{name}.{way}={megabits} Mbit/s" for name in SITES for way in ("up", "down")]
    told: dict[str, Any] = fedmed("replay", str(twin), *(part for each in lines for part in ("--set", each)))
    return told


def rows_of(megabits: float, told: dict[str, Any], seen: list[float]) -> list[Row]:
    """One other speed."""
    real, said = statistics.median(seen), float(told["predicted_s"])
    apart = said / real - 1
    return [
        make_row(f"{megabits} Mbit/s: round, predicted", said, "s, median"),
        make_row(f"{megabits} Mbit/s: round, observed", real, f"s, median of {len(seen)} (min {min(seen):.2f})"),
        make_row(f"{megabits} Mbit/s: error", apart, "of observed", f"within {MOST_APART}", abs(apart) <= MOST_APART),
        make_row(
            f"{megabits} Mbit/s: transfer", told["transfer"], "of the round", f">= {LEAST_MOVED}",
            told["transfer"] >= LEAST_MOVED,
        ),
        make_row(f"{megabits} Mbit/s: load then", os.getloadavg()[0], ""),
    ]  # fmt: skip


def rows(place: Path, stack: ExitStack, first: int, count: int, hidden: int) -> list[Row]:
    """Record at one speed, predict the others, run them."""
    houses = Houses(place, stack, SITES)
    begin(houses, place, hidden)
    until(lambda: houses.committed(RUN) >= 1, "the first commit", PATIENCE_S)
    seen = observed(houses, first)
    twin = record(houses, place)
    own = fedmed("replay", str(twin))
    found = [
        make_row("parameters", hidden * (hidden + 7) + 2, ""),
        make_row(f"{RECORDED} Mbit/s, recorded: round", statistics.median(seen), f"s, median of {len(seen)}"),
        make_row(f"{RECORDED} Mbit/s, recorded: replayed as it was", own["predicted_s"], "s, median"),
        make_row(f"{RECORDED} Mbit/s, recorded: transfer", own["transfer"], "of the round"),
        make_row(f"{RECORDED} Mbit/s, recorded: load then", os.getloadavg()[0], ""),
    ]
    said = {megabits: predicted(twin, megabits) for megabits in OTHERS}
    for megabits, told in said.items():
        limit(houses, megabits)
        found += rows_of(megabits, told, observed(houses, count))
    return found


def main() -> None:
    """Read the options, run, print; whatever ends it, the namespaces go."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10, help="observed at each other speed")
    parser.add_argument("--recorded", type=int, default=6, help="rounds at the first speed")
    parser.add_argument("--hidden", type=int, default=3160, help="units in each of the model's two layers")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if not is_possible():
        raise SystemExit("twin_replay needs root, ip, tc and ss: hosts are network namespaces here")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        place.chmod(0o755)  # the app has a user of its own
        show("twin_replay", rows(place, stack, options.recorded, options.rounds, options.hidden), options.json)


if __name__ == "__main__":
    main()
