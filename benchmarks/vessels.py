"""Retinal vessels of CHASE_DB1, three sites split by child: Dice of the federation, single sites, pooled data and a human.

    python benchmarks/vessels.py [--seeds 0 1 2] [--split N] [--json]

One child of each site, both eyes, is held back: six photographs, the same under every seed, which draws first weights and
patches. All models have the same network and the same number of passes over the cases they may see, and are judged on these
photographs at their own 960 x 999 pixels, threshold .5. The ceiling is the second grader, judged against the first.
`--split N` holds other children back.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
from form import Row, data_root, make_row, show

from fedmed.config.catalogue import find
from fedmed.config.loading import load
from fedmed.config.scenario import Scenario
from fedmed.learning.overlap import per_case, tally
from fedmed.simulate.run import Request, simulate
from fedmed.sites.prepare import sites_of

BAR = 0.75


def scenario(seed: int, split: int | None, *settings: str) -> Scenario:
    """The built-in scenario under this seed, with other test children where a split is given."""
    held = [] if split is None else [f"data.split.seed={split}"]
    return load(find("vessels"), [f"seed={seed}", *held, *settings])


def run(seed: int, split: int | None) -> dict[str, Any]:
    """The report of one run."""
    with tempfile.TemporaryDirectory() as folder:
        return simulate(Request(scenario(seed, split), data_root(), Path(folder) / "run"))


def second_grader(seed: int, split: int | None) -> float:
    """Mean Dice of the second grader on the test photographs."""
    graders = [scenario(seed, split, f"data.options.grader={grader}") for grader in (1, 2)]
    first, second = (sites_of(each.data, data_root(), each.seed, each.source) for each in graders)
    tallies = [
        tally(torch.from_numpy(drawn), torch.from_numpy(truth), 2)
        for one, other in zip(first, second, strict=True)
        for truth, drawn in zip(one.test.y, other.test.y, strict=True)
    ]
    return float(per_case(np.stack(tallies))["dice"].mean())


def rows_of(seed: int, split: int | None) -> tuple[list[Row], dict[str, float]]:
    """The rows of one seed, and its figures by name."""
    report = run(seed, split)
    local = {site: dice(metrics) for site, metrics in report["baselines"]["local"].items()}
    best = max(local, key=lambda site: local[site])
    found = {
        "federated": dice(report["overall"]["metrics"]),
        "best single site": local[best],
        "pooled": dice(report["baselines"]["pooled"]),
        "second grader": second_grader(seed, split),
        "training, s": report["seconds"]["phases"]["federate"],
    }
    interval = report["overall"]["metrics"]["dice"]
    unit = f"Dice ({interval['low']:.3f}-{interval['high']:.3f})"
    name = f"vessels seed {seed}"
    rows = [
        make_row(f"{name}: federated", found["federated"], unit, f">= {BAR}", found["federated"] >= BAR),
        *(
            make_row(f"{name}: {site} alone", value, "Dice", "< federated", value < found["federated"])
            for site, value in local.items()
        ),
        make_row(f"{name}: pooled", found["pooled"], "Dice"),
        make_row(f"{name}: second grader", found["second grader"], "Dice"),
        make_row(f"{name}: federation's training", found["training, s"], "s"),
    ]
    return rows, found


def dice(metrics: dict[str, Any]) -> float:
    """The mean Dice of a report's measures."""
    return float(metrics["dice"]["value"])


def main() -> None:
    """Read the options, run, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--split", type=int)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[Row] = []
    figures = []
    for seed in options.seeds:
        made, found = rows_of(seed, options.split)
        rows += made
        figures.append(found)
    means = {name: mean(found[name] for found in figures) for name in figures[0]}
    ours = means["federated"]
    rows += [
        make_row(f"vessels, mean of {len(figures)} seeds: federated", ours, "Dice", f">= {BAR}", ours >= BAR),
        *(make_row(f"vessels, mean: {name}", means[name], "Dice") for name in ("pooled", "second grader")),
        make_row(
            "vessels, mean: best single site of each seed",
            means["best single site"],
            "Dice",
            "< federated",
            means["best single site"] < ours,
        ),
    ]
    show("vessels", rows, options.json)


if __name__ == "__main__":
    main()
