"""Learning with many simulated clients, beside pfl-research and Flower on Ray: the same models, cases, cohorts and batches.

python -m benchmarks.twin_peers [--quick] [--only lr,tiny,cnn] [--json]

Each arm is a process (or a tree of them) that does one round when it is told to; all live side by side and take their turns
round by round, so that what else the machine does hits all alike. Training and taking the mean are timed, imports and data
are not, nor is each arm's first round. CPU seconds and proportional memory (PSS) are those of an arm's whole tree; memory is
looked at during the first round and after each. Weights are compared: logistic regression after all rounds, the CNN after
one, since rounding is amplified from there on. The reference is a loop over clients with PyTorch's own module and optimiser.

Of the peers, Flower is there with `fedmed[ray]`; pfl-research 0.6 is looked for in the folders of $FEDMED_PEERS (it needs
other versions of some packages than we do: `pip install --target FOLDER --no-deps pfl multiprocess dill prv-accountant`).
A peer that cannot be started is named in a row of its own.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from benchmarks.form import Row, make_row, show
from benchmarks.twin_peers_process import Arm, Gone, Kind, started
from benchmarks.twin_peers_task import Task

LOOP, OURS, TUNED = Kind("plain loop", "sequential"), Kind("fedmed", "fedmed"), Kind("fedmed, tuned model", "fedmed")
PFL, PFL2, FLOWER = Kind("pfl", "pfl"), Kind("pfl, two workers", "pfl", 2), Kind("Flower on Ray", "flower")
KINDS = (LOOP, PFL, PFL2, FLOWER, OURS)
LEAST_MEMORY = 0.5
Bars = dict[str, float]


@dataclass(frozen=True)
class Part:
    """A task with what is demanded: how many times as long a peer's fastest round takes, how far weights may be apart."""

    title: str
    task: Task
    rounds: int
    close: float
    bars: Bars
    tuned: Bars | None = None
    after: int | None = None
    """The round after which weights are compared; None for the last."""


PARTS = {
    "lr": Part(
        "logistic regression, ~100 cases", Task("lr", 100), 10, 1e-6, {PFL.name: 5.0, PFL2.name: 3.0, FLOWER.name: 50.0}
    ),
    "tiny": Part(
        "logistic regression, ~10 cases", Task("lr", 10), 10, 1e-6, {PFL.name: 10.0, PFL2.name: 5.0, FLOWER.name: 200.0}
    ),
    "cnn": Part(
        "CNN, ~100 cases",
        Task("cnn", 100),
        6,
        1e-5,
        {PFL.name: 1.7, PFL2.name: 1.0, FLOWER.name: 4.0},
        {PFL.name: 3.0, FLOWER.name: 6.0},
        after=0,
    ),
}


def measured(part: Part, rounds: int) -> list[Row]:
    """All arms of a part in turn."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        running, rows = begun(part, place, rounds + 1)
        arms = list(running)
        try:
            for number in range(rounds + 1):
                is_last = number == (rounds if part.after is None else part.after)
                for arm in turned(arms, number):
                    try:
                        arm.round(is_timed=number > 0)
                        if is_last:
                            arm.keep(place)
                    except Gone as error:
                        rows.append(missing(part, arm.kind, error))
                        arms.remove(arm)
        finally:
            for arm in running:
                arm.end()
    by_name = {arm.kind.name: arm for arm in arms}
    for arm in arms:
        rows += told(part, arm, by_name[LOOP.name])
    rows += ratios(part, by_name, OURS.name, part.bars)
    if part.tuned is not None:
        rows += ratios(part, by_name, TUNED.name, part.tuned)
    if FLOWER.name in by_name:
        share = by_name[OURS.name].pss / by_name[FLOWER.name].pss
        rows.append(
            make_row(f"{part.title}: fedmed's memory", share, "of Flower's", f"<= {LEAST_MEMORY}", share <= LEAST_MEMORY)
        )
    return [*rows, make_row(f"{part.title}: load when it ended", os.getloadavg()[0], "processes")]


def turned(arms: list[Arm], number: int) -> list[Arm]:
    """All of them, another one first in each round."""
    first = number % len(arms)
    return arms[first:] + arms[:first]


def missing(part: Part, kind: Kind, error: Gone) -> Row:
    """The row of a peer that is not there. Raises SystemExit where it is no peer."""
    if kind in (LOOP, OURS, TUNED):
        raise SystemExit(f"{kind.name}: {error}") from error
    return make_row(f"{part.title}: {kind.name} was not measured ({error})", 0, "rounds")


def begun(part: Part, place: Path, rounds: int) -> tuple[list[Arm], list[Row]]:
    """The arms that could be started, and a row for each that could not."""
    folders = {}
    for kind in (LOOP, TUNED):
        folders[kind.name] = place / kind.learner
        folders[kind.name].mkdir()
        Task(**{**vars(part.task), "tuned": kind is TUNED}).save(folders[kind.name])
    arms, rows = list[Arm](), list[Row]()
    for kind in (*KINDS, TUNED) if part.tuned else KINDS:
        try:
            arms.append(started(kind, folders[TUNED.name if kind is TUNED else LOOP.name], place, rounds))
        except Gone as error:
            rows.append(missing(part, kind, error))
    return arms, rows


def told(part: Part, arm: Arm, loop: Arm) -> list[Row]:
    """What one arm took."""
    name = f"{part.title}: {arm.kind.name}"
    rows = [
        make_row(name, min(arm.seconds), f"s a round, min (median {median(arm.seconds):.4g}, of {len(arm.seconds)})"),
        make_row(f"{name}: CPU", median(arm.cpu), "s a round, median"),
        make_row(f"{name}: memory", arm.pss, "MB PSS, most"),
    ]
    if arm is not loop:
        apart = float(np.abs(arm.weights[0] - loop.weights[0]).max())
        rows.append(make_row(f"{name}: weights apart", apart, "at most", f"<= {part.close:g}", apart <= part.close))
    return rows


def ratios(part: Part, arms: dict[str, Arm], ours: str, bars: Bars) -> list[Row]:
    """How many times ours a peer takes, by the fastest round of each."""
    rows = []
    for peer, bar in bars.items():
        if peer in arms:
            times = min(arms[peer].seconds) / min(arms[ours].seconds)
            rows.append(make_row(f"{part.title}: {peer} / {ours}", times, "times", f">= {bar:g}", times >= bar))
    return rows


def main() -> None:
    """Read the options, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default=",".join(PARTS), help="parts, with commas between them")
    parser.add_argument("--quick", action="store_true", help="two rounds of each")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    names = options.only.split(",")
    if unknown := sorted(set(names) - set(PARTS)):
        parser.error(f"{', '.join(unknown)}; the parts are {', '.join(PARTS)}")
    rows = list[Row]()
    for name in names:
        sys.stderr.write(f"{name} ...\n")
        rows += measured(PARTS[name], 2 if options.quick else PARTS[name].rounds)
    show("twin_peers", rows, options.json)


if __name__ == "__main__":
    main()
