"""The center's service: one port for clinics, one run after the other, an audit log, and a file that says how it stands.

What the operator wants done lies in the center's folder, and is found there: nothing but that folder commands the service.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from fedmed import __version__
from fedmed.center.echo import PATH as PROBE
from fedmed.center.echo import Echo
from fedmed.center.engine import Engine
from fedmed.center.enrolment import PATHS, EnrolmentApp
from fedmed.center.folder import CenterFolder
from fedmed.center.heads import PATH as HEADS
from fedmed.center.heads import HeadsApp
from fedmed.center.models import FOLDER as MODELS
from fedmed.center.models import copier, open_registry, rest_of
from fedmed.center.proposals import PATHS as PROPOSALS
from fedmed.center.proposals import ProposalsApp
from fedmed.center.refusals import Refusals
from fedmed.center.releases import FOLDER as RELEASES_FOLDER
from fedmed.center.releases import PATH as RELEASES
from fedmed.center.releases import ReleasesApp
from fedmed.center.runs import Run, Runs, Stage
from fedmed.errors import FederationError, FedmedError, ProtocolRefused, StoreError
from fedmed.flower.fence import PATHS as FLEET_PATHS
from fedmed.flower.opening import disk_needed
from fedmed.identity.enrolment import MEMBERS
from fedmed.identity.member import Identity
from fedmed.operation.handshakes import Callers, Handshakes
from fedmed.operation.keeping import Duty, Keeper
from fedmed.operation.metrics import CENTER, Metrics, Reading
from fedmed.releases import opening
from fedmed.store.audit.event import Event, event
from fedmed.store.commits import Commit
from fedmed.store.models.copying import state_of
from fedmed.store.standing import serving, write_status
from fedmed.wire.asgi import App

if TYPE_CHECKING:
    from fedmed.releases.pruning import Surplus

DATABASE = "superlink.db"
LOOK_S = 1.0
RENEWS_S = 3600.0
RESTART_S = 5.0
"""Until runs are gone on with, after something that nobody foresaw."""
Tell = Callable[[str], None]

CLINICS = Callers(
    gets_one="a clinic gets one with fedmed clinic join FILE",
    authority="this federation's",
    again="if it is a clinic of yours, it joins again with a new file",
    server="this center's certificate",
    doctor="if it is a clinic of yours, let fedmed clinic doctor look",
)


class Service:
    """Runs from `with` to its end; `serve` blocks until it is to stop."""

    def __init__(self, folder: CenterFolder, tell: Tell) -> None:
        """Raises ConfigError where the port is not to be had or the certificate does not fit, KeyRefused, StoreError."""
        self.folder, self._tell, self.stop = folder, tell, threading.Event()
        self.log, self.runs = folder.audit_log(), Runs(folder.path, folder.clock)
        self._admissions = folder.admissions()
        self._known: dict[bytes, bytes] = {}
        self._renews_at = 0.0
        self._heads = HeadsApp(self.log, self._admissions.admit, self._signing_keys)
        config = folder.config
        own = self._apps()
        self._models, self._metrics = open_registry(folder), Metrics(CENTER, self._reading)
        noting = config.federation, folder.clock, self._noted
        self._refusals = Refusals(*noting, frozenset((*FLEET_PATHS, *own)))
        node = config.federation, "center"
        self._handshakes = Handshakes(node, CLINICS, folder.clock, self._noted, self._metrics.handshake_failed)
        at, watchers = (config.listen, config.port), (self._refusals.around, self._handshakes.note)
        self.engine = Engine(folder.path / DATABASE, rest_of(folder), folder.tls(), *at, self._admit, own, *watchers)
        self._since, self._told = folder.clock.unix(), (folder.clock, tell)
        self._conductor = threading.Thread(target=self._conduct, name="conductor", daemon=True)

    def _apps(self) -> Mapping[str, App]:
        enrolment, clock = EnrolmentApp(self.folder), self.folder.clock
        proposals = ProposalsApp(self._admissions, self.runs.offers)
        return {
            **dict.fromkeys(PATHS, enrolment),
            **dict.fromkeys(PROPOSALS, proposals),
            PROBE: Echo(self._admissions.admit, clock),
            HEADS: self._heads,
            RELEASES: ReleasesApp(self.folder.path, self._admissions),
        }

    def _admit(self, certificate: bytes) -> Identity:
        """Who this is, known to the SuperLink from the first request on. Raises ProtocolRefused."""
        member = self._admissions.admit(certificate)
        if member.fingerprint not in self._known:
            try:
                self.engine.link.register(member.transport_public)
            except FederationError as error:
                raise ProtocolRefused(str(error)) from error
            self._known[member.fingerprint] = member.transport_public
        return member

    def _signing_keys(self) -> Mapping[bytes, bytes]:
        keys, members = self.folder.keys(), self.folder.members()
        return {keys.fingerprint: keys.signing_public, **{each.fingerprint: each.signing_public for each in members}}

    def serve(self) -> bool:
        """Until a signal; whether what was under way was given up.

        Raises ConfigError where another process serves this folder, or the port is not to be had.
        """
        config = self.folder.config
        with (
            serving(self.folder.path, "the center"),
            self.engine,
            Keeper(self._duty(), config.health, *self._told) as keeper,
        ):
            self.keeper = keeper
            self._record("start", "the center's service", version=__version__)
            self._conductor.start()
            with self._copying():
                forced = keeper.keep(f"{config.federation} is up at {config.host}:{self.engine.listener.port}")
            self._settle(is_end=True)
            self._record("stop", "the center's service")
            write_status(self.folder.path, {**self.standing(), "state": "stopped"})
        return forced

    def _duty(self) -> Duty:
        return Duty(self._look, self.stop.set, lambda: not self._conductor.is_alive(), self._unready, self._metrics)

    @contextmanager
    def _copying(self) -> Iterator[None]:
        """Models are copied to the second place meanwhile, where there is one."""
        found = copier(self.folder, self._models, self._tell)
        if found is None:
            yield
            return
        found.start()
        try:
            yield
        finally:
            found.stop()

    def _unready(self) -> list[str]:
        stalled = [run for run in self.runs.all() if run.stage is Stage.STALLED]
        return [f"run {run.name} is stalled" for run in stalled]

    def _reading(self) -> Reading:
        members, now = self.folder.members(), self.folder.clock.unix()
        waiting = state_of(self.folder.path / MODELS)
        return Reading(
            ready=not self._unready(),
            sites_online=len(self.engine.link.online()),
            certificate_left_s=min((member.not_after - now for member in members), default=None),
            disk_free_bytes=shutil.disk_usage(self.folder.path).free,
            audit_entries=self.log.size,
            models_waiting=None if waiting is None else waiting.blobs,
            models_waiting_bytes=None if waiting is None else waiting.bytes,
        )

    def _look(self) -> None:
        try:
            with disk_needed():
                self._shut_out()
                self._renew()
                self._models.retry()
                self._settle()
                write_status(self.folder.path, self.standing())
        except FedmedError as error:
            self._tell(str(error))

    def _renew(self) -> None:
        """Once an hour: server's certificate and dates of releases, where they are due; files of old releases go."""
        now = self.folder.clock.now()
        if now < self._renews_at:
            return
        self._renews_at = now + RENEWS_S
        if self.folder.renew_server():
            self.engine.listener.renew()
            self._record("renew", "the server's certificate")
        releases = self.folder.path / RELEASES_FOLDER
        if opening.is_begun(releases):
            repository = opening.repository(releases, self.folder.clock)
            if repository.freshen():
                self._record("renew", "the dates of the releases")
            repository.prune(self._pruned)

    def _pruned(self, found: Surplus) -> None:
        self._record("prune.release", "releases", bytes=found.bytes, number=len(found.files))

    def _settle(self, is_end: bool = False) -> None:
        """Write down how many more were refused, where that is due."""
        self._refusals.floods.settle(is_end)
        self._handshakes.floods.settle(is_end)

    def _shut_out(self) -> None:
        """Take the nodes of revoked clinics out of Flower's state, for good; the fence refuses them already."""
        revoked = self.folder.enrolments.roll().revoked
        for fingerprint, public in list(self._known.items()):
            if fingerprint.hex() in revoked:
                del self._known[fingerprint]
                if (node := self.engine.link.node_of(public)) is not None:
                    self.engine.link.revoke(node.number)

    def _conduct(self) -> None:
        from fedmed.center.conducting import Stand, turn  # PyTorch takes seconds, which clinics need not wait for

        stand = Stand(self.folder, self.runs, self.engine.link, self.folder.clock, self._append, self._committed, self.stop)
        while not self.stop.is_set():
            try:
                if not turn(stand):
                    self.stop.wait(LOOK_S)
            except FedmedError as error:
                self._metrics.failed(error, self.folder.clock.unix())
                self._tell(str(error))
                self.stop.wait(RESTART_S)

    def standing(self) -> dict[str, Any]:
        """How the service stands: JSON."""
        now, seats = self.folder.clock.unix(), self.folder.enrolments.roll().seats
        online = self.engine.link.online()
        heads = self._heads.gathered.newest
        sites = {}
        for member in self.folder.members():
            said = heads.get(member.fingerprint)
            node = self.engine.link.node_of(member.transport_public)
            sites[member.name] = {
                "online": node is not None and node.number in online,
                "certificate_until": int(member.not_after),
                "countersigned": None if said is None else said.head.size,
                "version": None if node is None else self.engine.fence.versions.get(node.number),
            }
        return {
            "state": "up",
            "pid": os.getpid(),
            "version": __version__,
            "unix": now,
            "since": self._since,
            "port": self.engine.listener.port,
            "waiting": sorted(seat.name for seat in seats.values() if seat.stage not in MEMBERS and seat.request),
            "sites": sites,
            "runs": [asdict(run) for run in self.runs.all()],
            "audit": self.log.size,
            "handshakes": self._handshakes.standing(),
        }

    def _committed(self, run: Run, commit: Commit) -> None:
        """Count a round, and keep its model where one is due; whatever befalls the registry, the round stands."""
        from fedmed.center.committing import keep

        last = commit.state["history"][-1]
        self._metrics.round_ended("committed" if last["verdict"] == "complete" else "incomplete", last["seconds"])
        self._metrics.moved(last["bytes"]["up"], last["bytes"]["down"])
        try:
            why = keep(self._models, run.name, commit, self.folder.members(), self.runs.scenario(run.name).rounds).reason
        except StoreError as error:
            why = str(error)
        if why:
            self._tell(f"the model of round {commit.round} is not in the registry yet: {why}")

    def _noted(self, said: Event) -> None:
        """Write a refusal down; what was refused stays so where the log cannot be written."""
        try:
            self.log.append(said)
        except StoreError as error:
            self._tell(str(error))

    def _append(self, *said: Any) -> None:
        self.log.append(*said)

    def _record(self, action: str, resource: str, **details: Any) -> None:
        name = self.folder.config.federation
        self._append(event(self.folder.clock.unix(), name, "center", action, resource, **details))
