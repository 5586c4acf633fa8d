"""`fedmed center up`, `fedmed clinic up`, `fedmed clinic hub up`: a service in the foreground, ended by a signal."""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from fedmed.clock import SystemClock
from fedmed.operation.logs import RotatedFile, ServiceLog, hearing
from fedmed.operation.settling import refuse_unsettled

if TYPE_CHECKING:
    from fedmed.hub.serving import Hub

SWITCH_S = 0.001
"""For how long one of an agent's threads computes while another waits: an image should not wait for a report."""
GIVEN_UP = 143
"""A second SIGTERM, as shells count signals."""


def center_up(path: Path, as_json: bool) -> None:
    """Serve a center's folder. Raises ConfigError, KeyRefused, StoreError for what is not in order."""
    from fedmed.center.folder import open_center
    from fedmed.center.service import Service
    from fedmed.flower.allocation import keep_freed_memory

    keep_freed_memory()
    refuse_unsettled(path)
    folder = open_center(path, SystemClock())
    log = _log(path, folder.config.log, as_json)
    with hearing(log):
        _ended(Service(folder, log.tell).serve())


def clinic_up(path: Path, as_json: bool) -> None:
    """Serve a clinic's folder. Raises ConfigError, KeyRefused, PinRefused, StoreError for what is not in order."""
    from fedmed.clinic.daemon import Daemon
    from fedmed.clinic.folder import open_clinic

    refuse_unsettled(path)
    folder = open_clinic(path, SystemClock())
    log = _log(path, folder.config.log, as_json)
    with hearing(log):
        _ended(Daemon(folder, log.tell).serve())


def edge_up(path: Path, as_json: bool) -> None:
    """Serve a device's folder. Raises ConfigError, KeyRefused, StoreError for what is not in order."""
    from fedmed.edge.agent import Agent
    from fedmed.edge.folder import open_edge
    from fedmed.edge.holding import hold_little

    hold_little()
    sys.setswitchinterval(SWITCH_S)
    folder = open_edge(path, SystemClock())
    log = _log(path, folder.config.log, as_json)
    with hearing(log):
        _ended(Agent(folder, log.tell).serve())


def hub_up(path: Path, as_json: bool) -> None:
    """Serve the devices of the clinic in a folder. Raises ConfigError, KeyRefused, StoreError for what is not in order."""
    from fedmed.clinic.archiving import archiver_of
    from fedmed.clinic.folder import open_clinic
    from fedmed.clinic.recording import recorder
    from fedmed.clinic.releases import tending
    from fedmed.hub.folder import open_hub
    from fedmed.hub.serving import Hub, keepers_of

    refuse_unsettled(path)
    clinic = open_clinic(path, SystemClock())
    folder = open_hub(path, SystemClock())
    log = _log(folder.path, folder.config.log, as_json)
    with hearing(log):
        record, archiver = recorder(clinic), archiver_of(clinic, folder, log.tell)
        hub = Hub(folder, keepers_of(folder), record, log.tell, tend=tending(clinic, record), archiver=archiver)
        with _looking(hub):
            _ended(hub.serve())


def _looking(hub: Hub) -> AbstractContextManager[None]:
    """This machine looks at devices' images, where its clinic wants that."""
    if hub.folder.config.elsewhere.places != "clinic":
        return nullcontext()
    from fedmed.edge.atclinic import helping

    return helping(hub)


def _ended(forced: bool) -> None:
    if forced:
        raise typer.Exit(GIVEN_UP)


def _log(folder: Path, name: str | None, as_json: bool) -> ServiceLog:
    return ServiceLog(SystemClock(), None if name is None else RotatedFile(folder / name), as_json, os.environ)
