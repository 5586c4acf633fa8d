"""The clinic's daemon: one outbound line to the center, the gate before it, and a file that says how all of it stands.

node     takes the center's messages, one at a time      beat    renews the certificate, watches the center's audit log
serve    pauses, resumes and stops both, and writes how they stand      and brings the releases for devices up to date
"""

from __future__ import annotations

import os
import shutil
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fedmed import __version__
from fedmed.clinic import wheels
from fedmed.clinic.answering import Answering
from fedmed.clinic.engine import run_node
from fedmed.clinic.folder import AUTHORITY_FILE, CERTIFICATE_FILE, KEYS_FILE, PAUSED, ClinicFolder
from fedmed.clinic.gatehouse import Gatehouse
from fedmed.clinic.hubline import devices_for
from fedmed.clinic.renewal import decide, renew
from fedmed.clinic.warrants import Warrants
from fedmed.clinic.watching import BEAT_S
from fedmed.errors import FedmedError, JoinRefused, Unreachable
from fedmed.flower.fleet import Door
from fedmed.operation.keeping import Duty, Keeper
from fedmed.operation.metrics import CLINIC, Metrics, Reading
from fedmed.store.audit.event import Event, event
from fedmed.store.audit.log import AuditLog
from fedmed.store.standing import serving, write_status
from fedmed.wire.confided import of_error

AUDIT, SPOOL = "audit", "spool"
RESTART_S = 5.0
RESTS_S = 2.0
"""After a piece of work, until there is surely nothing of it that is not on the disk or sent."""
UNHEARD_S = 300.0
"""Without a word from the center, after which the daemon says that it does not do its work."""
TOLD = 20
"""Lines of what the staff was told that the status keeps."""
Tell = Callable[[str], None]


def open_log(folder: ClinicFolder) -> AuditLog:
    """The clinic's audit log, begun where there is none. Raises KeyRefused, StoreError."""
    return AuditLog.make(folder.path / AUDIT, folder.config.name, folder.keys(), folder.clock)


