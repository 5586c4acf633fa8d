"""A real federation on loopback: a center in this process, nodes as processes of their own, mutual TLS between them."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fedmed.center.engine import Engine
from fedmed.clock import SystemClock
from fedmed.errors import ProtocolRefused
from fedmed.identity.authority import PublicMember, read_certificate
from fedmed.identity.member import MemberKeys
from tests.center.pki import Authority, Client
from tests.flower.resting import REST

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Roll:
    """Who is admitted, by fingerprint."""

    authority: Authority
    admitted: set[bytes] = field(default_factory=set)

    read: dict[bytes, PublicMember] = field(default_factory=dict)

    def __call__(self, certificate: bytes) -> PublicMember:
        if certificate not in self.read:  # a signature takes a millisecond to check, and a round has a hundred requests
            self.read[certificate] = read_certificate(certificate, self.authority.own.public, SystemClock().unix())
        member = self.read[certificate]
        if member.fingerprint not in self.admitted:
            raise ProtocolRefused(f"{member.name} is not admitted")
        return member


@dataclass
class Federation:
    """A center that is up, and what its clinics need."""

    folder: Path
    authority: Authority
    roll: Roll
    engine: Engine

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.engine.listener.port}"

    def admit(self, name: str, keys: MemberKeys | None = None) -> Client:
        client = self.authority.client(name, keys)
        self.roll.admitted.add(client.keys.fingerprint)
        self.engine.link.register(client.keys.transport_public)
        return client

    def node_config(self, client: Client, apps: dict[str, dict[str, str | None]], config: dict[str, object]) -> Path:
        file = self.folder / f"{client.chain_pem.stem}.json"
        door = {
            "address": self.address,
            "authority_pem": str(self.authority.pem),
            "chain_pem": str(client.chain_pem),
            "key_pem": str(client.key_pem),
        }
        public = client.keys.transport_public.hex()
        spool = str(self.folder / f"spool-{client.chain_pem.stem}")
        file.write_text(json.dumps({"door": door, "public": public, "spool": spool, "apps": apps, "config": config}))
        return file


@contextmanager
def federation(folder: Path, database: Path | None = None, own=None):
    authority = Authority(folder / "ca")
    roll = Roll(authority)
    with Engine(database, REST, authority.server(), "127.0.0.1", 0, roll, own) as engine:
        yield Federation(folder, authority, roll, engine)


@contextmanager
def processes(configs: list[Path]):
    """One node process for each configuration; killed at the end."""
    with ExitStack() as stack:
        started = []
        for config in configs:
            log = stack.enter_context(config.with_suffix(".log").open("ab"))
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.flower.real", str(config)], stdout=log, stderr=log, cwd=ROOT
            )
            stack.callback(_end, process)
            started.append(process)
        yield started


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def serve(config: Path) -> None:
    """Be the node of a configuration, until killed."""
    from fedmed.clinic.engine import run_node
    from fedmed.flower.apps import AppRef
    from fedmed.flower.fleet import Door
    from fedmed.flower.worker import guarded

    told = json.loads(config.read_text())
    files = {name: value if name == "address" else Path(value) for name, value in told["door"].items()}
    apps = {name: guarded(AppRef(Path(ref["root"]), ref["name"], gate=ref["gate"])) for name, ref in told["apps"].items()}
    stop = threading.Event()
    public = bytes.fromhex(told["public"])
    run_node(
        Door(**files), public, Path(told["spool"]), REST, apps, told["config"], stop, lambda text: print(text, flush=True)
    )


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
