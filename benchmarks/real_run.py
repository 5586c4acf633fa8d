"""A real run on real data, and the in-process engine on the same: skin, three clinics, each with a daemon of its own.

    python benchmarks/real_run.py [--rounds 1] [--json]

Center and clinics are processes that the guides' commands start: mutual TLS, approvals, the app in its cell, state on disk.
Masked, both round at random, a clinic with seeds of its own; without masks a real center adds answers as they come, the
engine in turn. So weights agree to the last bits after one round; what training makes of such bits in ten rounds is told,
and what it means for the measures.
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
from form import data_root, make_row, need, show

from fedmed.config.catalogue import find
from fedmed.config.loading import load
from fedmed.config.scenario import Scenario
from fedmed.federation.outcome import final_model
from fedmed.simulate import engines, members
from fedmed.simulate.evaluation import Bench, Models
from fedmed.simulate.folder import RunFolder
from fedmed.simulate.run import plan_of
from fedmed.sites import prepared
from fedmed.sites.cases import Site
from fedmed.sites.prepare import sites_of
from fedmed.store.commits import Commit, Commits
from fedmed.wire.tensors import Tensors

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.system.hospitals import Hospitals

CLINICS = ("vidir_modern", "rosendahl", "vidir_molemax")
FOLDER = "ham10000_8x8"
MODES = ("malicious", "off")
SAME = {"malicious": 5e-7, "off": 5e-8}
"""What weights may differ by after one round: lanes of 32 bits round to 3e-8 a clinic; float32 sums in another order."""
SAME_MEASURE = 0.001


@dataclass(frozen=True)
class Ended:
    """A run that is over."""

    commit: Commit
    seconds: float


def scenario_of(mode: str, rounds: int) -> Scenario:
    """Skin, for three clinics."""
    return load(find("skin"), [f"rounds={rounds}", f"privacy.secure_aggregation={mode}", "engine.workers=2"])


def in_process(scenario: Scenario, sites: list[Site], place: Path) -> Ended:
    """The engine of `fedmed simulate` on these sites."""
    folder, began = RunFolder(place), time.monotonic()
    with folder.held():
        folder.claim(scenario, False)
        prepared.lay_out(sites, folder.sites)
        if scenario.privacy.is_masked:
            members.enrol(folder.sites, [site.name for site in sites], scenario)
        engines.run(scenario, 2, folder.path, folder.sites, [float(len(site.train)) for site in sites])
    return _ended(folder.path, began)


def real(hospitals: Hospitals, scenario: Scenario, mode: str) -> Ended:
    """The same by a center and clinics that are up."""
    settings = (f"rounds={scenario.rounds}", f"privacy.secure_aggregation={mode}", "engine.workers=2", f"name=skin-{mode}")
    began = time.monotonic()
    run = hospitals.run("skin", *settings)
    for name in CLINICS:
        hospitals.approve(name, run)
    over = hospitals.until_over(run)
    if over["stage"] != "done":
        raise SystemExit(f"the run {over['stage']}: {over['why']}")
    return _ended(hospitals.folder_of(run), began)


def _ended(folder: Path, began: float) -> Ended:
    commit, _ = Commits(folder).latest()
    if commit is None:
        raise SystemExit(f"{folder} holds no commit")
    return Ended(commit, time.monotonic() - began)


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
            here, there = in_process(scenario, sites, place / f"one-{mode}"), real(hospitals, scenario, mode)
            (one, said), (other, heard) = measured(scenario, sites, here), measured(scenario, sites, there)
            apart = max(float(np.abs(one[key].astype(float) - other[key]).max()) for key in one)
            bar = "0" if mode == "off" else f"<= {SAME:g}"
            rows.append(
                make_row(f"{mode}: largest difference of a weight", apart, "", bar, apart <= (0 if mode == "off" else SAME))
            )
            for key, value in said.items():
                off = abs(value - heard[key])
                rows.append(make_row(f"{mode}: {key}, in one process", value, ""))
                rows.append(make_row(f"{mode}: {key}, difference", off, "", f"<= {SAME_MEASURE}", off <= SAME_MEASURE))
            rows.append(make_row(f"{mode}: a round in one process", here.seconds / options.rounds, "s"))
            rows.append(
                make_row(f"{mode}: a round between hospitals, approvals included", there.seconds / options.rounds, "s")
            )
    show("real_run", rows, options.json)


if __name__ == "__main__":
    main()
