"""A federation of real processes, made by the commands that the guides give."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.cli.spoken import spoken

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 180
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
"""For what trains: hospitals of one machine share its cores, and another number of threads makes other last bits."""
WORDS = "four words are enough"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as made:
        return int(made.getsockname()[1])


def fedmed(*arguments: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """One command, to its end; the services are processes of their own, and tests/system/houses.py has commands that are."""
    done = subprocess.CompletedProcess(arguments, *spoken(*arguments))
    assert not check or done.returncode == 0, (arguments, done.stdout, done.stderr)
    return done


def told(*arguments: str | Path) -> dict:
    return json.loads(fedmed(*arguments, "--json").stdout)


@dataclass
class Service:
    """`up` of a folder; started and ended as often as a test likes."""

    role: str  # "clinic hub": the command's words
    folder: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self.folder.with_suffix(".log")

    @property
    def command(self) -> tuple[str, ...]:
        return *self.role.split(), "up"

    def start(self, version: str | None = None) -> None:
        """`version`: the process takes itself for another version of fedmed than it is."""
        other = f"import fedmed; fedmed.__version__ = {version!r}; from fedmed.__main__ import main; main()"
        program = ["-m", "fedmed"] if version is None else ["-c", other]
        with self.log.open("ab") as log:
            seen = log.tell()
            command = [sys.executable, *program, *self.command, "--at", str(self.folder)]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT, env={**os.environ, **ONE_THREAD})
        until(lambda: b" is up" in self.log.read_bytes()[seen:], self.is_running)

    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def end(self, number: int = signal.SIGTERM) -> int:
        if self.process is None:
            return 0
        if self.process.poll() is None:
            os.kill(self.process.pid, number)
        return self.process.wait(PATIENCE_S)


@dataclass
class Hospitals:
    """One center and its clinics."""

    place: Path
    stack: ExitStack
    port: int = field(default_factory=free_port)
    clinics: dict[str, Service] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.center = Service("center", self.place / "center")
        fedmed("center", "init", self.center.folder, "--name", "study", "--host", "127.0.0.1", "--port", str(self.port))
        self.stack.callback(self.center.end, signal.SIGKILL)

    def join(self, name: str) -> Path:
        """A clinic by the join file, the words compared; its daemon is not up."""
        file, folder = self.place / f"{name}.join", self.place / name
        fedmed("center", "invite", name, "--at", self.center.folder, "--out", file)
        words = told("clinic", "join", file, "--at", folder, "--proxy", "none", "--no-wait")["words"]
        fedmed("center", "admit", name, "--words", words, "--at", self.center.folder)
        fedmed("clinic", "join", file, "--at", folder, "--proxy", "none")
        self.clinics[name] = Service("clinic", folder)
        self.stack.callback(self.clinics[name].end, signal.SIGKILL)
        return folder

    def approve_each_other(self) -> None:
        for name, clinic in self.clinics.items():
            for member in told("clinic", "members", "list", "--at", clinic.folder):
                if member["name"] != name:
                    fedmed("clinic", "members", "approve", member["name"], "--words", member["words"], "--at", clinic.folder)

    def give_data(self, name: str, *options: str | Path) -> None:
        """A data set, released for research; and an approver."""
        folder, passphrase = self.clinics[name].folder, self.place / f"{name}.pass"
        fedmed("clinic", "data", "add", "cases", *options, "--at", folder)
        fedmed("clinic", "data", "release", "cases", "--purpose", "research", "--at", folder)
        passphrase.write_text(WORDS)
        passphrase.chmod(0o600)
        fedmed("clinic", "approver", "frey", "--key", self.key(name), "--passphrase-file", passphrase, "--at", folder)

    def key(self, name: str) -> Path:
        return self.place / f"{name}.approver"

    def approve(self, name: str, run: str) -> None:
        folder, secret = self.clinics[name].folder, self.place / f"{name}.pass"
        fedmed("clinic", "approve", run, "--key", self.key(name), "--passphrase-file", secret, "--yes", "--at", folder)

    def run(self, scenario: str | Path, *settings: str, options: tuple[str | Path, ...] = ()) -> str:
        """Ask for a run; its name."""
        given = [part for setting in settings for part in ("--set", setting)]
        said = told("center", "run", scenario, *given, *options, "--no-follow", "--at", self.center.folder)
        return str(said["run"])

    def stage(self, run: str) -> str:
        return str(self._state(run)["stage"])

    def _state(self, run: str) -> dict:
        return json.loads((self.folder_of(run) / "state.json").read_text())

    def folder_of(self, run: str) -> Path:
        return self.center.folder / "runs" / run

    def events(self, run: str, kind: str) -> list[dict]:
        journal = self.folder_of(run) / "journal.jsonl"
        lines = journal.read_text().splitlines() if journal.exists() else []
        return [event for line in lines if (event := json.loads(line))["event"] == kind]

    def until_over(self, run: str) -> dict:
        until(lambda: self.stage(run) in ("done", "failed", "stopped"), self.center.is_running)
        return self._state(run)


def until(is_so, goes_on=lambda: True) -> None:
    """Wait; fails where a process ends first, or after minutes."""
    end = time.monotonic() + PATIENCE_S
    while not is_so():
        assert goes_on(), "a process ended"
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.1)
