"""A clinic's hub on real ports with real certificates, and devices that enrol at it."""

from __future__ import annotations

import hashlib
import random
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from fedmed.clock import Clock, SystemClock
from fedmed.config.roles import Hub as Config
from fedmed.hub.client import HubClient
from fedmed.hub.folder import DOWN, HubFolder, make_hub
from fedmed.hub.joining import DeviceFolder, join, open_device
from fedmed.hub.landing import Arrived
from fedmed.hub.messages import Piece
from fedmed.hub.serving import Hub
from fedmed.store.audit.event import Event, faults_of


class Skewed(SystemClock):
    """The machine's clock, and so many seconds more."""

    def __init__(self, by: float = 0.0) -> None:
        self.by = by

    def unix(self) -> float:
        return super().unix() + self.by


class Place:
    """One hub that serves, what it kept, what it wrote down and what it told."""

    def __init__(self, path: Path, config: Config, clock: Clock) -> None:
        made = make_hub(path, config, clock)
        self.path, self.clock = path, clock
        self.folder: HubFolder = replace(made, config=config.model_copy(update={"port": 0, "enrolment_port": 0}))
        self.kept: list[Arrived] = []
        self.events: list[Event] = []
        self.told: list[str] = []
        self.hub = self._made()

    def _made(self) -> Hub:
        keepers = {"study": self.kept.extend, "update": self.kept.extend}
        return Hub(self.folder, keepers, self._append, self.told.append)

    def _append(self, said: Event) -> None:
        assert not list(faults_of(said))
        self.events.append(said)

    def again(self) -> None:
        """The hub ends, and another process' would begin with the same folder and port."""
        ports = self.hub.ports.port, self.hub.ports.enrolment_port
        self.hub.close()
        config = self.folder.config.model_copy(update=dict(zip(("port", "enrolment_port"), ports, strict=True)))
        self.folder = replace(self.folder, config=config)
        self.hub = self._made()
        self.hub.open()

    def down(self, who: str, kind: str, name: str, content: bytes) -> None:
        place = self.folder.path / DOWN / who / kind / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)

    def joined(self, name: str, clock: Clock | None = None) -> DeviceFolder:
        code = self.folder.invite(name).text()
        path, at = self.path.parent / f"device-{name}-{random.getrandbits(32):08x}", clock or SystemClock()
        join(code, "127.0.0.1", self.hub.ports.enrolment_port, path, at)
        return open_device(path, at)

    def client(self, name: str, clock: Clock | None = None) -> HubClient:
        return HubClient(self.joined(name, clock))

    def refusals(self) -> list[tuple[str, str]]:
        return [(each.resource, str(each.details["code"])) for each in self.events if each.outcome == "refused"]


@contextmanager
def serving(path: Path, clock: Clock | None = None, **config: object) -> Iterator[Place]:
    """A hub below `path`/clinic."""
    place = Place(path / "clinic", Config(clinic="north", listen="127.0.0.1", **config), clock or SystemClock())
    place.hub.open()
    try:
        yield place
    finally:
        place.hub.close()


def piece_of(content: bytes, kind: str = "study", **facts: object) -> Piece:
    return Piece(hashlib.sha256(content).hexdigest(), kind, len(content), facts)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def shown_at(port: int) -> bytes:
    """The certificate (DER) that a port shows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    with socket.create_connection(("127.0.0.1", port)) as line, context.wrap_socket(line) as shaken:
        return shaken.getpeercert(binary_form=True) or b""
