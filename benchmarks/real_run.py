"""A real run on real data, and the in-process engine on the same: skin, three clinics, each with a daemon of its own.

    python benchmarks/real_run.py [--rounds 1] [--json]

Center and clinics are processes that the guides' commands start: mutual TLS, approvals, the app in its cell, state on disk.
Both train with one thread, and the engine with one site process, rounding by the clinics' own secrets. So they have the
same bits after any round, masked or not: every weight, every measure.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from form import Row, data_root, make_row, need, show

from fedmed.config.catalogue import find
from fedmed.config.loading import load
from fedmed.config.scenario import Scenario
from fedmed.federation.outcome import final_model
from fedmed.simulate.evaluation import Bench, Models
from fedmed.simulate.run import plan_of
from fedmed.sites.cases import Site
from fedmed.sites.prepare import sites_of
from fedmed.store.commits import Commit
from fedmed.wire.tensors import Tensors

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.system.hospitals import Hospitals
from tests.system.one_process import in_process, last

CLINICS = ("vidir_modern", "rosendahl", "vidir_molemax")
FOLDER = "ham10000_8x8"
MODES = ("malicious", "off")


@dataclass(frozen=True)
class Ended:
    """A run that is over."""

    commit: Commit
    seconds: float


def scenario_of(mode: str, rounds: int) -> Scenario:
    """Skin, for three clinics."""
    return load(find("skin"), [f"rounds={rounds}", f"privacy.secure_aggregation={mode}"])


def one(hospitals: Hospitals, scenario: Scenario, sites: list[Site], place: Path) -> Ended:
    """The engine of `fedmed simulate` on these sites."""
    began = time.monotonic()
    commit = in_process(scenario, sites, {name: clinic.folder for name, clinic in hospitals.clinics.items()}, place)
    return Ended(commit, time.monotonic() - began)


def real(hospitals: Hospitals, scenario: Scenario, mode: str) -> Ended:
    """The same by a center and clinics that are up."""
    settings = (f"rounds={scenario.rounds}", f"privacy.secure_aggregation={mode}", f"name=skin-{mode}")
    began = time.monotonic()
    run = hospitals.run("skin", *settings)
    for name in CLINICS:
        hospitals.approve(name, run)
    over = hospitals.until_over(run)
    if over["stage"] != "done":
        raise SystemExit(f"the run {over['stage']}: {over['why']}")
    return Ended(last(hospitals.folder_of(run)), time.monotonic() - began)


def federation(stack: ExitStack, place: Path, data: Path) -> Hospitals:
    """Center and clinics, up, their data released."""
    hospitals = Hospitals(place, stack)
    hospitals.center.start()
    for name in CLINICS:
        folder = hospitals.join(name)
        config = folder / "clinic.yaml"
        config.write_text(config.read_text().replace('encryption: "malicious"', 'encryption: "off"'))
        options = ("--set", "split.test=0.2", "--set", "split.validation=0.0", "--site", name)
        hospitals.give_data(name, "--reader", "skin", "--folder", data / FOLDER, *options)
    hospitals.approve_each_other()
    for clinic in hospitals.clinics.values():
        clinic.start()
    return hospitals


def measured(scenario: Scenario, sites: list[Site], ended: Ended) -> tuple[Tensors, dict[str, float]]:
    """The final model, and its measures on all sites' test cases."""
    model = final_model(ended.commit, scenario)
    overall: dict[str, Any] = Bench(plan_of(scenario, ended.commit, sites), sites).overall(Models(model))[0]
    found = {name: each["value"] for name, each in overall["metrics"].items()}
    return model, {name: value for name, value in found.items() if value is not None}


def compared(mode: str, here: Ended, there: Ended, scenario: Scenario, sites: list[Site]) -> list[Row]:
    """What differs, in one mode."""
    (model, said), (other, heard) = (measured(scenario, sites, each) for each in (here, there))
    apart = max(float(np.abs(model[key].astype(float) - other[key]).max()) for key in model)
    is_same = model.keys() == other.keys() and all(model[key].tobytes() == other[key].tobytes() for key in model)
    rows = [make_row(f"{mode}: largest difference of a weight", apart, "", "0", is_same)]
    for key, value in said.items():
        off = abs(value - heard[key])
        rows.append(make_row(f"{mode}: {key}, in one process", value, ""))
        rows.append(make_row(f"{mode}: {key}, difference", off, "", "0", off == 0))
    rows.append(make_row(f"{mode}: a round in one process", here.seconds / scenario.rounds, "s"))
    rows.append(make_row(f"{mode}: a round between hospitals, approvals included", there.seconds / scenario.rounds, "s"))
    return rows


def main() -> None:
    """Read the options, run, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    data, rows = data_root(), []
    need(data / FOLDER, "the skin data set")
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        place = Path(name)
        hospitals = federation(stack, place, data)
        for mode in MODES:
            scenario = scenario_of(mode, options.rounds)
            own = {site.name: site for site in sites_of(scenario.data, data, scenario.seed, scenario.source)}
            sites = [own[each] for each in sorted(CLINICS)]
            here, there = one(hospitals, scenario, sites, place / f"one-{mode}"), real(hospitals, scenario, mode)
            rows += compared(mode, here, there, scenario, sites)
    show("real_run", rows, options.json)


if __name__ == "__main__":
    main()
