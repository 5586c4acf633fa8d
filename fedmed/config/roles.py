"""The one file of a role, such as `center.yaml`: read with every fault listed, written with what each key means."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from pydantic import Field, ValidationError

from fedmed.config.allowed import nearest, shown
from fedmed.config.archive import Archive
from fedmed.config.document import MAX_BYTES, Fault, read_document
from fedmed.config.health import HealthAddress
from fedmed.config.hosts import Host, Port
from fedmed.config.models import Models
from fedmed.config.part import Part
from fedmed.config.privacy import Mode
from fedmed.config.scenario import Name
from fedmed.errors import ConfigError

CENTER_FILE, CLINIC_FILE, HUB_FILE = "center.yaml", "clinic.yaml", "hub.yaml"


class Center(Part):
    """`center.yaml`: one federation, as its center runs it."""

    federation: Name
    """What the federation is called."""
    host: Host
    """Name or address under which clinics reach the center."""
    also: tuple[Host, ...] = ()
    """Further names and addresses of the same port, which the server's certificate names too."""
    port: Port = 443
    """The one port that clinics dial."""
    listen: Host = "0.0.0.0"
    """Address of this machine to listen on; 0.0.0.0 for all of IPv4, "::" for all."""
    certificate_days: int = Field(90, ge=2, le=825)
    """For how many days a clinic's certificate is valid; it renews itself when a third is left."""
    models: Models = Models()
    """Which committed models are kept, and where they are copied to."""
    health: HealthAddress | None = None
    """Where /healthz, /readyz and /metrics answer: 127.0.0.1:PORT or a Unix socket's path; null for nowhere."""
    log: str | None = "service.log"
    """The service's own log: a path, below this folder where it is not absolute; null for none beside standard error."""


class Clinic(Part):
    """`clinic.yaml`: one clinic in one federation, as it joined."""

    federation: Name
    """What the federation is called."""
    name: Name
    """What this clinic is called in it."""
    host: Host
    """Name or address of the center."""
    port: Port = 443
    """The center's port."""
    proxy: str | None = Field(None, pattern=r"^(none|http://[^/\s]+/?)$")
    """HTTP proxy to dial through, http://[USER:PASSWORD@]HOST:PORT, or none; null for what https_proxy says."""
    keystore: str = "file:keystore.key"
    """Where the key that seals the secrets of secure aggregation comes from: credential:NAME of systemd, tpm:HANDLE, or
    file:PATH, on another disk if it can be; a path that is not absolute lies in the clinic's folder, which is weaker."""
    center: str = Field(pattern=r"^[0-9a-f]{64}$")
    """The center's Ed25519 key in hexadecimal; it came with the join file."""
    encryption: Literal["malicious", "hbc", "off"] = "malicious"
    """The weakest encryption of rounds that this clinic takes part in, from strong to weak: malicious, hbc, off."""
    least_members: int = Field(3, ge=3, le=4096)
    """Clinics that every sum is over, at least; a run that promises fewer is refused."""
    most_epsilon: float | None = Field(None, gt=0, le=1000)
    """The most epsilon that a run may cost a patient; it must have differential privacy then. Null for no limit."""
    privacy_modes: tuple[Mode, ...] = ("record-local", "record-distributed", "clinic")
    """Modes of differential privacy that most_epsilon is satisfied with."""
    confinement: Literal["strict", "as-available"] = "strict"
    """Whether an app runs where this machine cannot shut it off from network, keys and other files."""
    app_user: int | None = Field(None, ge=1, lt=2**31)
    """The user (uid) that apps run as where the daemon is root; one that nobody else has where null."""
    approvals_needed: int = Field(1, ge=1, le=8)
    """How many approvers must sign before a run may use this clinic's data."""
    health: HealthAddress | None = None
    """Where /healthz, /readyz and /metrics answer: 127.0.0.1:PORT or a Unix socket's path; null for nowhere."""
    log: str | None = "service.log"
    """The service's own log: a path, below this folder where it is not absolute; null for none beside standard error."""


class Elsewhere(Part):
    """Where an image is looked at that a device cannot look at itself; never outside the clinic."""

    places: Literal["none", "devices", "clinic"] = "devices"
    """devices: other devices that run the same package. clinic: also this machine, which opens the active release for it
    (needs fedmed[edge]). none: images wait where they are. A device sends none unless its own edge.yaml says so."""
    share: float = Field(0.5, gt=0, le=1)
    """Of all devices' cores together, and of this machine's: what looks for others may take at most."""


