"""What is to be examined: a device's folder, or, before there is one, the hub that it is to join."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fedmed.clock import Clock
from fedmed.config.edge import EDGE_FILE, Edge
from fedmed.edge.folder import EdgeFolder, open_edge
from fedmed.errors import FedmedError, JoinRefused
from fedmed.hub.joining import AUTHORITY_FILE, CERTIFICATE_FILE, ENROLMENT_PORT, HUB_FILE, KEYS_FILE
from fedmed.identity.devicecode import Code, read_code
from fedmed.operation.doctor.finding import Finding, fail, ok, warn
from fedmed.wire.visible import visible

CHECK = "configuration"
_UNKNOWN = "give --hub HOST[:PORT] before this device joins, or name the folder of one that has joined"


@dataclass(frozen=True)
class Asked:
    """What the command line says."""

    folder: Path
    hub: tuple[str, int | None] | None = None
    """Of a device that has not joined: the hub's host, and its port for enrolment."""
    code: str | None = None


@dataclass(frozen=True)
class Subject:
    """What is known of the device."""

    folder: Path
    config: Edge
    """As edge.yaml says; before joining as `fedmed edge join` would write it."""
    host: str
    port: int
    joined: EdgeFolder | None
    code: Code | None = None


def read(asked: Asked, clock: Clock) -> tuple[Finding, Subject | None]:
    """The finding, and what was read where it is no failure. Raises nothing."""
    try:
        code = None if asked.code is None else read_code(asked.code)
        if any((asked.folder / name).exists() for name in (EDGE_FILE, HUB_FILE)):
            return _joined(open_edge(asked.folder, clock), code, asked)
    except JoinRefused as error:
        return fail(CHECK, visible(str(error)), "the code of `fedmed clinic devices invite`", "read it again"), None
    except FedmedError as error:
        todo = f"mend {EDGE_FILE}: every key is explained in it; or put a copy of the folder back"
        got = "\n".join(visible(line) for line in str(error).splitlines())  # a fault of edge.yaml a line
        return fail(CHECK, got, "a folder whose files can be read", todo), None
    if asked.hub is None:
        return fail(CHECK, f"{asked.folder} has joined no hub", "a hub", _UNKNOWN), None
    host, port = asked.hub
    found = Subject(asked.folder, Edge(name="device", hub=host), host, port or ENROLMENT_PORT, None, code)
    return ok(CHECK, f"not joined yet; to join at {found.host}:{found.port}, all else as it is by default"), found


def _joined(folder: EdgeFolder, code: Code | None, asked: Asked) -> tuple[Finding, Subject]:
    """The agent dials the hub that it joined: what edge.yaml says of it beside that is read by people alone."""
    hub, config = folder.device.hub, folder.config
    found = Subject(folder.path, config, hub.host, hub.port, folder, code)
    got = f"{config.name} of {hub.clinic}, joined at {hub.host}:{hub.port}"
    if (config.hub, config.port) != (hub.host, hub.port):
        todo = "have both say the same; where the hub has moved, mend hub.json, its certificate stays good"
        return warn(CHECK, f"{got}; {EDGE_FILE} says {config.hub}:{config.port}", "one hub", todo), found
    if asked.hub is not None:
        return warn(CHECK, got, "no --hub after joining", "leave it out: the folder says which hub it is"), found
    return ok(CHECK, got), found


def files_of(folder: Path) -> Mapping[str, Path]:
    """What TLS to the hub is spoken with."""
    return {"ca": folder / AUTHORITY_FILE, "certificate": folder / CERTIFICATE_FILE, "key": folder / KEYS_FILE}
