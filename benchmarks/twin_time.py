"""Virtual time at scale: rounds through the real state machine, and whole cohorts in columns; each in a process of its own.

python -m benchmarks.twin_time [--json]      about a minute on a quiet machine
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import time
from hashlib import sha256

from benchmarks.form import Row, make_row, show
from fedmed.config.scenario import Quorum, Rounds, Training
from fedmed.config.topology import Topology
from fedmed.twin.asking import Terms
from fedmed.twin.columns import Columns
from fedmed.twin.events import Events
from fedmed.twin.world import World

ROUNDS, TIMES = 100, 3
HEAVY = ("torch", "flwr", "ray", "cryptography", "pydicom")
PACES = {"t4": 0.01, "nano": 0.2}
"""Seconds a case: of the order that a small CNN takes; what is measured here does not depend on them."""
EVENTS_S, EVENTS_MB, COLUMNS_S = 10.0, 200.0, 2.0


def topology(clinics: int, cohort: int) -> Topology:
    """Members that differ in machine, cases, presence, speed and dropout, asked 1.3 times over."""
    line = {"up": "10 Mbit/s", "down": "20 Mbit/s", "latency": "20 ms", "jitter": "4 ms", "loss": 1e-4}
    presence = {"share": 0.8, "spell": "2 h"}
    both = {"line": "line", "presence": presence, "dropout": 0.02, "slower": {"share": 0.1, "times": 4}}
    large = {"name": "large", "count": clinics * 6 // 10, "machine": "t4", "cases": {"median": 500, "spread": 0.6}, **both}
    small = {"name": "small", "count": clinics * 4 // 10, "machine": "nano", "cases": {"median": 100, "spread": 0.6}, **both}
    stated = {
        "lines": {"line": line, "hall": {"up": "1 Tbit/s", "down": "1 Tbit/s"}},
        "center": {"line": "hall"},
        "clinics": [large, small],
        "cohort": cohort,
        "over": 1.3,
    }
    return Topology.model_validate_json(json.dumps(stated))


def one(mode: str, clinics: int, cohort: int, rounds: int) -> dict[str, object]:
    """What one run took, in this process, and a digest of what came of it."""
    began = time.perf_counter()
    rules = Rounds(deadline_s=600, quorum=Quorum(data_weight=0.2))
    terms = Terms(rules, Training(epochs=1), 1e6, 1e6)
    world = World(topology(clinics, cohort), 7, PACES)
    kind = Events if mode == "events" else Columns
    outcomes = [(each.closed, each.verdict.value, each.joined.tobytes()) for each in kind(world, terms).rounds(rounds)]
    took = time.perf_counter() - began
    assert not [name for name in HEAVY if name in sys.modules]
    return {
        "seconds": took,
        "cpu": time.process_time(),
        "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "came": sha256(repr(outcomes).encode()).hexdigest(),
    }


def apart(mode: str, clinics: int, cohort: int, rounds: int = ROUNDS) -> dict[str, float | str]:
    """The same in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.twin_time", "--one", mode, str(clinics), str(cohort), str(rounds)]
    found: dict[str, float | str] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def rows() -> list[Row]:
    """Of the report."""
    cases = {
        "events 100,000 / 1,000": ("events", 100_000, 1_000),
        "columns 100,000 / 1,000": ("columns", 100_000, 1_000),
        "columns 1,000,000 / 10,000": ("columns", 1_000_000, 10_000),
        "events 2,000 / 1,000": ("events", 2_000, 1_000),
        "events 1,000,000 / 1,000": ("events", 1_000_000, 1_000),
    }
    taken: dict[str, list[dict[str, float | str]]] = {name: [] for name in cases}
    for _ in range(TIMES):
        for name, case in cases.items():
            taken[name].append(apart(*case))
    made = list[Row]()
    for name, runs in taken.items():
        seconds, most = [float(run["seconds"]) for run in runs], max(float(run["mb"]) for run in runs)
        bars = {"events 100,000 / 1,000": (EVENTS_S, EVENTS_MB), "columns 1,000,000 / 10,000": (COLUMNS_S, EVENTS_MB)}
        for what, bound, value, unit in (
            ("min", 0, min(seconds), "s for 100 rounds"),
            ("median", None, statistics.median(seconds), "s for 100 rounds"),
            ("processor, min", None, min(float(run["cpu"]) for run in runs), "s with imports"),
            ("peak memory", 1, most, "MB"),
        ):
            bar = bars.get(name, ())[bound : bound + 1] if bound is not None else ()
            made.append(make_row(f"{name}, {what}", value, unit, *((f"< {bar[0]:g}", value < bar[0]) if bar else ())))
    least = {name: min(float(run["seconds"]) for run in runs) for name, runs in taken.items()}
    growth = least["events 1,000,000 / 1,000"] / least["events 2,000 / 1,000"]
    made.append(
        make_row("a round of 1,000 of 1,000,000 beside one of 1,000 of 2,000", growth, "times", "< 1.5", growth < 1.5)
    )
    same = len({run["came"] for name in ("events 100,000 / 1,000", "columns 100,000 / 1,000") for run in taken[name]}) == 1
    made.append(make_row("events and columns give the same rounds", int(same), "1 = yes", "1", same))
    return made


def main() -> None:
    """Measure, or make one run."""
    if "--one" in sys.argv:
        mode, clinics, cohort, rounds = sys.argv[sys.argv.index("--one") + 1 :]
        print(json.dumps(one(mode, int(clinics), int(cohort), int(rounds))))
        return
    show("twin_time", rows(), "--json" in sys.argv)


if __name__ == "__main__":
    main()
