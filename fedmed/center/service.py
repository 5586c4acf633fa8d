"""The center's service: one port for clinics, one run after the other, an audit log, and a file that says how it stands.

What the operator wants done lies in the center's folder, and is found there: nothing but that folder commands the service.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from fedmed import __version__
from fedmed.center.echo import PATH as PROBE
from fedmed.center.echo import Echo
from fedmed.center.engine import Engine
from fedmed.center.enrolment import PATHS, EnrolmentApp
from fedmed.center.folder import CenterFolder
from fedmed.center.heads import PATH as HEADS
from fedmed.center.heads import HeadsApp
from fedmed.center.proposals import PATHS as PROPOSALS
from fedmed.center.proposals import ProposalsApp
from fedmed.center.runs import Run, Runs
from fedmed.errors import FederationError, FedmedError, ProtocolRefused
from fedmed.identity.enrolment import MEMBERS
from fedmed.identity.member import Identity
from fedmed.store.audit.event import event
from fedmed.store.audit.log import AuditLog
from fedmed.store.commits import Commit
from fedmed.store.standing import serving, write_status
from fedmed.wire.asgi import App

DATABASE, AUDIT = "superlink.db", "audit"
LOOK_S = 1.0
RESTART_S = 5.0
"""Until runs are gone on with, after something that nobody foresaw."""
Tell = Callable[[str], None]


def open_log(folder: CenterFolder) -> AuditLog:
    """The center's audit log, begun where there is none. Raises KeyRefused, StoreError."""
    return AuditLog.make(folder.path / AUDIT, folder.config.federation, folder.keys(), folder.clock)


class Service:
    """Runs from `with` to its end; `serve` blocks until it is to stop."""

    def __init__(self, folder: CenterFolder, tell: Tell) -> None:
        """Raises ConfigError where the port is not to be had or the certificate does not fit, KeyRefused, StoreError."""
        self.folder, self._tell, self.stop = folder, tell, threading.Event()
        self.log, self.runs = open_log(folder), Runs(folder.path, folder.clock)
        self._admissions = folder.admissions()
        self._known: set[bytes] = set()
        self._heads = HeadsApp(self.log, self._admissions.admit, self._signing_keys)
        config = folder.config
        self.engine = Engine(folder.path / DATABASE, folder.tls(), config.listen, config.port, self._admit, self._apps())
        self._since = folder.clock.unix()
        self._conductor = threading.Thread(target=self._conduct, name="conductor", daemon=True)

    def _apps(self) -> Mapping[str, App]:
        enrolment, clock = EnrolmentApp(self.folder), self.folder.clock
        proposals = ProposalsApp(self._admissions, self.runs.offers)
        return {
            **dict.fromkeys(PATHS, enrolment),
            **dict.fromkeys(PROPOSALS, proposals),
            PROBE: Echo(self._admissions.admit, clock),
            HEADS: self._heads,
        }

    def _admit(self, certificate: bytes) -> Identity:
        """Who this is, known to the SuperLink from the first request on. Raises ProtocolRefused."""
        member = self._admissions.admit(certificate)
        if member.fingerprint not in self._known:
            try:
                self.engine.link.register(member.transport_public)
            except FederationError as error:
                raise ProtocolRefused(str(error)) from error
            self._known.add(member.fingerprint)
        return member

    def _signing_keys(self) -> Mapping[bytes, bytes]:
        keys, members = self.folder.keys(), self.folder.members()
        return {keys.fingerprint: keys.signing_public, **{each.fingerprint: each.signing_public for each in members}}

    def serve(self, ready: Callable[[], None] = lambda: None) -> None:
        """Until `stop` is set. Raises ConfigError where another process serves this folder."""
        with serving(self.folder.path, "the center"), self.engine:
            self._record("start", "the center's service", version=__version__)
            self._conductor.start()
            ready()
            while not self.stop.is_set():
                self._look()
                self.stop.wait(LOOK_S)
            self._conductor.join(RESTART_S + LOOK_S)
            self._record("stop", "the center's service")
            write_status(self.folder.path, {**self.standing(), "state": "stopped"})

    def _look(self) -> None:
        try:
            self._shut_out()
            write_status(self.folder.path, self.standing())
        except FedmedError as error:
            self._tell(str(error))

    def _shut_out(self) -> None:
        """Take the nodes of revoked clinics away; the fence refuses them already."""
        now = {member.fingerprint for member in self.folder.members()}
        for fingerprint in self._known - now:
            self._known.discard(fingerprint)

    def _conduct(self) -> None:
        from fedmed.center.conducting import Stand, turn  # PyTorch takes seconds, which clinics need not wait for

        stand = Stand(self.folder, self.runs, self.engine.link, self.folder.clock, self._append, self._committed, self.stop)
        while not self.stop.is_set():
            try:
                if not turn(stand):
                    self.stop.wait(LOOK_S)
            except FedmedError as error:
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
        }

    def _committed(self, run: Run, commit: Commit) -> None:
        """Hear of a commit."""

    def _append(self, *said: Any) -> None:
        self.log.append(*said)

    def _record(self, action: str, resource: str, **details: Any) -> None:
        name = self.folder.config.federation
        self._append(event(self.folder.clock.unix(), name, "center", action, resource, **details))