class Hub(Part):
    """`hub.yaml`: the hub of one clinic's devices."""

    clinic: Name
    """The clinic that these devices belong to."""
    listen: Host = "0.0.0.0"
    """Address of this machine to listen on; 0.0.0.0 for all of IPv4, "::" for all. Devices alone need to reach it."""
    port: Port = 8443
    """Where enrolled devices talk to the hub."""
    enrolment_port: Port = 8444
    """Where a device enrols with its code, and does nothing else."""
    certificate_days: int = Field(365, ge=2, le=825)
    """For how many days a device's certificate is valid; it renews itself when a third is left. A device that is off for
    longer enrols again."""
    beat_s: float = Field(20.0, ge=1, le=60)
    """Seconds between two heartbeats of a device; one that missed three, or is silent for 150 s, is taken for lost."""
    most_gigabytes_a_day: int = Field(256, ge=1, le=65536)
    """What one device may send in a day (UTC), in units of 10**9 bytes."""
    most_gigabytes_open: int = Field(16, ge=1, le=65536)
    """What one device may have begun to send and not ended, in units of 10**9 bytes."""
    store: str | None = None
    """The store that devices' studies go into (fedmed data import --store); a path that is not absolute lies in this folder.
    Null for files, one folder a device, below `studies`."""
    key: str | None = None
    """The key of that store (fedmed data key)."""
    elsewhere: Elsewhere = Elsewhere()
    """Where images are looked at whose own device cannot."""
    archive: Archive | None = None
    """Where studies that devices sent go when they are old: {to: "s3://BUCKET/PREFIX", credentials: "file:/path",
    after_days: 90} or {to: /a/folder, keep_gb: 500}. Null for nowhere."""
    trains: bool = False
    """Whether devices train along in the clinic's rounds, each on its own cases."""
    train_s: float = Field(600.0, ge=1, le=86_400)
    """Seconds that they have for a round's training, at most; never more than half of what the center gives the clinic."""
    health: HealthAddress | None = None
    """Where /healthz, /readyz and /metrics answer: 127.0.0.1:PORT or a Unix socket's path; null for nowhere."""
    log: str | None = "service.log"
    """The service's own log: a path, below this folder where it is not absolute; null for none beside standard error."""


Role = TypeVar("Role", bound=Part)


def load_role(path: Path, kind: type[Role]) -> Role:
    """The configuration in `path` (UTF-8 YAML, at most 256 KiB). Raises ConfigError, which lists every fault."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES + 4).decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); name the folder that holds it with --at") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text; put a copy of the file back") from error
    return read_role(text, str(path), kind)


def read_role(text: str, source: str, kind: type[Role]) -> Role:
    """As `load_role`, from text; `source` is the name that faults are reported under."""
    document = read_document(text, source)
    faults: list[Fault] = list(document.faults)
    if document.value is None:  # no text that could be read, or none
        raise _faulty(source, faults or [Fault(document.place(()), (), "holds no keys; put a copy of the file back")])
    try:
        role = kind.model_validate_json(json.dumps(document.value))
    except ValidationError as error:
        for found in error.errors(include_url=False):
            place = tuple(found["loc"])
            faults.append(Fault(document.place(place), place, _explained(kind, found["type"], place, found)))
    if faults:
        raise _faulty(source, faults)
    return role


def _faulty(source: str, faults: Sequence[Fault]) -> ConfigError:
    return ConfigError("\n  ".join([f"{len(faults)} fault{'s' * (len(faults) > 1)} in {source}:", *map(str, faults)]))


def _explained(kind: type[Part], what: str, place: tuple[int | str, ...], found: object) -> str:
    for key in place[:-1]:  # into a section
        kind = _section(kind.model_fields[str(key)].annotation) or kind if str(key) in kind.model_fields else kind
    known = list(kind.model_fields)
    details = dict(found) if isinstance(found, dict) else {}
    if what == "extra_forbidden":
        return f"unknown key{nearest(str(place[-1]), known)}, allowed here: {', '.join(known)}"
    if what == "missing":
        return f"missing: {kind.model_fields[str(place[-1])].description}"
    if what == "value_error":
        return str(details["ctx"]["error"])
    return f"got {shown(details.get('input'))}: {details.get('msg')}"


def _section(annotation: Any) -> type[Part] | None:
    """The section that a key holds, or may hold where it can be null."""
    kinds = [each for each in (annotation, *get_args(annotation)) if isinstance(each, type) and issubclass(each, Part)]
    return kinds[0] if kinds else None


def written(role: Part, values: Mapping[str, Any] | None = None) -> bytes:
    """The configuration, or `values` of it, as YAML: what each key means, its value as JSON, which YAML 1.2 has in it."""
    values, about = role.model_dump(mode="json") if values is None else values, type(role).model_fields
    said = {key: "\n".join(f"# {line}" for line in str(about[key].description).splitlines()) for key in values}
    return "".join(f"{said[key]}\n{key}: {json.dumps(value)}\n" for key, value in values.items()).encode()
