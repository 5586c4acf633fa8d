"""`fedmed clinic hub up`: the hub of a clinic's devices as a service, and a file that says how it stands."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fedmed import __version__
from fedmed.config.roles import HUB_FILE
from fedmed.errors import ConfigError, FedmedError, StoreError
from fedmed.hub import machine
from fedmed.hub.archiving import Archiver
from fedmed.hub.calls import Calls
from fedmed.hub.desk import FolderDesk
from fedmed.hub.fellows import publish
from fedmed.hub.folder import DOWN, HubFolder
from fedmed.hub.kept import put_files
from fedmed.hub.landing import Arrived, Keep, Landing
from fedmed.hub.lending import Lending
from fedmed.hub.looklog import LookLog
from fedmed.hub.placing import ARCHIVE
from fedmed.hub.service import Ports
from fedmed.hub.whereabouts import PLACEMENT, Whereabouts
from fedmed.identity import files
from fedmed.identity.devices import Roll, Stage
from fedmed.operation.handshakes import Callers, Handshakes
from fedmed.operation.keeping import Duty, Keeper
from fedmed.operation.measured import Measured
from fedmed.operation.metrics import HUB, Metrics, Reading
from fedmed.operation.watching import Trouble, watched
from fedmed.privacy import keys
from fedmed.store.audit.event import Event, event
from fedmed.store.disk import Disk
from fedmed.store.standing import serving, write_status
from fedmed.store.studies import Studies, deidentified
from fedmed.store.syncing import at_once
from fedmed.wire.canonical import canonical

RENEWS_S = 3600.0
TENDS_S = 10.0
"""For what is fetched from elsewhere to come to its end when the hub ends."""
Tell = Callable[[str], None]
DEVICES = Callers(
    gets_one="a device gets one with a code of fedmed clinic devices invite",
    authority="this clinic's for its devices",
    again="if it is a device of yours, it enrols again with a new code",
    server="this hub's certificate",
    doctor="if it is a device of yours, look",
)


class Hub:
    """Made once a process; `serve` blocks until it is to stop."""

    def __init__(
        self,
        folder: HubFolder,
        keepers: Mapping[str, Keep],
        append: Callable[[Event], Any],
        tell: Tell,
        tend: Callable[[], object] = lambda: None,
        archiver: Archiver | None = None,
    ) -> None:
        """`keepers` by kind of object that devices send; `append` writes the clinic's audit log; `tend` brings what devices
        may ask for up to date, once in a heartbeat; `archiver` moves old studies to the clinic's archive.

        Raises KeyRefused, StoreError for what is not in order in the folder.
        """
        self.folder, self._append, self._tell = folder, append, tell
        config = folder.config
        self.landing = Landing(folder.path, keepers, config.most_gigabytes_open * 10**9, folder.clock)
        self.whereabouts = Whereabouts(folder, tell)
        self.lending = Lending(self.whereabouts, LookLog(folder.path), folder.clock, config, self.record)
        desk = FolderDesk(folder.path / DOWN)
        self.calls = Calls(folder, desk, self.landing, self.lending, self.record, tell)
        self._ports: Ports | None = None
        self._tend, self._archiver, self._closed = tend, archiver, threading.Event()
        self._tending: threading.Thread | None = None
        self._fault, self._untended, self._unseen = "", Trouble(tell), Trouble(tell)
        self._roll = Roll()
        self._metrics = Metrics(HUB, self._reading)
        self._metrics.registry.register(Measured(self.whereabouts.measures))
        self._metrics.registry.register(Measured(self.lending.measures))
        node = config.clinic, "site"
        self.handshakes = Handshakes(node, DEVICES, folder.clock, append, self._metrics.handshake_failed)
        self._since, self._renews_at = folder.clock.unix(), 0.0

    def record(self, action: str, resource: str, outcome: str = "done", reason: str = "", **details: Any) -> None:
        """Write into the clinic's audit log. Raises StoreError: what was to be recorded must not be done then."""
        name, now = self.folder.config.clinic, self.folder.clock.unix()
        self._append(event(now, name, "site", action, resource, outcome, reason=reason, **details))

    def serve(self) -> bool:
        """Until a signal; whether what was under way was given up. Raises ConfigError where the folder is served already."""
        config, clock, duty = self.folder.config, self.folder.clock, self._duty()
        with serving(self.folder.path, "the hub"), Keeper(duty, config.health, clock, self._tell) as keeper:
            self.record("start", "the hub of devices", version=__version__)
            self.open()
            try:
                at = f"{config.listen}:{self.ports.port}"
                forced = keeper.keep(
                    f"the hub of {config.clinic} is up at {at}; devices enrol at {self.ports.enrolment_port}"
                )
            finally:
                self.close()
            self.record("stop", "the hub of devices")
            write_status(self.folder.path, {**self.standing(), "state": "stopped"})
        return forced

    @property
    def ports(self) -> Ports:
        """From `open` on."""
        assert self._ports is not None
        return self._ports

    def open(self) -> None:
        """Take calls. Raises ConfigError where a port is not to be had, or would answer TLS 1.2."""
        self._ports = Ports(self.folder, self.calls, self._shook)
        self._ports.start()
        self._begin_tending()
        if self._archiver is not None:
            self._archiver.start()

    def _shook(self, address: str, error: OSError) -> None:
        """A handshake failed, at either port."""
        try:
            self.handshakes.note(address, error)
        except StoreError as failed:
            self._tell(str(failed))

    def close(self) -> None:
        """Take no more calls, and be done with the files."""
        self._closed.set()
        self.ports.stop()
        if self._tending is not None:
            self._tending.join(TENDS_S)
        self.handshakes.floods.settle(is_end=True)
        if self._archiver is not None:
            self._archiver.stop()
        self.landing.receipts.close()
        self.lending.close()

    def _begin_tending(self) -> None:
        self._tending = watched("tend", self._keep_tending, self._tending_ended)
        self._tending.start()

    def _keep_tending(self) -> None:
        """A thread of its own: what is fetched from elsewhere may take long. The same trouble is told once."""
        while not self._closed.wait(self.folder.config.beat_s):
            try:
                if self.folder.config.trains:
                    publish(self.folder)
                self._tend()
                self.whereabouts.read()
                self._fault = ""
                self._untended.is_over()
            except (FedmedError, OSError) as error:
                self._untended.is_so(str(error))

    def _tending_ended(self, thread: str, why: str) -> None:
        self._fault = f"the thread {thread!r} ended by a fault ({why}) and is begun anew; devices are served meanwhile"
        self._metrics.failed(FedmedError(self._fault), self.folder.clock.unix())
        self._untended.is_so(self._fault)

    def _duty(self) -> Duty:
        return Duty(self.look, lambda: None, lambda: True, self._unready, self._metrics)

    def _unready(self) -> list[str]:
        return [self._fault] if self._fault else []

    def look(self) -> None:
        """Look after everything, and write how it stands. Whatever fails is told once, and tried again by the next look."""
        try:
            self._look()
            self._unseen.is_over()
        except (FedmedError, OSError) as error:
            self._metrics.failed(error, self.folder.clock.unix())
            self._unseen.is_so(str(error))

    def _look(self) -> None:
        clock = self.folder.clock
        if self._tending is not None and not self._tending.is_alive():
            self._begin_tending()
        self.handshakes.floods.settle()
        self.calls.step(machine.Look(clock.unix(), clock.now()))
        archives = self._archiver is not None and self._archiver.backlog.studies > 0
        self.whereabouts.look(self._let_in(), self.calls.state.devices, archives)
        self.lending.tend()
        write_status(self.folder.path, self.standing())
        if clock.now() >= self._renews_at:
            self._renew()
            self._renews_at = clock.now() + RENEWS_S

    def _renew(self) -> None:
        """What is due once an hour."""
        self.folder.renew_hub()
        if self.ports.renew_if_newer():
            self.record("renew", "the hub's certificate")
        self._cut()  # of those, too, that were made since a revocation, or whose certificate has ended
        self.landing.sweep()

    def _let_in(self) -> set[str]:
        """The enrolled devices; those that are let in no more are forgotten, their calls are refused already."""
        roll = self.folder.devices.roll()
        enrolled = {name for name, each in roll.devices.items() if each.stage is Stage.ENROLLED}
        if roll != self._roll:
            self._cut()
            self._roll = roll
        for name in self.calls.state.devices.keys() - enrolled:
            self.calls.step(machine.Gone(name))
            self.landing.forget(name)
        return enrolled

    def _cut(self) -> None:
        if lines := self.ports.cut():
            self._tell(f"connections of devices that are let in no more, cut: {lines}")

    def _reading(self) -> Reading:
        now = self.folder.clock.now()
        return Reading(
            ready=not self._fault,
            seen_ago_s={name: now - each.heard_now for name, each in self.calls.state.devices.items()},
            disk_free_bytes=shutil.disk_usage(self.folder.path).free,
        )

    def standing(self) -> dict[str, Any]:
        """How the hub stands: JSON."""
        return {
            "state": "up",
            "pid": os.getpid(),
            "version": __version__,
            "unix": self.folder.clock.unix(),
            "since": self._since,
            "clinic": self.folder.config.clinic,
            "port": self.ports.port,
            "enrolment_port": self.ports.enrolment_port,
            "devices": {
                name: {**_told(each), "isolated": self.whereabouts.placed.isolated(name)}
                for name, each in sorted(self.calls.state.devices.items())
            },
            "faults": self._unready(),
            "handshakes": self.handshakes.standing(),
            PLACEMENT: self.whereabouts.told(),
            "elsewhere": self.lending.told(),
            ARCHIVE: None if self._archiver is None else self._archiver.standing(),
        }


