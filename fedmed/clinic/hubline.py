"""The clinic's daemon and its hub for devices: which devices train along, as the hub's folder tells.

A device trains where the hub's configuration says so, the hub hears it, and its heartbeats tell how many training cases it
has (`CASES`). Nothing but the folder is shared with the hub's service.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fedmed.clinic.folder import ClinicFolder
from fedmed.config.roles import HUB_FILE
from fedmed.config.scenario import Scenario
from fedmed.errors import FedmedError
from fedmed.hub.fellows import enrolled
from fedmed.hub.folder import FOLDER, HubFolder, open_hub
from fedmed.hub.machine import silent_s
from fedmed.hub.rounds import FolderTransport
from fedmed.hub.training import CASES
from fedmed.store.standing import read_status
from fedmed.tiers.asking import Devices
from fedmed.tiers.messages import MOST_CASES
from fedmed.tiers.round import Rules
from fedmed.tiers.terms import Device, scope
from fedmed.wire.visible import visible

SILENT_S, LOOK_S = 90.0, 1.0
"""A status older than this is of a service that is gone; how often it is looked at."""
BEATS = 3
"""Heartbeats of a device that each small message of a round waits for, at least."""


def devices_for(folder: ClinicFolder, tell: Callable[[str], None]) -> Callable[[Scenario], Devices | None]:
    """What makes the devices of a run, as the clinic's folder is when the run begins: a daemon that has been up for months
    learns of a hub that was made yesterday.

    None where the clinic has no hub, or its devices do not train. A hub's configuration that is not in order costs the
    devices' part of the run, and is told.
    """

    def made(scenario: Scenario) -> Devices | None:
        try:
            return _devices(folder, scenario, tell)
        except FedmedError as error:
            tell(f"the clinic goes on without its devices: {error}")
            return None

    return made


def _devices(folder: ClinicFolder, scenario: Scenario, tell: Callable[[str], None]) -> Devices | None:
    """Raises ConfigError for a hub's configuration that is not in order."""
    if not (folder.path / FOLDER / HUB_FILE).is_file():
        return None
    hub = open_hub(folder.path, folder.clock)
    if not hub.config.trains:
        return None
    # half of what the center gives the clinic, and half of the rest for setting up and opening: then the clinic's own way
    longest_s = scenario.federation.longest_s
    wait_s, opening_s = min(hub.config.train_s, longest_s / 2), max(Rules.opening_s, BEATS * hub.config.beat_s)
    rules = Rules(wait_s, opening_s=opening_s, whole_s=longest_s * 3 / 4)
    heard = Heard(hub, tell)
    line = FolderTransport(hub.path, heard.alive, folder.clock)
    return Devices(line, heard.known, scope(folder.config.federation, folder.config.name), rules, folder.clock, tell)


class Heard:
    """What the hub's service says of its devices, looked at once a second."""

    def __init__(self, hub: HubFolder, tell: Callable[[str], None]) -> None:
        """`tell` hears once of each device that is left out because it takes no work."""
        self._hub, self._looked, self._found = hub, float("-inf"), dict[str, Mapping[str, Any]]()
        self._seen = dict[str, float]()
        """When the status told of each device last."""
        self._tell, self._left_out = tell, dict[str, str]()

    def alive(self) -> Sequence[str]:
        """Devices that the hub hears and that take work; none where it is down for longer than one may be silent.

        A hub that is started anew in the midst of a round knows its devices again with their next heartbeats.
        """
        now = self._hub.clock.now()
        if now - self._looked >= LOOK_S:
            self._looked, (found, is_sure) = now, self._devices()
            self._seen.update(dict.fromkeys(found, now))
            known = {} if is_sure else {name: each for name, each in self._found.items() if self._is_recent(name, now)}
            self._found = {**known, **found}
        return [name for name, each in self._found.items() if each.get("alive") is True and not each.get("isolated")]

    def _is_recent(self, name: str, now: float) -> bool:
        return now - self._seen[name] <= silent_s(self._hub.config.beat_s)

    def _devices(self) -> tuple[dict[str, Mapping[str, Any]], bool]:
        """What the status tells, and whether who is not in it is gone: the hub is up, and has been for a while."""
        try:
            status = read_status(self._hub.path)
        except FedmedError:  # nobody can be asked then
            return {}, False
        age = self._hub.clock.unix() - float(status.get("unix", 0))
        devices = status.get("devices")
        if status.get("state") != "up" or age > SILENT_S or not isinstance(devices, dict):
            return {}, False
        since = status.get("since")
        is_new = isinstance(since, float) and float(status["unix"]) - since <= silent_s(self._hub.config.beat_s)
        return {str(name): each for name, each in devices.items() if isinstance(each, dict)}, not is_new

    def known(self) -> list[Device]:
        """Devices that are enrolled; of one that never told its cases, none. Raises StoreError, ProtocolRefused."""
        self.alive()
        self._say_who_takes_no_work()
        return [
            Device(each.name, each.fingerprint, each.signing_public, _cases(self._found.get(each.name, {})))
            for each in enrolled(self._hub)
        ]

    def _say_who_takes_no_work(self) -> None:
        isolated = {name: str(each["isolated"]) for name, each in self._found.items() if each.get("isolated")}
        for name in sorted(isolated.keys() - self._left_out.keys()):
            self._tell(f"device {name} is asked for no part of a round: {visible(isolated[name])}")
        self._left_out = isolated


def _cases(device: Mapping[str, Any]) -> int:
    facts = device.get("facts")
    cases = facts.get(CASES) if isinstance(facts, dict) else None
    return cases if type(cases) is int and 0 <= cases <= MOST_CASES else 0
