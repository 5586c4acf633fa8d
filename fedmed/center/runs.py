"""The center's runs, a folder each: asked for on the command line, conducted by the service, one after the other.

runs/NAME/scenario.yaml   what is run          runs/NAME/state.json   how far it has come
runs/NAME/proposal.json   as clinics have it   runs/NAME/stop         the operator's wish
and what every run's folder holds: journal, commits, model, report
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from enum import Enum
from pathlib import Path

import yaml

from fedmed.center.proposals import Offer, propose
from fedmed.clock import Clock
from fedmed.config.loading import load
from fedmed.config.scenario import Scenario
from fedmed.errors import ConfigError, ProtocolRefused, StoreError, VersionRefused
from fedmed.identity import files
from fedmed.identity.proposal import read_offered
from fedmed.wire.canonical import canonical

FOLDER, SCENARIO, STATE, STOP, APP = "runs", "scenario.yaml", "state.json", "stop", "app.fab"
PROPOSAL = "proposal.json"
MAX_BYTES = 1 << 20


class Stage(str, Enum):
    """How far a run has come."""

    QUEUED = "queued"
    WAITING = "waiting"
    """For clinics."""
    RUNNING = "running"
    STALLED = "stalled"
    """A round could not be closed; it is tried again."""
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"


OVER = frozenset((Stage.DONE, Stage.FAILED, Stage.STOPPED))


@dataclass(frozen=True)
class Run:
    """One run."""

    name: str
    stage: Stage
    asked_unix: float
    since_unix: float
    least: int | None = None
    """Clinics that it begins with at least; all members where None."""
    why: str = ""
    """Why it waits, is stalled, failed or was stopped."""
    sites: tuple[str, ...] = ()
    """Clinics that it began with."""

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.stage in OVER


class Runs:
    """All runs of one center."""

    def __init__(self, center: Path, clock: Clock) -> None:
        self.folder, self._clock = center / FOLDER, clock
        self._offers: dict[str, Offer] = {}

    def path(self, name: str) -> Path:
        """A run's folder."""
        return self.folder / name

    def scenario(self, name: str) -> Scenario:
        """What a run runs. Raises ConfigError."""
        return load(self.path(name) / SCENARIO)

    def offer(self, name: str) -> Offer:
        """What clinics are offered to approve, as it was when it was asked for. Raises StoreError."""
        if name not in self._offers:
            proposal, own = self.path(name) / PROPOSAL, self.path(name) / APP
            try:
                content = files.read(proposal, MAX_BYTES)
                app = own.read_bytes() if own.exists() else None
                self._offers[name] = Offer(read_offered(json.loads(content)), app)
            except (OSError, ValueError, RecursionError, ProtocolRefused, VersionRefused) as error:
                raise StoreError(f"{proposal} cannot be read ({error}); put a copy back, or ask for the run anew") from error
        return self._offers[name]

    def offers(self) -> list[Offer]:
        """Those of all runs that are not over. Raises StoreError."""
        return [self.offer(run.name) for run in self.all() if not run.is_over]

    def add(self, scenario: Scenario, least: int | None = None, own: Path | None = None) -> Run:
        """Ask for a run; it is on the disk before this returns. `own`: a researcher's app, a folder or a `.fab` file.

        Raises ConfigError for what cannot be offered, StoreError.
        """
        name, now = self._free(scenario.name), self._clock.unix()
        run, offer = Run(name, Stage.QUEUED, now, now, least), propose(name, scenario, own)
        made = self.folder / f".{name}.new"
        try:
            shutil.rmtree(made, ignore_errors=True)
            made.mkdir(parents=True, mode=0o700)
            text = yaml.safe_dump(scenario.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
            files.replace(made / SCENARIO, text.encode())
            files.replace(made / STATE, _encoded(run))
            files.replace(made / PROPOSAL, offer.offered.content)
            if offer.app is not None:
                files.replace(made / APP, offer.app)
            made.rename(self.path(name))
            files.sync_folder(self.folder)
        except OSError as error:
            raise StoreError(f"{self.folder}: no run can be written there ({error.strerror}); make room") from error
        return run

    def put(self, run: Run) -> Run:
        """Write how far a run has come; returns it with the time of its last change of stage. Raises StoreError."""
        before = self.get(run.name)
        if before.stage is not run.stage:
            run = replace(run, since_unix=self._clock.unix())
        try:
            files.replace(self.path(run.name) / STATE, _encoded(run))
        except OSError as error:
            raise StoreError(f"{self.path(run.name)}: the run's state cannot be written ({error.strerror})") from error
        return run

    def get(self, name: str) -> Run:
        """One run. Raises ConfigError where there is none, StoreError where its state cannot be read."""
        path = self.path(name) / STATE
        if not path.is_file():
            there = ", ".join(sorted(run.name for run in self.all())) or "none yet"
            raise ConfigError(f"no run is called {name!r}; runs: {there}")
        return _read(path)

    def all(self) -> Iterator[Run]:
        """Every run, in the order in which they were asked for."""
        if not self.folder.is_dir():
            return
        found = [_read(path) for path in self.folder.glob("[!.]*/" + STATE)]
        yield from sorted(found, key=lambda run: (run.asked_unix, run.name))

    def next(self) -> Run | None:
        """The run to go on with: the first that is not over."""
        return next((run for run in self.all() if not run.is_over), None)

    def ask_to_stop(self, name: str) -> Run:
        """Have a run end after what it is at. Raises ConfigError where it is over, or none is called so."""
        run = self.get(name)
        if run.is_over:
            raise ConfigError(f"run {name} is over ({run.stage.value}); nothing is left to stop")
        (self.path(name) / STOP).touch()
        return run

    def is_to_stop(self, name: str) -> bool:
        """Whether the operator wants it to end."""
        return (self.path(name) / STOP).exists()

    def _free(self, name: str) -> str:
        number, found = 1, name
        while self.path(found).exists():
            number += 1
            found = f"{name[:58]}-{number}"
        return found


def _encoded(run: Run) -> bytes:
    return canonical(asdict(run)) + b"\n"


def _read(path: Path) -> Run:
    try:
        found = json.loads(files.read(path, MAX_BYTES))
        known = {key: found[key] for key in found.keys() & Run.__dataclass_fields__.keys()}  # a newer version may say more
        return Run(**{**known, "stage": Stage(found["stage"]), "sites": tuple(found["sites"])})
    except (OSError, ValueError, TypeError, LookupError, RecursionError) as error:
        raise StoreError(f"{path} cannot be read ({error}); put a copy back, or remove the run's folder") from error
