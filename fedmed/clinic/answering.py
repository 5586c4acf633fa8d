"""What answers for each run at a clinic: a refusal with its reason, or the approved app in its cell, behind the gate."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fedmed.clinic.folder import KEYS_FILE, PINS_FILE, ClinicFolder
from fedmed.clinic.gatehouse import Gatehouse, Subject
from fedmed.clinic.warrants import Warrant, Warrants
from fedmed.clinic.withdevices import Devices, Own, WithDevices
from fedmed.config.catalogue import shipped
from fedmed.config.roles import CLINIC_FILE
from fedmed.config.scenario import Scenario
from fedmed.confinement.cell import Cell, user_for
from fedmed.confinement.entering import group_of
from fedmed.errors import NotApproved, StoreError
from fedmed.flower import guard
from fedmed.flower.apphost import AppHost
from fedmed.flower.apps import AppRef
from fedmed.flower.guard import Call, Guarded
from fedmed.learning.disclosure import APPROVED
from fedmed.store.gains import Gains
from fedmed.wire.asides import Aside
from fedmed.wire.confided import of_error
from fedmed.wire.tensors import Tensors

APPS, CASES, STATES = "running/apps", "running/cases", "running/states"
"""Below the clinic's folder: what the app's process may read, and what it keeps; made anew from what was approved."""
HIDDEN = (KEYS_FILE, PINS_FILE, CLINIC_FILE, "keystore", "keystore.key", "approvals", "approvers.json", "audit", "ledgers")
PRELOAD = ("torchmetrics.functional.classification", "torch._dynamo")
Tell = Callable[[str], None]


@dataclass
class _Prepared:
    """A run that is approved, with all that it needs."""

    warrant: Warrant
    host: AppHost
    call: Call


class Answering(Mapping[str, Call]):
    """By the name that a center's run goes by; every name has an answer, if only that it is not approved."""

    def __init__(
        self,
        folder: ClinicFolder,
        gatehouse: Gatehouse,
        warrants: Warrants,
        tell: Tell,
        working: Callable[[str, str], None],
        devices: Callable[[Scenario], Devices | None] = lambda scenario: None,
    ) -> None:
        """`working` hears of the kind of each message and its run, and of no kind (an empty text) once it is answered.

        `devices` gives those that train along in a run of this scenario; None where the clinic has no hub, or they do not.
        """
        self._folder, self._gatehouse, self._warrants, self._tell = folder, gatehouse, warrants, tell
        self._working, self._gains, self._devices = working, Gains(folder.path), devices
        self._prepared: dict[str, _Prepared] = {}

    def __getitem__(self, run: str) -> Call:
        return guard.allowed(
            lambda: self._for(run).call,
            lambda kind, text, model: self._allow(run, kind, text, model),
            self._tell,
            lambda kind: self._working(kind, run),
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self._prepared)

    def __len__(self) -> int:
        return len(self._prepared)

    def stop_work(self) -> None:
        """End what an app is at."""
        for each in self._prepared.values():
            each.host.stop_work()

    def close(self) -> None:
        """End every app's process, and take away what was laid out for it."""
        for run in list(self._prepared):
            self._drop(run)

    def _allow(self, run: str, kind: str, text: str, model: Tensors) -> None:
        """Raises NotApproved for a message that nobody approved, StoreError where it cannot be written down."""
        prepared = self._for(run)
        prepared.warrant.allow(kind, text, model or None)
        terms = self._gatehouse.outbox.terms
        if kind in guard.WORK and prepared.warrant.approval.encryption != "off" and terms is not None:
            prepared.warrant.allow_epoch(terms.mode, terms.members, terms.least_survivors(0))

    def _for(self, run: str) -> _Prepared:
        try:
            warrant = self._warrants.find(run)
        except NotApproved:
            self._drop(run)
            raise
        known = self._prepared.get(run)
        if known is not None and known.warrant.approval == warrant.approval:
            return known
        self.close()  # one run at a time has the machine
        self._prepared[run] = self._prepare(run, warrant)
        return self._prepared[run]

    def _drop(self, run: str) -> None:
        gone = self._prepared.pop(run, None)
        if gone is not None:
            gone.host.close()
            for place in (APPS, CASES):
                shutil.rmtree(self._folder.path / place, ignore_errors=True)

    def _prepare(self, run: str, warrant: Warrant) -> _Prepared:
        place = self._folder.path.resolve()
        cases = place / CASES / "sites"
        user = user_for(place, self._folder.config.app_user)
        group = None if user is None else group_of(user)
        ref = self._app(warrant, place / APPS, group)
        warrant.lay_out(cases, group)
        digest = warrant.approval.digest
        hidden = tuple(place / name for name in HIDDEN)
        cell = Cell((cases,), hidden, self._folder.config.confinement, user)
        config = {"sites-folder": str(cases), "partition-id": 0, APPROVED: digest}
        states, rest = place / STATES / digest, self._gatehouse.rest(f"what the app of {digest} keeps")
        host = AppHost(ref, config, cell, self._tell, states, rest, aside=partial(self._note, warrant.reference))
        host.begin()
        if warrant.approval.encryption == "off":
            self._tell(f"run {run} is not encrypted: the center sees this clinic's own updates and figures")
            return _Prepared(warrant, host, host)
        dataset = warrant.dataset
        subject = Subject(dataset.name, dataset.digest, warrant.sizes, dataset.unit)
        gate: guard.Gate = self._gatehouse.gate(subject, run, warrant.scenario)
        if (devices := self._devices(warrant.scenario)) is not None:
            own = Own(run, warrant.sizes, warrant.scenario.federation.max_update_norm)
            gate = WithDevices(gate, devices, own, self._tell)
        return _Prepared(warrant, host, Guarded(host, gate))

    def _note(self, reference: str, aside: Aside) -> None:
        """Keep what the app says for this clinic's own report, where the disk lets it."""
        try:
            self._gains.note(reference, aside, self._folder.clock.unix())
        except StoreError as error:
            self._tell(of_error(error))

    def _app(self, warrant: Warrant, place: Path, group: int | None) -> AppRef:
        """The approved app, written out for its process, which may read it."""
        files = warrant.app_files()
        if warrant.app.kind == "built-in":
            return AppRef(shipped("clients").parent, warrant.app.entry, PRELOAD)
        shutil.rmtree(place, ignore_errors=True)
        try:
            for name, content in files.items():
                target = place / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
            for path in (place, *place.rglob("*")):
                path.chmod(0o750 if path.is_dir() else 0o440)
                if group is not None:
                    os.chown(path, -1, group)
        except OSError as error:
            raise StoreError(f"{place}: the app cannot be written there ({error.strerror}); make room") from error
        return AppRef(place, warrant.app.entry, PRELOAD)
