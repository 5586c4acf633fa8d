"""A device's folder: what `fedmed edge join` makes, and what every other command of the device opens.

edge.yaml            the configuration; written last, so that a folder with it is a joined one
device.keys ...      who this device is, at which hub (`fedmed.hub.joining`)
spool.key            what seals the spool, where edge.yaml names no better place
spool, aside         what waits, and what was taken out of the way
results              results as JSON, a folder a day
releases, anchor     the released models; what was committed last
audit                the device's own log
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fedmed.clock import Clock
from fedmed.config.edge import EDGE_FILE, Edge
from fedmed.config.roles import load_role, written
from fedmed.dicom.destination import Destination, Tls
from fedmed.errors import ConfigError, StoreError
from fedmed.hub.joining import DeviceFolder, open_device
from fedmed.identity import files
from fedmed.privacy import keys
from fedmed.store.audit.log import AuditLog
from fedmed.store.keysource import key_from

SPOOL_KEY, AUDIT = "spool.key", "audit"


@dataclass(frozen=True)
class EdgeFolder:
    """The folder of a device that has joined."""

    path: Path
    config: Edge
    device: DeviceFolder
    clock: Clock

    def key(self) -> bytes:
        """What seals the spool, 32 bytes. Raises ConfigError, StoreError as `key_from`."""
        return key_from(self.key_source(), self.path, allow_same_mount=True)

    def key_source(self) -> str:
        """Where the device's key comes from, a file by its whole path."""
        kind, _, place = self.config.key.partition(":")
        return f"file:{self.path.resolve() / place}" if kind == "file" else self.config.key

    def destination(self) -> Destination | None:
        """The PACS; None where there is none. Raises ConfigError."""
        pacs = self.config.pacs
        if pacs is None:
            return None
        tls = None
        if pacs.tls is not None:
            own = pacs.tls.certificate, pacs.tls.key
            tls = Tls(self.path / pacs.tls.ca, *(None if name is None else self.path / name for name in own))
        return Destination(pacs.host, pacs.port, pacs.ae_title, pacs.calling, tls=tls)

    def log(self) -> AuditLog:
        """The device's audit log, begun where there is none. Raises KeyRefused, StoreError."""
        return AuditLog.make(self.path / AUDIT, self.config.name, self.device.keys(), self.clock)


def open_edge(path: Path, clock: Clock) -> EdgeFolder:
    """The folder of a joined device. Raises ConfigError where it is none, with every fault of its configuration."""
    if not (path / EDGE_FILE).is_file():
        raise ConfigError(
            f"{path} is no device's folder: it holds no {EDGE_FILE}; name one with --at, or make one: fedmed edge join CODE"
        )
    return EdgeFolder(path, load_role(path / EDGE_FILE, Edge), open_device(path, clock), clock)


def make_edge(device: DeviceFolder) -> EdgeFolder:
    """What a device that has joined needs beside its keys; a file that is there stays. Raises StoreError, KeyRefused."""
    path, hub = device.path, device.hub
    if not (path / SPOOL_KEY).exists():
        keys.create(path / SPOOL_KEY)
    if not (path / EDGE_FILE).exists():
        config = Edge(name=hub.name, hub=hub.host, port=hub.port, deidentify=None)
        try:
            files.replace(path / EDGE_FILE, written(config))
        except OSError as error:
            raise StoreError(
                f"{path / EDGE_FILE} cannot be written ({error.strerror}); make room, then join again"
            ) from error
    return open_edge(path, device.clock)
