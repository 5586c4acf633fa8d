"""`kill -9` of a whole federation's services at random moments: the model, the ledgers and the audit logs afterwards.

    scripts/bench service_kills [--kills 100] [--a-run 10] [--rounds 20] [--seed 1] [--json]

`fedmed center up` and three `fedmed clinic up` as the guides have them: mutual TLS, approvals, the app in its cell, masked.
In each run the center or a clinic is killed and started again, also while it comes back from the kill before. Afterwards the
last model is held against an undisturbed run's, bit by bit; every round has every clinic, and every ledger every update;
`fedmed audit verify` passes, and each log begins with the lines that it held when anybody was killed. Seconds are those from
a kill to the next commit, start-up and further kills included. No peer: stock Flower's run does not go on.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from form import Row, make_row, show

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fedmed.federation.begun import begun_in
from fedmed.store.ledgers import read as read_ledgers
from fedmed.wire.tensors import sha256
from tests.system.hospitals import Hospitals, Service, fedmed
from tests.system.one_process import last

SITES = {"east": "east-city", "north": "north-university", "south": "south-childrens"}
DATA = ("--reader", "phantom", "--set", "split.test=0.3", "--set", "split.validation=0.1")
BACK_S = 180.0
UNTIL_S = 4.0
"""A kill comes within this of the start of what was killed before: about as long as that takes to serve again."""


def federation(stack: ExitStack, place: Path) -> Hospitals:
    """Three clinics that approved each other, up."""
    hospitals = Hospitals(place, stack)
    hospitals.center.start()
    for name, site in SITES.items():
        hospitals.join(name)
        hospitals.give_data(name, *DATA, "--site", site)
    hospitals.approve_each_other()
    for clinic in hospitals.clinics.values():
        clinic.start()
    return hospitals


@dataclass
class Kills:
    """Made, and what was seen of them."""

    hospitals: Hospitals
    rng: np.random.Generator
    rounds: int
    center: int = 0
    clinics: int = 0
    runs: int = 0
    seconds: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    seen: dict[Path, bytes] = field(default_factory=dict)
    """Whole lines of each file of an audit log, at the last kill."""

    def run(self, name: str) -> str:
        """A run that has begun, its first round committed."""
        needed = f"federation.quorum.required=[{','.join(SITES)}]"
        run = self.hospitals.run("demo", f"rounds={self.rounds}", f"name={name}", needed)
        with ThreadPoolExecutor() as staff:
            list(staff.map(lambda site: self.hospitals.approve(site, run), SITES))
        while not self.hospitals.events(run, "committed"):
            time.sleep(0.05)
        return run

    def hurt(self, run: str, most: int) -> None:
        """Up to that many kills in a run, which ends."""
        times: list[float] = []
        while len(times) < most:
            time.sleep(float(self.rng.uniform(0.0, UNTIL_S)))
            if self.hospitals.stage(run) == "done":
                break
            times.append(self._one())
        self.hospitals.until_over(run)
        self.runs += 1
        commits = [float(each["unix"]) for each in self.hospitals.events(run, "committed")]
        self.seconds += [min(after - at for after in commits if after > at) for at in times if at < commits[-1]]

    def _one(self) -> float:
        self._note()
        is_center = bool(self.rng.integers(2))
        victim = self.hospitals.center if is_center else self.hospitals.clinics[str(self.rng.choice(sorted(SITES)))]
        at = time.time()
        victim.end(signal.SIGKILL)
        self.center, self.clinics = self.center + is_center, self.clinics + (not is_center)
        victim.start()
        return at

    def _note(self) -> None:
        for service in self._services():
            for file in (service.folder / "audit").glob("events-*.jsonl"):
                self.seen[file] = file.read_bytes().rpartition(b"\n")[0]

    def _services(self) -> list[Service]:
        return [self.hospitals.center, *self.hospitals.clinics.values()]

    def judge(self, run: str, model: str) -> list[str]:
        """What is wrong after a run."""
        state, report = self.hospitals.stage(run), json.loads((self.hospitals.folder_of(run) / "report.json").read_text())
        wrong = [f"it is {state}"] * (state != "done") + ["another model"] * (self.model(run) != model)
        joined = [record["joined"] for record in report["rounds"]]
        wrong += [f"rounds with {joined}"] * (joined != [sorted(SITES)] * self.rounds)
        begun = begun_in(self.hospitals.folder_of(run))
        for name, clinic in self.hospitals.clinics.items():
            (ledger,) = read_ledgers(clinic.folder / "ledgers")
            sent = [each.round for each in ledger.departures if begun and (each.run, each.purpose) == (begun.name, "update")]
            wrong += [f"{name}'s ledger has updates of {sent}"] * (set(sent) != set(range(1, self.rounds + 1)))
        for service in self._services():
            said = fedmed("audit", "verify", service.folder / "audit", check=False)
            wrong += [f"{service.folder.name}'s audit log: {said.stderr or said.stdout}"] * bool(said.returncode)
        wrong += [f"{file} lost lines" for file, lines in self.seen.items() if not file.read_bytes().startswith(lines)]
        self.wrong += wrong
        return wrong

    def model(self, run: str) -> str:
        """SHA-256 of the last commit's tensors."""
        tensors = last(self.hospitals.folder_of(run)).tensors
        return sha256(b"".join(name.encode() + value.tobytes() for name, value in sorted(tensors.items())))

    def rows(self, wanted: int) -> list[Row]:
        """Of the report."""
        kills, most = self.center + self.clinics, max(self.seconds, default=0.0)
        return [
            make_row("kills of the center", self.center, "kills"),
            make_row("kills of a clinic", self.clinics, "kills", f"sum >= {wanted}", kills >= wanted),
            make_row("runs that they fell on", self.runs, "runs"),
            make_row("wrong in models, rounds, ledgers, audit logs", len(self.wrong), "faults", "0", not self.wrong),
            make_row("from a kill to the next commit, median", float(np.median(self.seconds)), "s"),
            make_row("from a kill to the next commit, longest", most, "s", f"<= {BACK_S:.0f}", most <= BACK_S),
        ]


def main() -> None:
    """Read the options, run, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--a-run", type=int, default=10, help="kills in a run, at most")
    parser.add_argument("--rounds", type=int, default=20, help="of a run")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        kills = Kills(federation(stack, Path(name)), np.random.default_rng(options.seed), options.rounds)
        began = time.monotonic()
        kills.hurt(whole := kills.run("whole"), 0)
        whole_s, kills.runs, model = time.monotonic() - began, 0, kills.model(whole)
        kills.judge(whole, model)
        while (made := kills.center + kills.clinics) < options.kills:
            run = kills.run(f"hurt-{kills.runs}")
            kills.hurt(run, min(options.a_run, options.kills - made))
            wrong = kills.judge(run, model)
            done = kills.center + kills.clinics
            sys.stderr.write(f"{run}: {done - made} kills ({done} so far): {'; '.join(wrong) or 'identical'}\n")
        rows = [make_row("an undisturbed run, approvals included", whole_s, "s"), *kills.rows(options.kills)]
    show("service_kills", rows, options.json)


if __name__ == "__main__":
    main()
