"""A center and clinics, each on a host of its own, set up by what the two guides say and counted by what was typed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.system.network import CENTER, HOST, PROXY, PROXY_HOST, Network

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 300.0
PROXY_PORT = 8888
PASSPHRASE = "four words are enough"
_WORDS = re.compile(r"^ +((?:[a-z]+ ){5}[a-z]+)$", re.MULTILINE)


def until(is_so: Callable[[], object], what: str, patience_s: float = PATIENCE_S) -> None:
    """Wait. Raises TimeoutError with `what` was waited for."""
    end = time.monotonic() + patience_s
    while not is_so():
        if time.monotonic() > end:
            raise TimeoutError(f"after {patience_s:.0f} s still not: {what}")
        time.sleep(0.05)


@dataclass
class House:
    """One host, its staff's folder, and what was typed there."""

    network: Network
    name: str
    folder: Path
    typed: list[str] = field(default_factory=list)
    service: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.folder.mkdir()

    def start(self, *arguments: str, log: str = "log") -> subprocess.Popen[bytes]:
        """`fedmed` with these arguments, on this host and in this folder; goes on by itself."""
        self.typed.append(" ".join(arguments))
        with (self.folder / log).open("ab") as file:
            process = subprocess.Popen(
                [*self.network.inside(self.name), sys.executable, "-m", "fedmed", *arguments],
                cwd=self.folder,
                env=_clean() | {"HOME": str(self.folder), "PYTHONPATH": str(ROOT)},
                stdout=file,
                stderr=file,
            )
        self.network.stack.callback(_end, process)
        return process

    def says(self, *arguments: str, log: str = "last") -> str:
        """`fedmed` to its end; what it said. Raises RuntimeError with that where it fails."""
        (self.folder / log).unlink(missing_ok=True)
        code, said = self.start(*arguments, log=log).wait(PATIENCE_S), (self.folder / log).read_text()
        if code:
            raise RuntimeError(f"{self.name}: fedmed {' '.join(arguments)} ended with {code}: {said}")
        return said

    def looks(self, *arguments: str) -> str:
        """As `says`, for what a measurement wants to know: not counted as typed."""
        said = self.says(*arguments)
        self.typed.pop()
        return said

    def up(self, role: str, *options: str) -> None:
        """Start the service, of one word or two; returns once it says that it is up."""
        seen = self.log.stat().st_size if self.log.exists() else 0
        self.service = self.start(*role.split(), "up", *options, log=self.log.name)
        until(lambda: b" is up" in self.log.read_bytes()[seen:], f"{self.name} is up")

    @property
    def log(self) -> Path:
        return self.folder / "up.log"

    def kill(self) -> None:
        """`kill -9` of the service."""
        if self.service is not None:
            self.service.send_signal(signal.SIGKILL)
            self.service.wait(PATIENCE_S)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def _clean() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}


class Houses:
    """A federation. Clinics named in `hidden` have no way out but an HTTP proxy."""

    def __init__(self, place: Path, stack: ExitStack, sites: dict[str, str], hidden: Iterable[str] = ()) -> None:
        self.network, self.sites, self.hidden = Network(stack), sites, set(hidden)
        self.network.plug(CENTER)
        self.center = House(self.network, CENTER, place / CENTER)
        if self.hidden:
            self.network.plug(PROXY)
            self._proxy(place)
        self.clinics: dict[str, House] = {}
        for name in sites:
            (self.network.hide if name in self.hidden else self.network.plug)(name)
            self.clinics[name] = House(self.network, name, place / name)

    def _proxy(self, place: Path) -> None:
        file = place / "tinyproxy.conf"
        file.write_text(f"Port {PROXY_PORT}\nTimeout 60\nMaxClients 20\nAllow 10.78.0.0/24\nConnectPort 443\n")
        process = subprocess.Popen(
            [*self.network.inside(PROXY), "tinyproxy", "-d", "-c", str(file)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.network.stack.callback(_end, process)

    @property
    def study(self) -> Path:
        return self.center.folder / "study"

    def staffs_do(self, what: Callable[[str], None]) -> None:
        """The same at every clinic, each by its own people."""
        failed: list[BaseException] = []

        def one(name: str) -> None:
            try:
                what(name)
            except (RuntimeError, TimeoutError) as error:
                failed.append(error)

        threads = [threading.Thread(target=one, args=(name,)) for name in self.clinics]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failed:
            raise failed[0]

    def found(self) -> None:
        """The center's operator: a federation that serves, a file for each clinic."""
        self.center.says("center", "init", "study", "--name", "study", "--host", HOST)
        self.center.up("center", "--at", "study")
        for name, clinic in self.clinics.items():
            self.center.says("center", "invite", name, "--at", "study")
            (self.center.folder / f"{name}.join").rename(clinic.folder / f"{name}.join")

    def join(self) -> None:
        """Each clinic asks, reads out its words, and is admitted."""
        asking = {}
        for name, clinic in self.clinics.items():
            way = ["--proxy", f"http://{PROXY_HOST}:{PROXY_PORT}"] if name in self.hidden else []
            asking[name] = clinic.start("clinic", "join", f"{name}.join", *way, log="join.log")
        for name, clinic in self.clinics.items():
            said = clinic.folder / "join.log"
            until(lambda said=said: _WORDS.search(said.read_text()), f"{name} shows six words")
            words = _WORDS.search(said.read_text())
            self.center.says("center", "admit", name, "--words", words[1] if words else "", "--at", "study")
        for name, process in asking.items():
            if process.wait(PATIENCE_S):
                raise RuntimeError(f"{name} did not join: {(self.clinics[name].folder / 'join.log').read_text()}")

    def approve(self, name: str, run: str, *cases: str) -> None:
        """The one command of a clinic's staff: who signs, on which cases, with whom, and yes."""
        clinic, secret = self.clinics[name], self.clinics[name].folder / "pass"
        secret.write_text(PASSPHRASE)
        secret.chmod(0o600)
        others = [each for each in json.loads(clinic.looks("clinic", "members", "list", "--json")) if each["name"] != name]
        members = [part for each in others for part in ("--member", f"{each['name']}={each['words']}")]
        signed = ("--approver", "frey", "--passphrase-file", "pass")
        clinic.says("clinic", "approve", run, *signed, *cases, "--release", *members, "--yes")

    def run(self, scenario: str, *settings: str) -> None:
        given = [part for setting in settings for part in ("--set", setting)]
        self.center.says("center", "run", scenario, *given, "--no-follow", "--at", "study")

    def state(self, run: str) -> dict:
        return json.loads((self.study / "runs" / run / "state.json").read_text())

    def events(self, run: str, kind: str = "") -> list[dict]:
        """The run's journal so far, of one kind or all."""
        journal = self.study / "runs" / run / "journal.jsonl"
        lines = journal.read_text().split("\n")[:-1] if journal.exists() else []
        return [event for line in lines if (event := json.loads(line))["event"] == kind or not kind]

    def owed(self, name: str) -> set[str]:
        """A clinic's answers that have not been sent whole."""
        return {
            each.name for each in (self.clinics[name].folder / "fedmed-clinic" / "spool").glob("[!.]*") if each.is_file()
        }

    def committed(self, run: str) -> int:
        """The newest round that was committed; 0 for none."""
        return max((event["round"] for event in self.events(run, "committed")), default=0)

    def begun(self, run: str) -> int:
        """The newest round that was begun."""
        return max((event["round"] for event in self.events(run, "round")), default=0)
