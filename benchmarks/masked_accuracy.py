"""Whether encryption costs accuracy: the same scenarios and seeds, masked and plain, their test metrics side by side.

    scripts/bench masked_accuracy [--json] [--seeds N]

Scenarios as shipped (heart, pneumonia, skin), without baselines.
The rounding of masked runs is seeded, so that each is repeatable.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from form import Row, data_root, make_row, show

from fedmed.config import catalogue
from fedmed.config.loading import load
from fedmed.simulate.run import Request, simulate

SCENARIOS = ("heart", "pneumonia", "skin")
BAR = 0.001


def metrics(name: str, seed: int, mode: str) -> dict[str, float]:
    """Test metrics of one run on the pooled test cases."""
    options = [f"seed={seed}", f"privacy.secure_aggregation={mode}", "evaluation.baselines=false"]
    with tempfile.TemporaryDirectory() as folder:
        scenario = load(catalogue.find(name), options)
        report = simulate(Request(scenario, data_root(), Path(folder) / "run"))
    found = report["overall"]["metrics"]
    return {key: float(each["value"]) for key, each in found.items() if each.get("value") is not None}


def rows_of(seeds: int) -> list[Row]:
    """One row a scenario: the largest difference of any metric over all seeds."""
    rows = []
    for name in SCENARIOS:
        far, told = 0.0, ""
        for seed in range(42, 42 + seeds):
            sys.stderr.write(f"masked_accuracy: {name}, seed {seed}\n")
            plain, masked = (metrics(name, seed, mode) for mode in ("off", "malicious"))
            for key, value in plain.items():
                if (apart := abs(value - masked[key])) >= far:
                    far, told = apart, f"{key} of seed {seed}: {value:.4f} plain, {masked[key]:.4f} masked"
        rows.append(make_row(f"{name}: largest difference of a metric", far, told, f"<= {BAR}", far <= BAR))
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
