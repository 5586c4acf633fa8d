"""Whether encryption costs accuracy: the same scenarios and seeds, masked and plain, their test metrics side by side.

    scripts/bench masked_accuracy [--json] [--seeds N] [--scenarios NAME ...]

Scenarios as shipped (heart, pneumonia, skin), without baselines. The rounding of masked runs is seeded, so that each is
repeatable. Beside them the same plain runs with one site process instead of two, which adds updates up in another order:
what these differ by is what the last bit of a float does to a scenario, masked or not.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev

from form import Row, data_root, make_row, show
from scipy.stats import t

from fedmed.config import catalogue
from fedmed.config.loading import load
from fedmed.simulate.run import Request, simulate

SCENARIOS = ("heart", "pneumonia", "skin")
BAR = 0.001
ONE, TWO = "engine.workers=1", "engine.workers=2"


def metrics(name: str, seed: int, *settings: str) -> dict[str, float]:
    """Test metrics of one run on the pooled test cases."""
    options = [f"seed={seed}", "evaluation.baselines=false", *settings]
    with tempfile.TemporaryDirectory() as folder:
        scenario = load(catalogue.find(name), options)
        report = simulate(Request(scenario, data_root(), Path(folder) / "run"))
    found = report["overall"]["metrics"]
    return {key: float(each["value"]) for key, each in found.items() if each.get("value") is not None}


def rows_of(scenarios: Sequence[str], seeds: int) -> list[Row]:
    """Two rows a scenario and metric: what encryption and what another order of adding changes, on average and at most."""
    rows = []
    for name in scenarios:
        runs = []
        for seed in range(42, 42 + seeds):
            sys.stderr.write(f"masked_accuracy: {name}, seed {seed}\n")
            off = "privacy.secure_aggregation=off"
            runs.append([metrics(name, seed, *how) for how in ((off, TWO), (TWO,), (off, ONE))])
        for key in runs[0][0]:
            for at, what in ((1, "masked"), (2, "plain, another order")):
                apart = [run[at][key] - run[0][key] for run in runs]
                rows.append(_row(f"{name}, {key}: {what} minus plain", apart, BAR if at == 1 else None))
    return rows


def _row(name: str, apart: list[float], bar: float | None) -> Row:
    """The mean of paired differences with its 95 % interval (Student), and the largest; the bar is for each seed."""
    far, middle, count = max(map(abs, apart)), mean(apart), len(apart)
    half = float(t.ppf(0.975, count - 1)) * stdev(apart) / count**0.5 if count > 1 else math.nan
    unit = f"mean (95 % +-{half:.5f}; at most {far:.5f} apart; {count} seeds)"
    return make_row(name, middle, unit, "" if bar is None else f"each <= {bar}", None if bar is None else far <= bar)


def main() -> None:
    """Read the options, run, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--scenarios", nargs="+", choices=SCENARIOS, default=SCENARIOS)
    options = parser.parse_args()
    show("masked_accuracy", rows_of(options.scenarios, options.seeds), options.json)


if __name__ == "__main__":
    main()