class Daemon:
    """Made once a process; `serve` blocks until it is to stop."""

    def __init__(self, folder: ClinicFolder, tell: Tell) -> None:
        """Raises KeyRefused, PinRefused, StoreError, ConfigError for what is not in order in the folder."""
        self.folder, self.stop, self._say = folder, threading.Event(), tell
        self.log, self.said = open_log(folder), deque[dict[str, Any]](maxlen=TOLD)
        self.gatehouse = Gatehouse(folder, self.tell)
        self.work: dict[str, Any] = {}
        """What is worked on: kind, run and since when; empty between two messages."""
        warrants = Warrants(folder, wheels.lock().digest, self.record)
        self._answering = Answering(
            folder, self.gatehouse, warrants, self.tell, self._working, devices_for(folder, self.tell)
        )
        self._metrics, self.center_version = Metrics(CLINIC, self._reading), ""
        self._rested = folder.clock.now()
        self._since, self._beaten, self._failures = folder.clock.unix(), 0.0, 0
        self._node: _NodeThread | None = None

    def tell(self, text: str) -> None:
        """Tell the clinic's own staff: in its status, and in the log of the service what that may say of it."""
        self.said.append({"unix": self.folder.clock.unix(), "text": text})
        self._say(text)

    def record(self, said: Event) -> None:
        """Write the clinic's audit log. Raises StoreError: what was to be recorded must not be done then."""
        self.log.append(said)

    def noted(self, action: str, resource: str, outcome: str = "done", reason: str = "", **details: Any) -> None:
        """Record what the clinic itself did."""
        folder = self.folder
        self.record(
            event(folder.clock.unix(), folder.config.name, "site", action, resource, outcome, reason=reason, **details)
        )

    @property
    def is_paused(self) -> bool:
        """Whether the staff wants no message to be taken."""
        return (self.folder.path / PAUSED).exists()

    def serve(self) -> bool:
        """Until a signal; whether what was under way was given up.

        Raises ConfigError where another process serves this folder.
        """
        config, duty = self.folder.config, Duty(self._turn, self._drain, self._is_idle, self._unready, self._metrics)
        with serving(self.folder.path, "the clinic"), Keeper(duty, config.health, self.folder.clock, self._say) as keeper:
            self.noted("start", "the clinic's daemon", version=__version__)
            threading.Thread(target=self._beat, name="beat", daemon=True).start()
            forced = keeper.keep(f"{config.name} is up, for {config.federation} at {config.host}:{config.port}")
            self._answering.close()
            self.noted("stop", "the clinic's daemon")
            write_status(self.folder.path, {**self.standing(), "state": "stopped"})
        self.gatehouse.close()
        return forced

    def _turn(self) -> None:
        if self.is_paused or self.stop.is_set():
            self._halt()
        elif self._node is None or not self._node.is_alive():
            self._node = _NodeThread(self)
            self._node.start()
        try:
            write_status(self.folder.path, self.standing())
        except FedmedError as error:
            self._failed(error)

    def _drain(self) -> None:
        self.stop.set()
        if self._node is not None:
            self._node.ask_to_end()

    def _is_idle(self) -> bool:
        """Whether nothing is under way; a question for messages that the center holds is given up, and asked again."""
        if self._node is None or not self._node.is_alive():
            return True
        rests = not self.work and self.folder.clock.now() - self._rested >= RESTS_S
        return rests and not self._spooled()

    def _unready(self) -> list[str]:
        reasons = ["the staff has paused it"] if self.is_paused else []
        if self.folder.clock.unix() - self._beaten > UNHEARD_S:
            reasons.append("the center is not heard")
        return reasons

    def _reading(self) -> Reading:
        now, spooled = self.folder.clock.unix(), self._spooled()
        terms = self.gatehouse.outbox.terms
        return Reading(
            ready=not self._unready(),
            seen_ago_s={"center": now - self._beaten} if self._beaten else {},
            members=None if terms is None else terms.members,
            spooled=len(spooled),
            spooled_bytes=sum(path.stat().st_size for path in spooled if path.exists()),
            disk_free_bytes=shutil.disk_usage(self.folder.path).free,
            certificate_left_s=self.folder.member(at_unix=None).not_after - now,
            audit_entries=self.log.size,
            paused=self.is_paused,
        )

    def _spooled(self) -> list[Path]:
        return [path for path in (self.folder.path / SPOOL).glob("[!.]*") if path.is_file()]

    def _failed(self, error: FedmedError) -> None:
        self._metrics.failed(error, self.folder.clock.unix())
        self.tell(of_error(error))

    def _halt(self) -> None:
        """Take no more messages; what is worked on comes to its end first, which this does not wait for."""
        if self._node is not None:
            self._node.ask_to_end()
            if not self._node.is_alive():
                self._node = None

    def _working(self, kind: str, run: str) -> None:
        self.work = {"kind": kind, "run": run.partition("@")[0], "since": self.folder.clock.unix()} if kind else {}
        self._rested = self.folder.clock.now()

    def _beat(self) -> None:
        while not self.stop.is_set():
            try:
                self._renew()
                self.gatehouse.watcher.beat(self.folder.line())
                self._beaten = self.folder.clock.unix()
            except Unreachable as error:
                self._metrics.failed(error, self.folder.clock.unix())  # the node says so to the staff
            except FedmedError as error:
                self._failed(error)
            self.stop.wait(BEAT_S if self._beaten else RESTART_S)

    def _renew(self) -> None:
        decision = decide(self.folder.member(at_unix=None), self.folder.clock.unix(), self._failures)
        if decision.warning:
            self.tell(decision.warning)
        if not decision.renew:
            return
        try:
            member = renew(self.folder)
        except (Unreachable, JoinRefused):
            self._failures += 1
            raise
        self._failures = 0
        self.noted("renew", "the clinic's certificate", expires=int(member.not_after))
        if self._node is not None:
            self._node.ask_to_end()  # the next one dials with the new certificate

    def door(self) -> Door:
        """Where the center is."""
        path, line = self.folder.path, self.folder.line()
        return Door(f"{line.host}:{line.port}", path / AUTHORITY_FILE, path / CERTIFICATE_FILE, path / KEYS_FILE, line.proxy)

    def standing(self) -> dict[str, Any]:
        """How the daemon stands: JSON."""
        config, watch = self.folder.config, self.gatehouse.watcher.watch
        newest = None if watch is None else watch.countersigned
        terms = self.gatehouse.outbox.terms
        return {
            "state": "paused" if self.is_paused else "up",
            "pid": os.getpid(),
            "version": __version__,
            "unix": self.folder.clock.unix(),
            "since": self._since,
            "name": config.name,
            "federation": config.federation,
            "center": f"{config.host}:{config.port}",
            "center_version": self.center_version,
            "heard": self._beaten,
            "work": dict(self.work),
            "spool": len(self._spooled()),
            "epoch": None if terms is None else {"epoch": terms.epoch, "members": terms.members, "mode": terms.mode},
            "approved_members": len(self.gatehouse.pins) - 1,
            "countersigned": None if newest is None else newest.head.size,
            "accusations": [] if watch is None else [each.reason for each in watch.state.accusations],
            "audit": self.log.size,
            "said": list(self.said),
        }

    def run_node(self, stop: threading.Event) -> None:
        """Serve the center until `stop` is set. Raises FedmedError for files that are not in order."""
        public, rest = self.folder.keys().transport_public, self.gatehouse.rest("answers and models")
        run_node(self.door(), public, self.folder.path / SPOOL, rest, self._answering, {}, stop, self.tell, self._met)

    def _met(self, version: str) -> None:
        self.center_version = version


class _NodeThread(threading.Thread):
    def __init__(self, daemon: Daemon) -> None:
        super().__init__(name="node", daemon=True)
        self._daemon, self._stop_event = daemon, threading.Event()

    def run(self) -> None:
        try:
            self._daemon.run_node(self._stop_event)
        except (FedmedError, OSError) as error:
            self._daemon.tell(of_error(error))
            self._stop_event.wait(RESTART_S)

    def ask_to_end(self) -> None:
        """Take no more messages; what is worked on comes to its end first."""
        self._stop_event.set()
