"""A center and three clinics as processes of their own over mutual TLS, each of which may be killed at a named moment.

python -m tests.faults.real_federation center|clinic CONFIG
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import killing
from fedmed.center.engine import Engine
from fedmed.center.tls import Tls
from fedmed.clock import SystemClock
from fedmed.config.loading import load
from fedmed.federation.begun import Conduct, begin, begun_in
from fedmed.federation.course import Course
from fedmed.flower.apps import AppRef
from fedmed.flower.fleet import Door, Fleet
from fedmed.flower.hatch import Hatch
from fedmed.flower.node import Node
from fedmed.flower.resting import AtRest
from fedmed.flower.spool import Shelf, Spool
from fedmed.flower.superlink import SuperLink
from fedmed.flower.worker import guarded
from fedmed.identity.authority import read_certificate
from fedmed.identity.member import MemberKeys
from fedmed.simulate import engines, members
from fedmed.sites import prepared
from fedmed.sites.prepare import sites_of
from fedmed.store.commits import Commits
from fedmed.store.departures import SUFFIX, Departure, verify
from fedmed.store.ledgers import FOLDER
from fedmed.wire.tensors import sha256
from tests.center.pki import Authority
from tests.faults.points import MOMENT, around, reach
from tests.flower.resting import REST

ROOT = Path(__file__).resolve().parents[2]
OVERRIDES = ["rounds=2", "federation.deadline_s=100", "training.average_last=1"]
GATE = f"{members.__name__}:{members.gate_of.__name__}"
ENDED_S = 150.0


class MarkedCourse(Course):
    """Comes to a moment before and after each line that it writes: `drawn`, `asked`, `heard`, `again`, `begin`."""

    def _write(self, entry: dict[str, Any], at_once: bool = True) -> None:
        name = next(each for each in ("drawn", "asked", "heard", "again") if each in entry)
        reach(f"{name} before")
        super()._write(entry, at_once)
        reach(f"{name} after")

    def begin(self, after: int, is_anew: bool = False) -> None:
        reach("begin before")
        super().begin(after, is_anew)
        reach("begin after")

    def hear(self, message_id: str) -> None:
        super().hear(message_id)
        reach("answer")


def center(told: dict[str, Any]) -> None:
    """Conduct the run of a folder to its end; the next process does the same."""
    clock, folder = SystemClock(), Path(told["run"])
    public = bytes.fromhex(told["authority"])
    seen: dict[bytes, Any] = {}

    def admit(certificate: bytes) -> Any:
        if certificate not in seen:
            seen[certificate] = read_certificate(certificate, public, clock.unix())
        return seen[certificate]

    scenario = load(folder / "tiny.yaml", OVERRIDES)
    tls = Tls(*(Path(each) for each in told["tls"]))
    with Engine(Path(told["database"]), REST, tls, "127.0.0.1", told["port"], admit) as engine:
        for each in told["keys"]:
            engine.link.register(bytes.fromhex(each))
        _mark(engine.link)
        if begun_in(folder) is None:
            begin(folder, engine.link, "clinic", members.FEDERATION, scenario, clock)
        print(f"up {clock.unix()}", flush=True)
        Conduct(folder, engine.link, clock, bytes.fromhex(told["members"]), MarkedCourse)(scenario, len(told["keys"]))


def _mark(link: SuperLink) -> None:
    served, link_answer = Hatch.answer, link.answer

    def own(hatch: Hatch, call: str, body: bytes, node: Any) -> bytes:
        return bytes(around(call, served)(hatch, call, body, node))

    def flowers(call: str, body: bytes, node: Any) -> bytes:
        return bytes(around(call, link_answer)(call, body, node))

    Hatch.answer = own  # type: ignore[method-assign]
    vars(link).update(answer=flowers)
    vars(link.objects).update(put_all=around("store", link.objects.put_all))
    Commits.write = around("commit", Commits.write)  # type: ignore[method-assign]


class MarkedSpool(Spool):
    def __init__(self, folder: Path, rest: AtRest) -> None:
        super().__init__(folder, rest)
        for name in ("keep", "drop"):
            setattr(self, name, around(name, getattr(super(), name)))


def clinic(told: dict[str, Any]) -> None:
    """One node, for as long as it lives."""
    files = {name: value if name == "address" else Path(value) for name, value in told["door"].items()}
    stop, public = threading.Event(), bytes.fromhex(told["public"])
    fleet = Fleet(Door(**files), public, stop, lambda text: print(text, flush=True))
    for name in ("take", "fetch", "give", "more"):
        setattr(fleet, name, around(name, getattr(fleet, name)))
    call = guarded(AppRef(ROOT, engines.CLIENT.name, engines.CLIENT.preload, gate=GATE))

    def marked(message: Any, context: Any) -> Any:
        return around(message.metadata.message_type, call)(message, context)

    from clients import app as inside

    inside.Clinic.train = around("training", inside.Clinic.train)  # type: ignore[method-assign]
    place = Path(told["spool"])
    Node(
        fleet,
        MarkedSpool(place, REST),
        Shelf(place / "model", REST),
        {"clinic": marked},
        told["config"],
        stop,
        lambda text: None,
    ).serve()


def free_port() -> int:
    """One that was free a moment ago; the center listens on it again after each start."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Real:
    """A federation in a folder: its clinics stay up over many runs, its center comes and goes."""

    folder: Path
    stack: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        killing.write_inputs(self.folder)
        scenario = load(self.folder / "tiny.yaml", OVERRIDES)
        sites, place = sites_of(scenario.data, self.folder, scenario.seed, scenario.source), self.folder / "clinics/sites"
        place.parent.mkdir()
        prepared.lay_out(sites, place)
        self.names = [site.name for site in sites]
        members.enrol(place, self.names, scenario)
        authority, self.port = Authority(self.folder / "ca"), free_port()
        tls = authority.server()
        keys = [MemberKeys.load(place / members.MEMBERS / f"{number:05d}.keys") for number in range(len(self.names))]
        self.told = {
            "database": str(self.folder / "state.db"),
            "tls": [str(tls.chain_pem), str(tls.key_pem), str(authority.pem)],
            "port": self.port,
            "authority": authority.own.public.hex(),
            "members": (place / members.MEMBERS / members.AUTHORITY).read_bytes().hex(),
            "keys": [each.transport_public.hex() for each in keys],
        }
        for number, (name, each) in enumerate(zip(self.names, keys, strict=True)):
            client = authority.client(name, each)
            door = {"address": f"127.0.0.1:{self.port}", "authority_pem": str(authority.pem)}
            door |= {"chain_pem": str(client.chain_pem), "key_pem": str(client.key_pem)}
            config = {"partition-id": number, "sites-folder": str(place)}
            spool = str(self.folder / f"spool-{name}")
            facts = {"door": door, "public": each.transport_public.hex(), "spool": spool, "config": config}
            (self.folder / f"{name}.json").write_text(json.dumps(facts))
        self.clinics = {name: self.clinic(name) for name in self.names}

    def _start(self, role: str, config: Path, moment: str) -> subprocess.Popen[bytes]:
        log = self.stack.enter_context(config.with_suffix(".log").open("ab"))
        command = [sys.executable, "-m", "tests.faults.real_federation", role, str(config)]
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT, env={**os.environ, MOMENT: moment})
        self.stack.callback(_end, process)
        return process

    def clinic(self, name: str, moment: str = "") -> subprocess.Popen[bytes]:
        """Start a clinic's node."""
        return self._start("clinic", self.folder / f"{name}.json", moment)

    def center(self, run: str, moment: str = "") -> subprocess.Popen[bytes]:
        """Start the center on a run, begun by the first start."""
        folder = self.folder / run
        if not folder.exists():
            folder.mkdir()
            (folder / "tiny.yaml").write_text((self.folder / "tiny.yaml").read_text())
            (folder / "center.json").write_text(json.dumps({**self.told, "run": str(folder)}))
        return self._start("center", folder / "center.json", moment)

    def finish(self, process: subprocess.Popen[bytes], run: str) -> None:
        """Wait for the end of the run."""
        said = process.wait(ENDED_S)
        assert said == 0, (self.folder / run / "center.log").read_text()[-3000:]

    def model(self, run: str) -> str:
        """SHA-256 of the last commit's tensors."""
        commit, faults = Commits(self.folder / run).latest()
        assert commit is not None
        assert (commit.round, faults) == (2, [])
        return sha256(b"".join(name.encode() + value.tobytes() for name, value in sorted(commit.tensors.items())))

    def sent(self, run: str) -> list[list[Departure]]:
        """What each clinic's ledger, verified, has of a run."""
        begun = begun_in(self.folder / run)
        assert begun is not None
        places = [self.folder / "clinics" / FOLDER / f"{number:05d}{SUFFIX}" for number in range(len(self.names))]
        return [[line for line in verify(place) if line.run == begun.name] for place in places]

    def faults(self, run: str, is_exact: bool) -> list[str]:
        """What is wrong with a run; `is_exact`: no clinic was killed, so that nothing left one twice."""
        history = Commits(self.folder / run).latest()[0].state["history"]  # type: ignore[union-attr]
        wrong = [f"round {each['round']}: {each['joined']}" for each in history if sorted(each["joined"]) != self.names]
        for name, lines in zip(self.names, self.sent(run), strict=True):
            rounds = [line.round for line in lines if line.purpose == "update"]
            if (rounds != [1, 2]) if is_exact else (sorted(set(rounds)) != [1, 2]):
                wrong.append(f"{name} sent updates of rounds {rounds}")
        return wrong

    def center_killed(self, run: str, moment: str) -> tuple[bool, float]:
        """Whether the moment came, and the seconds from the next start to the end of the run."""
        first = self.center(run, moment)
        was_killed = first.wait(ENDED_S) == -9
        began = time.monotonic()
        if was_killed:
            self.finish(self.center(run), run)
        return was_killed, time.monotonic() - began

    def restart(self, name: str) -> None:
        """Kill a clinic, and start it again."""
        _end(self.clinics[name])
        self.clinics[name] = self.clinic(name)

    def clinic_killed(self, run: str, moment: str) -> tuple[bool, float]:
        """The same for the first clinic, which is started again when it has died."""
        name = self.names[0]
        _end(self.clinics[name])
        victim, process = self.clinic(name, moment), self.center(run)
        while victim.poll() is None and process.poll() is None:
            time.sleep(0.02)
        was_killed, began = victim.poll() is not None, time.monotonic()
        if was_killed:
            victim = self.clinic(name)
        self.clinics[name] = victim
        self.finish(process, run)
        return was_killed, time.monotonic() - began


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


if __name__ == "__main__":
    {"center": center, "clinic": clinic}[sys.argv[1]](json.loads(Path(sys.argv[2]).read_text()))
