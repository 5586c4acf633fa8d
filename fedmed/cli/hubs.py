"""What `fedmed clinic devices` does: codes, the roll and revocation, each in the clinic's audit log before it is done."""

from __future__ import annotations

import getpass
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fedmed.cli import listing
from fedmed.clinic.folder import ClinicFolder, open_clinic
from fedmed.clinic.recording import recorder
from fedmed.clock import SystemClock
from fedmed.config.roles import Hub
from fedmed.errors import FedmedError
from fedmed.hub.folder import FOLDER, HubFolder, make_hub, open_hub
from fedmed.identity.authority import day
from fedmed.identity.devices import Device, Stage
from fedmed.store.audit.event import event
from fedmed.store.standing import is_serving, read_status

DOWN = "the hub is not up; start it: fedmed clinic hub up"


def invite(path: Path, name: str, minutes: int, as_json: bool) -> None:
    """Make a code. Raises ConfigError for the name or the time, JoinRefused where an enrolled device has the name."""
    clinic = open_clinic(path, SystemClock())
    hub = open_hub(path, clinic.clock) if (path / FOLDER).exists() else _made(clinic)
    before = hub.devices.roll().devices.get(name)
    with _on_record(clinic, "invite.device", name):
        code = hub.invite(name, minutes * 60).text()
    if as_json:
        facts = {"name": name, "code": code, "minutes": minutes, "port": hub.config.enrolment_port}
        sys.stdout.write(json.dumps(facts) + "\n")
        return
    sys.stdout.write(f"{code}\n")
    if before is not None and before.stage is Stage.INVITED:
        sys.stderr.write(f"the code that {name} was invited with before is good no more\n")
    sys.stderr.write(
        f"within {minutes} minutes, on the device: fedmed edge join CODE --hub HOST:{hub.config.enrolment_port}, HOST being "
        "this machine as the device reaches it\n"
    )
    if not is_serving(hub.path):
        sys.stderr.write(f"{DOWN} --at {path}\n")


def list_devices(path: Path, as_json: bool) -> None:
    """List the devices, with what the hub heard of them where it is up."""
    hub = open_hub(path, SystemClock())
    is_up = is_serving(hub.path)
    heard: dict[str, Any] = read_status(hub.path).get("devices", {}) if is_up else {}
    rows = [device_facts(each, heard.get(name)) for name, each in sorted(hub.devices.roll().devices.items())]
    if as_json:
        sys.stdout.write(json.dumps(rows) + "\n")
        return
    if not is_up:
        sys.stderr.write(f"{DOWN} --at {path}\n")
    if not rows:
        sys.stdout.write("no device was invited yet\n")
        return
    listing.show([_row(each, is_up) for each in rows], False)


def revoke(path: Path, name: str, as_json: bool) -> None:
    """Let a device in no more. Raises JoinRefused where there is none."""
    clinic = open_clinic(path, SystemClock())
    hub = open_hub(path, clinic.clock)
    with _on_record(clinic, "revoke.device", name):
        hub.revoke(name)
    text = f"{name} is let in no more; what it sent before stays"
    sys.stdout.write((json.dumps({"name": name, "revoked": True}) if as_json else text) + "\n")


def _made(clinic: ClinicFolder) -> HubFolder:
    return make_hub(clinic.path, Hub(clinic=clinic.config.name), clinic.clock)


@contextmanager
def _on_record(clinic: ClinicFolder, action: str, name: str) -> Iterator[None]:
    """What a person does here stands in the audit log before it is done, and that it was refused after."""
    record, who = recorder(clinic), getpass.getuser()
    record(event(clinic.clock.unix(), who, "operator", action, f"device {name}"))
    try:
        yield
    except FedmedError as error:
        record(event(clinic.clock.unix(), who, "operator", action, f"device {name}", "refused", reason=str(error)))
        raise


def device_facts(device: Device, heard: dict[str, Any] | None) -> dict[str, Any]:
    """A device as the roll and the hub have it, for programs; `heard` is None where the hub says nothing of it."""
    return {
        "name": device.name,
        "stage": device.stage.value,
        "since": device.since,
        "fingerprint": device.fingerprint,
        "certificate_until": device.until,
        "code_until": device.expires,
        "heard": heard,
    }


def _row(facts: dict[str, Any], is_up: bool) -> dict[str, str]:
    heard = facts["heard"]
    line = "unknown" if not is_up else "never" if heard is None else "now" if heard["alive"] else day(heard["heard"])
    if facts["stage"] == Stage.REVOKED.value:
        line = "-"
    return {
        "name": facts["name"],
        "stage": facts["stage"],
        "since": day(facts["since"]),
        "heard": line,
        "does": heard["state"] if heard else "-",
        "version": heard["version"] if heard else "-",
        "certificate until": day(facts["certificate_until"]) if facts["certificate_until"] else "-",
    }
