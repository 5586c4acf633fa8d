"""The clinic's audit log as its commands and its daemon write to it."""

from __future__ import annotations

from collections.abc import Callable

from fedmed.clinic.folder import ClinicFolder
from fedmed.store.audit.event import Event
from fedmed.store.audit.log import AuditLog

FOLDER = "audit"


def recorder(folder: ClinicFolder) -> Callable[[Event], None]:
    """Appends to the log in the clinic's folder, which is begun where there is none. Raises StoreError, KeyRefused.

    An event is on the disk before what it tells of is done.
    """
    log = AuditLog.make(folder.path / FOLDER, folder.config.name, folder.keys(), folder.clock)

    def record(said: Event) -> None:
        log.append(said)

    return record
