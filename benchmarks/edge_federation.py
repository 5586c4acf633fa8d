"""Three clinics with four devices each, all real services on real data; and kills of devices, hubs and links in mid-round.

    python benchmarks/edge_federation.py [--rounds 5] [--kills 5] [--seed 1] [--json]

`fedmed center up`, three `fedmed clinic up`, three `fedmed clinic hub up` and twelve `fedmed edge up`, joined by the
commands of the guides; rounds are masked at both tiers. Skin lesions (HAM10000): each clinic's are dealt by lesion to itself
and its devices, as folders of the data set's own form. The center's model is held against flat computation in this process,
of all fifteen as sites of one mean without masks. Then rounds in which something dies at a random moment: a device or a hub
(SIGKILL), or what stands for a cut link: nothing comes from a device or a hub for a while (SIGSTOP), and then it goes on.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import re
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from form import Row, data_root, make_row, need, show

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fedmed.config.catalogue import find
from fedmed.config.loading import load
from fedmed.config.scenario import Scenario, Split
from fedmed.learning.clinic import Clinic
from fedmed.learning.order import Order
from fedmed.simulate.run import plan_of
from fedmed.sites.cases import Site
from fedmed.sites.own import Source, site_of
from fedmed.store.commits import Commit, Commits
from fedmed.tiers import fold
from fedmed.tiers.epochs import PATIENCE
from fedmed.wire.tensors import Tensors
from tests.system.beside import Beside
from tests.system.hospitals import Hospitals, Service, fedmed, until

CLINICS = {"rosendahl": "rosendahl", "vidir-modern": "vidir_modern", "vidir-molemax": "vidir_molemax"}
DEVICES = ("device-1", "device-2", "device-3", "device-4")
FOLDER, PIXELS, METADATA = "ham10000_8x8", "hmnist_8_8_L.csv", "HAM10000_metadata"
HELD_BACK = {"test": 0.2, "validation": 0.0}
SEED = 42
CLOSE = 1e-6
MODEL = "model/"
"""Before the names of the model's tensors in a commit."""
KINDS = ("device killed", "device cut off", "hub killed", "hub cut off")
SECONDS_DOWN, ROUND_S = (0.5, 8.0), 5.0
"""How long what was hurt stays away; within which time of a round's beginning it is hurt: about a round's."""


def deal(source: Path, place: Path, seed: int = 7) -> dict[str, Path]:
    """Folders as HAM10000's, one for each trainer: `CLINIC` and `CLINIC/DEVICE`; no lesion is in two."""
    with (source / METADATA).open(newline="") as file:
        head, *about = csv.reader(file)
    columns, *pixels = (source / PIXELS).read_text().splitlines()
    lesion, origin = head.index("lesion_id"), head.index("dataset")
    rng, found = np.random.default_rng(seed), {}
    for clinic, dataset in CLINICS.items():
        lesions = sorted({row[lesion] for row in about if row[origin] == dataset})
        order = rng.permutation(len(lesions))
        names = (clinic, *(f"{clinic}/{device}" for device in DEVICES))
        for start, name in enumerate(names):
            own = {lesions[each] for each in order[start :: len(names)]}
            rows = [number for number, row in enumerate(about) if row[origin] == dataset and row[lesion] in own]
            folder = place / name.replace("/", "-")
            folder.mkdir(parents=True)
            (folder / PIXELS).write_text("\n".join([columns, *(pixels[row] for row in rows)]) + "\n")
            with (folder / METADATA).open("w", newline="") as file:
                csv.writer(file).writerows([head, *(about[row] for row in rows)])
            found[name] = folder
    return found


@dataclass
class Tier:
    """All services, up."""

    hospitals: Hospitals
    clinics: dict[str, Beside]
    data: dict[str, Path]

    def site(self, name: str) -> Site:
        """A trainer's cases, as it reads them itself."""
        source = Source("skin", str(self.data[name]), {}, None, Split(**HELD_BACK), SEED)
        return site_of(source, name.rpartition("/")[2])[0]

    def devices(self) -> dict[str, Service]:
        """By clinic and name."""
        return {f"{clinic}/{name}": one for clinic, each in self.clinics.items() for name, one in each.devices.items()}

    def are_back(self) -> bool:
        """Whether every hub hears every device."""
        return all(each.are_heard() for each in self.clinics.values())