def keepers_of(folder: HubFolder) -> Mapping[str, Keep]:
    """What becomes of studies and of updates. Raises ConfigError for a store without its key, KeyRefused."""
    config, updates = folder.config, folder_keeper(folder.path / "updates")
    if config.store is None:
        return {"study": folder_keeper(folder.path / "studies"), "update": updates}
    if config.key is None:
        raise ConfigError(f"{folder.path / HUB_FILE}: store is {config.store!r} and key is null; name the store's key")
    studies = deidentified(folder.path / config.store, keys.read(folder.path / config.key))
    studies.sweep()
    return {"study": study_keeper(studies), "update": updates}


def study_keeper(studies: Studies) -> Keep:
    """Puts what devices send, de-identified by them, into the clinic's store that training reads."""

    def put(each: Arrived) -> None:
        studies.put(each.content, {**each.piece.facts, "device": each.device})

    return lambda arrived: at_once(put, arrived)


def folder_keeper(folder: Path) -> Keep:
    """Puts objects into a folder, one for each device, named by their digests; for whoever takes them from there.

    DIGEST is the object, DIGEST.json what is known of it; where the first is, the second is.
    """

    def files_of(each: Arrived) -> list[tuple[Path, bytes]]:
        place = folder / each.device / each.piece.digest
        said = canonical({**each.piece.record(), "device": each.device}) + b"\n"
        return [(place.with_name(f"{place.name}.json"), said), (place, each.content)]

    def keep(arrived: Sequence[Arrived]) -> None:
        devices = {each.device for each in arrived}
        for name in devices:
            Disk().make_folder(folder / name)
        put_files([file for each in arrived for file in files_of(each)])
        for name in devices:
            files.sync_folder(folder / name)

    return keep


def _told(known: machine.Known) -> dict[str, Any]:
    return {
        "alive": known.is_alive,
        "since": known.since_unix,
        "heard": known.heard_unix,
        "skew_s": round(known.skew_s, 3),
        "state": known.state,
        "version": known.version,
        "facts": dict(known.facts),
    }
