"""A clinic's hub and one of its devices on two hosts, between them a line that is slow, cut or silent; for edge_offline.

Both are the services that staff starts, `fedmed clinic hub up` and `fedmed edge up`, joined by a code. What the hub has is
read from its receipts and its files, what left the device is counted at its line with all headers.
"""

from __future__ import annotations

import hashlib
import os
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import scanner
from fedmed.config.edge import EDGE_FILE, Edge
from fedmed.config.roles import load_role, written
from fedmed.hub.landing import RECEIPTS
from fedmed.privacy import keys
from fedmed.store.standing import read_status
from tests.hub.process import Service
from tests.system.houses import House, until
from tests.system.network import CENTER, HOST, Network

DEVICE, AGENT, KEY = "us-1", "agent", "site.key"
PATIENCE_S, LOOKS_S = 3600.0, 0.2
PAUSE_S = 0.5
"""A kill comes at a random moment of this span after its image."""


@dataclass(frozen=True)
class Sample:
    """What stood how at a time."""

    unix: float
    images: int
    """That the hub has."""
    bytes: int
    """Of them."""
    wire: int
    """Bytes that left the device so far."""
    agent_s: float
    hub_s: float
    """Processor time of the two services so far; an agent that was killed begins anew."""


class Scene:
    """Up, and cut from each other, from the start."""

    def __init__(self, place: Path, stack: ExitStack, chance: random.Random) -> None:
        self._chance, self.kills = chance, 0
        clinic = Service(place)
        clinic.rules(clinic.hub, listen="0.0.0.0")
        self.folder, self.network = clinic.hub.path, Network(stack)
        for name in (CENTER, DEVICE):
            self.network.plug(name)
        self.network.packets(DEVICE)
        self.hub, self.device = (House(self.network, name, place / f"house-{name}") for name in (CENTER, DEVICE))
        self.agent, self._told = self.device.folder / AGENT, self.device.folder / "acknowledged"
        code = clinic.hub.invite(DEVICE).text()
        self.hub.up("clinic hub", "--at", str(clinic.path))
        at = f"{HOST}:{clinic.hub.config.enrolment_port}"
        self.device.says("edge", "join", code, "--hub", at, "--at", AGENT)
        keys.create(self.agent / KEY)
        config = load_role(self.agent / EDGE_FILE, Edge).model_copy(update={"deidentify": KEY})
        (self.agent / EDGE_FILE).write_bytes(written(config))
        assert config.dicom is not None
        self._port = config.dicom.port
        self.network.cut(DEVICE)
        self.begin()

    def begin(self) -> None:
        """The agent, up."""
        self.device.up("edge", "--at", AGENT)

    def kill(self) -> None:
        """`kill -9` of the agent at a random moment from now on; it is up again then."""
        time.sleep(self._chance.random() * PAUSE_S)
        self.device.kill()
        self.kills += 1
        self.begin()

    def moments(self, kills: int, first: int, last: int) -> list[int]:
        """Numbers of images after which a kill comes."""
        return sorted(self._chance.sample(range(first, last), kills))

    def day(self, count: int, kills: int) -> None:
        """All images come in, by C-STORE, while the agent is killed; ends when each has become a copy that waits."""
        command = [sys.executable, scanner.__file__, str(self._port), str(count), str(self._told)]
        with subprocess.Popen([*self.network.inside(DEVICE), *command]) as scans:
            for at in self.moments(kills, 1, count):
                self._until(lambda at=at: self.acknowledged() >= at, f"image {at} is acknowledged", scans)
                self.kill()
            self._until(lambda: scans.poll() is not None, "all are acknowledged", scans)
        if scans.returncode or self.acknowledged() != count:
            raise SystemExit(f"the scanner ended with {scans.returncode}, {self.acknowledged()} images acknowledged")
        until(lambda: self.waits().get("study") == count, "each image is a copy that waits", PATIENCE_S)

    def _until(self, is_so: Callable[[], bool], what: str, scans: subprocess.Popen[bytes]) -> None:
        until(lambda: is_so() or scans.poll() is not None, what, PATIENCE_S)

    def acknowledged(self) -> int:
        """Images, so far."""
        return int(self._told.read_text() or 0) if self._told.exists() else 0

    def status(self) -> dict[str, Any]:
        """The agent's, as it tells it."""
        return read_status(self.agent)

    def waits(self) -> dict[str, int]:
        """What waits on the device, as its status says; what is none is left out."""
        entries = self.status().get("spool", {}).get("entries", {"unknown": 1})
        return {kind: count for kind, count in entries.items() if count}

    def sample(self) -> Sample:
        """How it stands now."""
        with closing(sqlite3.connect(f"file:{self.folder / RECEIPTS}?mode=ro", uri=True)) as base:
            images, size = base.execute("SELECT count(*), total(size) FROM held").fetchone()
        used = (_used_s(house.service) for house in (self.device, self.hub))
        return Sample(time.time(), int(images), int(size), self.network.sent(DEVICE), *used)

    def receipts(self) -> dict[str, float]:
        """When the hub had each object on its disk, seconds since 1970, by its digest."""
        with closing(sqlite3.connect(f"file:{self.folder / RECEIPTS}?mode=ro", uri=True)) as base:
            return {str(digest): float(unix) for digest, unix in base.execute("SELECT digest, unix FROM held")}

    def kept(self) -> list[tuple[int, str]]:
        """Number and digest of each object that the hub has as a file. Raises ValueError for one that is not as it was."""
        found = []
        for path in (self.folder / "studies" / DEVICE).iterdir():
            if path.suffix == ".json":
                continue
            content = path.read_bytes()
            if hashlib.sha256(content).hexdigest() != path.name:
                raise ValueError(f"{path.name} is not what its name says")
            found.append((scanner.number_of(content), path.name))
        return found


def _used_s(service: subprocess.Popen[bytes] | None) -> float:
    """Processor seconds of a process and the children that have ended."""
    assert service is not None
    fields = Path("/proc", str(service.pid), "stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
