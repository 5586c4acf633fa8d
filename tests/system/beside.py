"""Devices beside the scanners of real clinics: hub and agents as processes, made by the commands that the guides give."""

from __future__ import annotations

import json
import re
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from fedmed.store.standing import read_status
from tests.system.hospitals import Hospitals, Service, fedmed, free_port, told, until


def configured(file: Path, **values: object) -> None:
    """Set keys of a configuration's top level."""
    text = file.read_text()
    for key, value in values.items():
        text, found = re.subn(rf"^{key}: .*$", f"{key}: {json.dumps(value)}", text, flags=re.MULTILINE)
        assert found == 1, key
    file.write_text(text)


@dataclass
class HubService(Service):
    """`fedmed clinic hub up`."""

    @property
    def command(self) -> tuple[str, ...]:
        return "clinic", "hub", "up"

    @property
    def log(self) -> Path:
        return self.folder.with_name(f"{self.folder.name}.hub.log")


@dataclass
class Beside:
    """One clinic's hub and its devices; nothing is up when it is made, and the clinic's own daemon is not yet either."""

    hospitals: Hospitals
    clinic: str
    federation: str
    devices: dict[str, Service] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.hub = HubService("clinic", self.hospitals.clinics[self.clinic].folder)
        self.enrolment = free_port()
        self.hospitals.stack.callback(self.hub.end, signal.SIGKILL)

    def invite(self, *names: str) -> dict[str, str]:
        """Codes; the hub's folder is made, and its configuration says that devices train."""
        codes = {name: str(told("clinic", "devices", "invite", name, "--at", self.hub.folder)["code"]) for name in names}
        file = self.hub.folder / "devices/hub.yaml"
        ports = {"port": free_port(), "enrolment_port": self.enrolment}
        configured(file, listen="127.0.0.1", beat_s=1.0, trains=True, train_s=60.0, **ports)
        return codes

    def join(self, name: str, code: str, training: dict) -> None:
        """A device that is to train; the hub is up."""
        folder = self.hospitals.place / f"{self.clinic}-{name}"
        fedmed("edge", "join", code, "--hub", f"127.0.0.1:{self.enrolment}", "--at", folder)
        known = {"federation": self.federation, **training}
        configured(folder / "edge.yaml", dicom=None, deidentify=None, training=known)
        self.devices[name] = Service("edge", folder)
        self.hospitals.stack.callback(self.devices[name].end, signal.SIGKILL)

    def set_up(self, training: dict[str, dict]) -> None:
        """Hub and devices up: name -> the section `training` of its edge.yaml."""
        codes = self.invite(*training)
        self.hub.start()
        for name, each in training.items():
            self.join(name, codes[name], each)
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(Service.start, self.devices.values()))
        until(self.are_heard, self.hub.is_running)

    def heard(self) -> dict[str, dict]:
        """Devices that the hub hears, with what they tell."""
        devices = read_status(self.hub.folder / "devices").get("devices", {})
        return {name: each for name, each in devices.items() if each.get("alive")}

    def are_heard(self) -> bool:
        """Whether all of them are, and tell their cases."""
        heard = self.heard()
        return heard.keys() == self.devices.keys() and all("cases" in each.get("facts", {}) for each in heard.values())

    def said(self) -> list[str]:
        """What the clinic's staff is told."""
        return [str(each["text"]) for each in told("clinic", "status", "--at", self.hub.folder)["said"]]
