"""A device as its staff has it: joined to a clinic's hub, its agent a process of its own, started and killed at will."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from fedmed.clock import SystemClock
from fedmed.config.edge import EDGE_FILE, Dicom, Edge
from fedmed.config.roles import written
from fedmed.edge.folder import make_edge, open_edge
from fedmed.identity.releases import ReleaseKey
from fedmed.privacy import keys
from fedmed.releases.channel import State
from fedmed.releases.opening import repository
from fedmed.store.standing import read_status
from tests.hub.clinic import Place, free_port
from tests.system.hospitals import Service


@dataclass(kw_only=True)
class Device(Service):
    """One box."""

    config: Edge

    @property
    def port(self) -> int:
        assert self.config.dicom is not None
        return self.config.dicom.port

    def status(self) -> dict:
        return read_status(self.folder)

    def waiting(self) -> dict:
        return self.status()["spool"]["entries"]

    def results(self) -> list[dict]:
        return [json.loads(path.read_bytes()) for path in sorted(self.folder.glob("results/*/*.json"))]


@dataclass
class Channels:
    """Releases as the hub of a clinic has them, signed by both: what the commands make, without a center and its line."""

    place: Place
    keys: tuple[ReleaseKey, ReleaseKey, ReleaseKey] = field(
        default_factory=lambda: (ReleaseKey.generate(), ReleaseKey.generate(), ReleaseKey.generate())
    )

    def __post_init__(self) -> None:
        folder, (root, own_root, approver) = self.place.folder.path.parent / "releases", self.keys
        self.federation = repository(folder / "federation", SystemClock())
        self.own = repository(folder / "own", SystemClock())
        self.federation.begin([root])
        self.own.begin([own_root], (1, 1), [approver.public])

    def release(self, package: Path, name: str, version: str) -> int:
        """Active at both; its counter."""
        counter = self.federation.propose(package, name, version).counter
        for _ in range(2):
            made = self.federation.promote(counter)
        self.own.allow(made, State.ACTIVE, "", [self.keys[2]])
        return counter


def device_of(hub: Place, name: str, **settings: object) -> Device:
    """Joined, with a key for pseudonyms and a free port; its agent is not up."""
    joined = hub.joined(name)
    make_edge(joined)
    keys.create(joined.path / "site.key")
    config = Edge(
        name=name,
        hub="127.0.0.1",
        port=hub.hub.ports.port,
        dicom=Dicom(port=free_port()),
        deidentify="site.key",
        **settings,  # type: ignore[arg-type]
    )
    (joined.path / EDGE_FILE).write_bytes(written(config))
    return Device("edge", joined.path, config=open_edge(joined.path, SystemClock()).config)