def federation(stack: ExitStack, place: Path) -> Tier:
    """Center, clinics, hubs and devices, by the guides' commands."""
    source = data_root() / FOLDER
    need(source, "HAM10000 as skin reads it")
    data = deal(source, place / "parts")
    hospitals, clinics = Hospitals(place, stack), dict[str, Beside]()
    hospitals.center.start()
    settings = [part for key, value in HELD_BACK.items() for part in ("--set", f"split.{key}={value}")]
    for name in CLINICS:
        hospitals.join(name)
        hospitals.give_data(name, "--reader", "skin", "--folder", data[name], *settings)
    hospitals.approve_each_other()
    common = {"reader": "skin", "split": HELD_BACK, "seed": SEED}
    for name in CLINICS:
        clinics[name] = Beside(hospitals, name, "study")

    def up(name: str) -> None:
        clinics[name].set_up({each: {**common, "folder": str(data[f"{name}/{each}"])} for each in DEVICES})
        hospitals.clinics[name].start()

    with ThreadPoolExecutor(len(CLINICS)) as staff:
        list(staff.map(up, CLINICS))
    return Tier(hospitals, clinics, data)


def scenario_of(rounds: int, name: str) -> tuple[Scenario, tuple[str, ...]]:
    """Skin, masked."""
    settings = (f"rounds={rounds}", f"name={name}", "training.average_last=1")
    return load(find("skin"), list(settings)), settings


def asked(tier: Tier, rounds: int, name: str) -> tuple[Scenario, str]:
    """A run that every clinic approved."""
    scenario, settings = scenario_of(rounds, name)
    run = tier.hospitals.run("skin", *settings)
    for each in CLINICS:
        tier.hospitals.approve(each, run)
    return scenario, run


def over(tier: Tier, run: str) -> list[dict[str, Any]]:
    """The run's commits. Ends the process where it did not come to its end."""
    state = tier.hospitals.until_over(run)
    if state["stage"] != "done":
        raise SystemExit(f"the run {state['stage']}: {state['why']}")
    return tier.hospitals.events(run, "committed")


def flat(order: Order, trainers: Mapping[str, Clinic], model: Tensors) -> tuple[Tensors, int]:
    """One mean over all trainers of what each makes of the model, by cases; and those cases."""
    parts = []
    for each in trainers.values():
        made, said = each.train(order, model)
        change = {key: value - model[key] for key, value in made.items() if value.dtype.kind == "f"}
        parts.append(fold.of_one(change, int(said["num-examples"]), {"loss": said["loss"]}))
    return fold.trained(model, fold.fold(parts, model)), sum(part.weight for part in parts)


def model_in(commit: Commit) -> Tensors:
    """The global model of a commit."""
    return {name.removeprefix(MODEL): value for name, value in commit.tensors.items() if name.startswith(MODEL)}


def difference(one: Tensors, other: Tensors) -> float:
    """Largest of a weight."""
    return max(float(np.abs(value.astype(float) - other[name]).max()) for name, value in one.items())


def equality(tier: Tier, rounds: int) -> list[Row]:
    """A run that nobody disturbs, against flat computation."""
    scenario, run = asked(tier, rounds, "together")
    commits = over(tier, run)
    sites = {name: tier.site(name) for name in tier.data}
    compared = held_against_flat(scenario, tier.hospitals.folder_of(run), sites, commits)
    return [*compared, *timed(f"round with {len(tier.devices())} devices", commits)]


