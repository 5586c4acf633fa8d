"""Whether encryption costs accuracy: the same scenarios and seeds, masked and plain, their test metrics side by side.

    scripts/bench masked_accuracy [--json] [--seeds N]

Scenarios as shipped (heart, pneumonia, skin), without baselines. The rounding of masked runs is seeded, so that each is
repeatable. Beside them the same plain runs with one site process instead of two, which adds updates up in another order:
what these differ by is what the last bit of a float does to a scenario, masked or not.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from statistics import mean

from form import Row, data_root, make_row, show

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


def rows_of(seeds: int) -> list[Row]:
    """Two rows a scenario and metric: what encryption and what another order of adding changes, on average and at most."""
    rows = []
    for name in SCENARIOS:
        runs = []
        for seed in range(42, 42 + seeds):
            sys.stderr.write(f"masked_accuracy: {name}, seed {seed}\n")
            off = "privacy.secure_aggregation=off"
            runs.append([metrics(name, seed, *how) for how in ((off, TWO), (TWO,), (off, ONE))])
        for key in runs[0][0]:
            for at, what in ((1, "masked"), (2, "plain, another order")):
                apart = [run[at][key] - run[0][key] for run in runs]
                far, middle = max(map(abs, apart)), mean(apart)
                unit = f"at most (mean {middle:+.5f}, {seeds} seeds)"
                bar, holds = (f"<= {BAR}", far <= BAR) if at == 1 else ("", None)
                rows.append(make_row(f"{name}, {key}: {what} against plain", far, unit, bar, holds))
    return rows


def main() -> None:
    """Read the options, run, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    show("masked_accuracy", rows_of(options.seeds), options.json)


if __name__ == "__main__":
    main()
