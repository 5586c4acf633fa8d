"""A clinic's archive of studies: what its data sets read never goes there, what happens to it is in its audit log."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fedmed.clinic.datasets import DataSets
from fedmed.clinic.folder import ClinicFolder
from fedmed.clinic.recording import recorder
from fedmed.hub.archiving import Archiver, open_archive
from fedmed.hub.folder import HubFolder
from fedmed.store.archive.archive import Archive, Party


def archiver_of(clinic: ClinicFolder, hub: HubFolder, tell: Callable[[str], None]) -> Archiver | None:
    """What moves old studies while the hub is up; None where hub.yaml names no archive."""
    if hub.config.archive is None:
        return None
    return Archiver(
        lambda ending: archive_of(clinic, hub, clinic.config.name, "site", ending), hub.config.archive.to, hub.clock, tell
    )


def archive_of(
    clinic: ClinicFolder, hub: HubFolder, who: str, role: str, ending: Callable[[], bool] = lambda: False
) -> Archive:
    """The archive, on behalf of `who`. Raises as `open_archive`."""
    return open_archive(hub, lambda: folders_of(clinic.path), Party(who, role, recorder(clinic)), ending)


def folders_of(clinic: Path) -> list[Path]:
    """The folders that registered data sets read, whether released or not. Raises StoreError where one cannot be told."""
    sets = DataSets(clinic)
    return [Path(sets.get(name).folder) for name in sets.names()]