def held_against_flat(scenario: Scenario, run: Path, sites: Mapping[str, Site], commits: list[dict[str, Any]]) -> list[Row]:
    """Each round that the center still has with the one before, against flat computation from the same model.

    Over several rounds the two drift apart: what rounding makes of one model, training makes more of in the next. So does
    flat computation from a model that rounding might have made, which stands beside it.
    """
    torch.set_num_threads(1)
    kept, own = Commits(run), [sites[name] for name in CLINICS]
    models = {number: model_in(kept.read(number)) for number in kept.rounds()}
    plan = plan_of(scenario, kept.read(max(models)), own)
    start, trainers = plan.first_weights(), {name: Clinic(site) for name, site in sites.items()}
    models.setdefault(0, start)
    pairs, apart, cases = [number for number in models if number + 1 in models], 0.0, 0
    for number in pairs:
        made, cases = flat(plan.order(number + 1), trainers, models[number])
        apart = max(apart, difference(models[number + 1], made))
    rng = np.random.default_rng(3)
    nudged = {
        name: (value + rng.uniform(-CLOSE, CLOSE, value.shape) / 5).astype(value.dtype) for name, value in start.items()
    }
    whole = start
    for number in range(1, max(models) + 1):
        whole, _ = flat(plan.order(number), trainers, whole)
        nudged, _ = flat(plan.order(number), trainers, nudged)
    joined = {int(commit["train"]["cases"]) for commit in commits}
    return [
        make_row(
            "a round and flat computation from its model: largest difference", apart, "", f"<= {CLOSE:g}", apart <= CLOSE
        ),
        make_row("rounds so compared", len(pairs), ""),
        make_row(
            f"all {max(models)} rounds and flat computation: largest difference", difference(models[max(models)], whole), ""
        ),
        make_row(f"flat computation and itself, begun {CLOSE / 5:g} apart", difference(nudged, whole), ""),
        make_row("largest change of a weight in those rounds", difference(models[max(models)], start), ""),
        make_row("training cases in each round, fewest", min(joined), "", str(cases), joined == {cases}),
        make_row("of which the clinics' own", sum(len(site.train) for site in own), ""),
        make_row("parameters", sum(value.size for value in start.values()), ""),
    ]


def timed(name: str, commits: list[dict[str, Any]]) -> list[Row]:
    """Seconds of each round but the first, in which apps begin and epochs are set up."""
    took = [float(each["seconds"]) for each in commits[1:]]
    return [make_row(f"{name}, min", min(took), "s"), make_row(f"{name}, median", median(took), "s")]


@dataclass
class Hurt:
    """What was done to a run."""

    tier: Tier
    rng: random.Random
    done: dict[str, int] = field(default_factory=dict)
    unheard_s: list[float] = field(default_factory=list)
    """From the moment that it was brought back until its hub heard all of its devices."""

    def one(self, kind: str) -> None:
        """Something dies, and comes back."""
        service = self._victim(kind)
        if kind.endswith("killed"):
            service.end(signal.SIGKILL)
        else:
            assert service.process is not None
            service.process.send_signal(signal.SIGSTOP)
        time.sleep(self.rng.uniform(*SECONDS_DOWN))
        back = time.monotonic()
        if kind.endswith("killed"):
            service.start()
        else:
            assert service.process is not None
            service.process.send_signal(signal.SIGCONT)
        until(self.tier.are_back)
        self.unheard_s.append(time.monotonic() - back)
        self.done[kind] = self.done.get(kind, 0) + 1

    def _victim(self, kind: str) -> Service:
        if kind.startswith("hub"):
            return self.tier.clinics[self.rng.choice(sorted(CLINICS))].hub
        return self.tier.devices()[self.rng.choice(sorted(self.tier.devices()))]


def hurting(tier: Tier, kills: int, seed: int, name: str = "hurt") -> list[Row]:
    """A run in whose rounds things die, `kills` of each kind in a random order, each at a random moment of a round."""
    rng = random.Random(seed)
    planned = [kind for kind in KINDS for _ in range(kills)]
    rng.shuffle(planned)
    begins = {clinic: service.log.stat().st_size for clinic, service in tier.hospitals.clinics.items()}
    rounds, hurt = 4 * len(planned) + 10, Hurt(tier, rng)
    _, run = asked(tier, rounds, name)
    until(lambda: len(tier.hospitals.events(run, "committed")) >= 2)
    for kind in planned:
        seen = len(tier.hospitals.events(run, "round"))
        until(lambda seen=seen: len(tier.hospitals.events(run, "round")) > seen)
        time.sleep(rng.uniform(0.0, ROUND_S))
        hurt.one(kind)
    whole, seen = cases_of(tier, run)[1], len(tier.hospitals.events(run, "committed"))
    until(lambda: whole in cases_of(tier, run)[seen:] or len(cases_of(tier, run)) > seen + PATIENCE + 3)
    return judged(tier, run, hurt, begins)


