"""`kill -9` of a real center and a real clinic at every named moment: is the model the undisturbed run's, to the bit?

    scripts/bench crash_matrix [--random 20] [--only-random] [--seed 1] [--quick] [--json]

Center (round loop and SuperLink are one process) and three clinics over mutual TLS, masked, two rounds, SQLite on disk. Each
killed process is started again. Every clinic's ledger is verified; it has each update once where no clinic was killed.
Seconds are those from the start of the next process to the end of the run, imports of Python packages included.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from form import Row, make_row, show

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.faults.real_federation import Real

BACK_S = 180
ASKED = range(1, 21)
"""Describe, member, three of the epoch, census, confirm, reveal; twice train, confirm, reveal, evaluate, confirm, reveal."""
CALLS = ("take", "fetch", "give")
CENTER = (
    *(f"asked {when}:{number}" for number in ASKED for when in ("before", "after")),
    *(f"answer:{number}" for number in range(1, 61, 3)),
    *(f"heard {when}:{number}" for number in (9, 10, 12) for when in ("before", "after")),
    *(f"{call} {when}:{number}" for call in CALLS for number in (1, 30) for when in ("before", "after")),
    *(f"store {when}:{number}" for number in (3, 150) for when in ("before", "after")),
    *(f"{what} {when}:{number}" for what in ("commit", "begin") for number in (1, 2) for when in ("before", "after")),
)
CLINIC = (
    *(
        f"{what} {when}:{number}"
        for what in ("train", "evaluate", "training")
        for number in (1, 2)
        for when in ("before", "after")
    ),
    *(f"query.protocol {when}:{number}" for number in range(1, 8) for when in ("before", "after")),
    *(
        f"{what} {when}:{number}"
        for what in ("keep", "take", "give", "drop")
        for number in (3, 9)
        for when in ("before", "after")
    ),
)

Killed = Callable[[str, str], tuple[bool, float]]
"""Takes a run's name and a moment; whether the kill came, and the seconds from then to the end of the run."""


class Matrix:
    """Kills and counts."""

    def __init__(self, real: Real) -> None:
        self._real, self.tried, self.equal, self.seconds = real, 0, 0, list[float]()
        self.never: list[str] = []

    def kill(self, who: str, moment: str, is_exact: bool, killed: Killed) -> None:
        """One run with one kill."""
        run = f"{who}-{moment}-{self.tried + len(self.never)}".replace(" ", "-").replace(":", "-")
        was_killed, seconds = killed(run, moment)
        if not was_killed:
            self.never.append(moment)
            return
        self.tried += 1
        wrong = self._real.faults(run, is_exact) + ["another model"] * (self._real.model(run) != self._real.model("whole"))
        self.equal += not wrong
        self.seconds.append(seconds)
        sys.stderr.write(f"{who} killed at {moment}: {'; '.join(wrong) or 'identical'}, {seconds:.1f} s\n")

    def rows(self, what: str) -> list[Row]:
        """Of the report."""
        most = max(self.seconds, default=0.0)
        return [
            make_row(
                f"{what}: identical, each update once", self.equal, "runs", f"= {self.tried}", self.equal == self.tried
            ),
            make_row(f"{what}: to the end of the run, longest", most, "s", f"<= {BACK_S}", most <= BACK_S),
            make_row(f"{what}: moments that never came", len(self.never), "moments"),
        ]


def center_at_random(real: Real, rng: np.random.Generator, within_s: float) -> Killed:
    """A kill of the center at a moment that is uniform in time."""

    def killed(run: str, _: str) -> tuple[bool, float]:
        first = real.center(run)
        time.sleep(float(rng.uniform(0.1, within_s)))
        first.kill()
        was_killed, began = first.wait() == -9, time.monotonic()
        if was_killed:
            real.finish(real.center(run), run)
        return was_killed, time.monotonic() - began

    return killed


def clinic_at_random(real: Real, rng: np.random.Generator, within_s: float) -> Killed:
    """The same for a clinic, any of them."""

    def killed(run: str, _: str) -> tuple[bool, float]:
        name, process = str(rng.choice(real.names)), real.center(run)
        time.sleep(float(rng.uniform(0.1, within_s)))
        was_killed, began = process.poll() is None, time.monotonic()
        real.restart(name)
        real.finish(process, run)
        return was_killed, time.monotonic() - began

    return killed


def main() -> None:
    """Read the options, run, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--random", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only-random", action="store_true", help="no named moments")
    parser.add_argument("--quick", action="store_true", help="every eighth moment")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    every, rng = (8 if options.quick else 1), np.random.default_rng(options.seed)
    with tempfile.TemporaryDirectory() as name:
        real = Real(Path(name))
        with real.stack:
            real.finish(real.center("whole"), "whole")
            began = time.monotonic()
            real.finish(real.center("again"), "again")
            whole_s = time.monotonic() - began
            center, clinic, random, randoms = (Matrix(real) for _ in range(4))
            for moment in () if options.only_random else CENTER[::every]:
                center.kill("center", moment, True, real.center_killed)
            for moment in () if options.only_random else CLINIC[::every]:
                clinic.kill("clinic", moment, False, real.clinic_killed)
            while random.tried + randoms.tried < options.random:
                random.kill("center", "a random time", True, center_at_random(real, rng, whole_s))
                randoms.kill("clinic", "a random time", False, clinic_at_random(real, rng, whole_s))
            is_same = real.model("again") == real.model("whole")
    rows = [make_row("an undisturbed run", whole_s, "s"), make_row("two of them are identical", is_same, "", "1", is_same)]
    if not options.only_random:
        rows += center.rows("center killed at a moment") + clinic.rows("clinic killed at a moment")
    rows += random.rows("center killed at random") + randoms.rows("clinic killed at random")
    show("crash_matrix", rows, options.json)


if __name__ == "__main__":
    main()
