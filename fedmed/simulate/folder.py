"""A run's folder: what it holds, and whether a command may start or resume in it."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from fedmed.config.differences import differences
from fedmed.config.loading import load
from fedmed.config.scenario import Scenario
from fedmed.errors import ConfigError, ResumeRefused, StoreError
from fedmed.federation.journal import NAME as JOURNAL
from fedmed.store.commits import Commits
from fedmed.store.ledgers import FOLDER as LEDGERS
from fedmed.store.syncing import sync_folder

SCENARIO, RUN = "scenario.yaml", "run.json"


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run."""

    path: Path

    @property
    def sites(self) -> Path:
        """Where the sites are laid out while the run goes on."""
        return self.path / "sites"

    @property
    def commits(self) -> Commits:
        """The run's commits."""
        return Commits(self.path)

    @property
    def has_run(self) -> bool:
        """Whether a run was started here; a scenario file alone is somebody's own."""
        return (self.path / SCENARIO).exists() and (self.path / JOURNAL).exists()

    @property
    def has_commits(self) -> bool:
        """Whether a round was committed here; a start that never got so far binds nobody."""
        return bool(self.commits.rounds())

    def scenario(self) -> Scenario:
        """The scenario that the run was started with."""
        return load(self.path / SCENARIO)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Make the folder where it is missing, and keep every other process from running in it meanwhile.

        Raises ConfigError where there can be no such folder, or none that may be written, or another run is at work in it.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            sync_folder(self.path.parent)  # or a loss of power takes the folder with all commits
            handle = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise ConfigError(f"--out {self.path} cannot be a folder: {error.strerror}; give another one") from error
        try:
            if not os.access(self.path, os.W_OK | os.X_OK):
                raise ConfigError(f"--out {self.path} cannot be written: no permission; give another one, or mend its mode")
            self._lock(handle)
            yield
        finally:
            os.close(handle)

    def _lock(self, handle: int) -> None:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(f"--out {self.path}: another run is at work in it; wait for its end or stop it") from error
        except OSError:
            return  # a disk that knows no locks

    def claim(self, scenario: Scenario, resume: bool) -> Scenario:
        """Make the folder this run's own; returns the scenario to run, with the worker count that the run began with.

        Raises ConfigError where another run lives here, ResumeRefused where the scenario is not the one it began with.
        """
        if not self.has_commits:
            if not self._is_free():
                raise ConfigError(f"--out {self.path} is not empty and holds no run; give an empty or a new folder")
            (self.path / RUN).unlink(missing_ok=True)  # of a start that came to nothing
            (self.path / JOURNAL).touch()
            replace_text(self.path / SCENARIO, yaml.safe_dump(scenario.model_dump(mode="json"), sort_keys=False))
            return scenario
        if not resume:
            raise ConfigError(
                f"--out {self.path} holds a run already; add --resume to go on with it, or give another folder"
            )
        before = self.scenario()
        if scenario.engine.workers is None:
            scenario = _with_workers(scenario, before.engine.workers)
        if changed := differences(before, scenario):
            raise ResumeRefused(
                f"{self.path} was started with another scenario; resuming would mix two. Changed:\n  "
                + "\n  ".join(changed)
                + "\nRepeat the first command with --resume, or start anew in another folder"
            )
        return before

    def _is_free(self) -> bool:
        """Whether the folder holds nothing but what a start that came to nothing, or was killed, left in it."""
        names = {path.name for path in self.path.iterdir() if not path.name.startswith(f".{SCENARIO}")}
        return self.has_run or names <= {JOURNAL}

    def remember(self, data_sha256: str, workers: int) -> dict[str, Any]:
        """What the first start fixed: the data, and how many workers, whatever machine a resumed run is on.

        Raises ResumeRefused where the data is not what it was, StoreError where the note of it cannot be read.
        """
        path = self.path / RUN
        if not path.exists():
            replace_text(path, json.dumps({"data_sha256": data_sha256, "workers": workers}, indent=1))
        try:
            known: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            before, _ = known["data_sha256"], known["workers"]
        except (ValueError, LookupError, TypeError) as error:
            raise StoreError(f"{path} is damaged ({error}); the run has to be started anew in another folder") from error
        if before != data_sha256:
            raise ResumeRefused(
                f"the data that {self.path} was started with has changed: SHA-256 {before} -> {data_sha256}. "
                "Put the first data back, or start anew in another folder"
            )
        return known

    def withdraw(self) -> None:
        """Remove what a claim wrote that came to nothing: wrong options or missing data bind nobody and leave nothing."""
        if self.has_commits:
            return
        for name in (SCENARIO, RUN, JOURNAL):
            (self.path / name).unlink(missing_ok=True)
        shutil.rmtree(self.path / LEDGERS, ignore_errors=True)  # what sites told a run that never was
        if not any(self.path.iterdir()):
            self.path.rmdir()

    def clear_sites(self) -> None:
        """Remove the laid-out sites once they are no longer needed."""
        shutil.rmtree(self.sites, ignore_errors=True)


def replace_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")  # half a surrogate pair, as JSON has it
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def free_folder(name: str) -> Path:
    """`runs/NAME`, or the first `runs/NAME-2`, `-3` ... that no run lives in."""
    base = Path("runs")
    number = 1
    while (candidate := base / (name if number == 1 else f"{name}-{number}")).exists():
        number += 1
    return candidate


def _with_workers(scenario: Scenario, workers: int | None) -> Scenario:
    return scenario.model_copy(update={"engine": scenario.engine.model_copy(update={"workers": workers})})