def cases_of(tier: Tier, run: str) -> list[int]:
    """Training cases in each committed round."""
    return [int(each["train"]["cases"]) for each in tier.hospitals.events(run, "committed")]


def judged(tier: Tier, run: str, hurt: Hurt, begins: Mapping[str, int]) -> list[Row]:
    """What became of the rounds; the run is stopped, for it has more of them than were needed."""
    fedmed("center", "stop", run, "--at", tier.hospitals.center.folder)
    commits, begun = tier.hospitals.events(run, "committed"), tier.hospitals.events(run, "round")
    again = sum(int(each["attempt"]) > 1 for each in begun)
    numbers = [int(each["round"]) for each in commits]
    lost = again + len(set(range(1, max(numbers) + 1)) - set(numbers))
    answers = [each for each in tier.hospitals.events(run, "answered") if each["kind"] == "train"]
    whole = sum(len({each["site"] for each in answers if each["round"] == number}) == len(CLINICS) for number in numbers)
    cases = cases_of(tier, run)
    missing = named(tier, begins)
    took = [float(each["seconds"]) for each in commits[1:]]
    return [
        *[make_row(kind, count, "times") for kind, count in sorted(hurt.done.items())],
        make_row("rounds at the center meanwhile", len(commits), ""),
        make_row("of which lost, or tried again", lost, "", "0", lost == 0),
        make_row("of which with every clinic", whole, "", str(len(commits)), whole == len(commits)),
        make_row("of which with every device", cases.count(cases[1]), ""),
        make_row("every device in the last round", int(cases[-1] == cases[1]), "", "1", cases[-1] == cases[1]),
        *[make_row(f"told: {why}", count, "times") for why, count in sorted(missing.items())],
        make_row("round, longest", max(took), "s"),
        make_row("from coming back until all devices are heard, median", median(hurt.unheard_s), "s"),
        make_row("from coming back until all devices are heard, longest", max(hurt.unheard_s), "s"),
    ]


def named(tier: Tier, begins: Mapping[str, int]) -> dict[str, int]:
    """Why devices were not in a round, and how often, as the clinics' staff is told."""
    found = dict[str, int]()
    for clinic, service in tier.hospitals.clinics.items():
        with service.log.open("rb") as log:
            log.seek(begins[clinic])
            said = log.read().decode()
        for what, why in re.findall(r"(is not in this round|goes on without its devices): (.*)", said):
            why = re.sub(
                r"\d+(\.\d+)? s", "N s", f"device {what}: {why}" if what.startswith("is") else f"clinic {what}: {why}"
            )
            found[why] = found.get(why, 0) + 1
    return found


def alone(tier: Tier, rounds: int) -> list[Row]:
    """The same clinics without their devices: agents and hubs are ended."""
    for each in tier.clinics.values():
        for device in each.devices.values():
            device.end()
        each.hub.end()
    _, run = asked(tier, rounds, "alone")
    return timed("round of the clinics alone", over(tier, run))


def rows(rounds: int = 5, kills: int = 5, seed: int = 1) -> list[Row]:
    """All figures."""
    before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="fedmed-edge-") as place, ExitStack() as stack:
        tier = federation(stack, Path(place))
        found = [*equality(tier, rounds), *hurting(tier, kills, seed), *alone(tier, rounds)]
    return [*found, make_row("load before", before, ""), make_row("load after", os.getloadavg()[0], "")]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--kills", type=int, default=5, help="of each kind")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    show("edge_federation", rows(chosen.rounds, chosen.kills, chosen.seed), chosen.json)


if __name__ == "__main__":
    main()
