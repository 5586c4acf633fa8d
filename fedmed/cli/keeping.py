"""What `backup`, `restore`, `recipient`, `settle` and `forgive` do."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

from fedmed.clock import SystemClock
from fedmed.errors import ConfigError
from fedmed.identity import files
from fedmed.identity.authority import day
from fedmed.operation import backup as making
from fedmed.operation import settling
from fedmed.operation.backup import CENTER, CLINIC, Kind
from fedmed.privacy import keys, wrapping
from fedmed.store.audit.event import event
from fedmed.store.audit.log import AuditLog

_MOST_PASSPHRASE = 1024
_AUDIT = "audit"


def back_up(role: str, at: Path, out: Path, passphrase: Path | None, to: str | None, as_json: bool) -> None:
    """Write a backup; the audit log in it tells of it. Raises ConfigError, StoreError."""
    if passphrase is not None and to is not None:
        raise ConfigError("--passphrase-file and --to: give one of them")
    kind, clock = _kind(role), SystemClock()
    name, log = opened_log(role, at)
    wrap = _for_passphrase(passphrase) if to is None else _for_recipient(to)
    if out.exists():
        raise ConfigError(f"{out} is there already, and a backup is never written over; name another file")
    log.append(event(clock.unix(), name, _role(role), "backup", str(out.name), mode="recipient" if to else "passphrase"))
    made = making.back_up(at, kind, name, out, wrap, clock)
    facts = {"file": str(out.resolve()), "files": made.files, "bytes": made.bytes, "left_out": dict(made.left_out)}
    if as_json:
        _write(facts)
        return
    sys.stdout.write(f"{out}: {made.files} files, {made.bytes / 1e6:.1f} MB; left out:\n")
    for path, why in made.left_out.items():
        sys.stdout.write(f"  {path}: {why}\n")


def restore(role: str, backup: Path, folder: Path, passphrase: Path | None, key: Path | None, as_json: bool) -> None:
    """Make a folder from a backup. Raises ConfigError, WrongKey, StoreError."""
    if passphrase is not None and key is not None:
        raise ConfigError("--passphrase-file and --key: give one of them")
    opening = keys.read(key) if key is not None else None
    said = _passphrase(passphrase, confirm=False) if key is None else None
    kind = _kind(role)
    made = making.restore(backup, kind, folder, said, opening, SystemClock())
    facts = {"folder": str(folder.resolve()), "name": made.name, "made_unix": made.unix, "files": made.files}
    if as_json:
        _write({**facts, "look_at": list(kind.look_at)})
        return
    sys.stdout.write(f"{folder}: {made.name} as of {day(made.unix)}, {made.files} files. Look at this first:\n")
    for each in kind.look_at:
        sys.stdout.write(f"  - {each}\n")
    sys.stdout.write(f"then: fedmed {role} settle --who NAME --at {folder}\n")


def show_recipient(key: Path, as_json: bool) -> None:
    """Print a key's recipient. Raises KeyRefused."""
    found = wrapping.recipient(keys.read(key))
    sys.stdout.write(json.dumps({"recipient": found}) + "\n" if as_json else f"{found}\n")


def settle(role: str, at: Path, who: str, as_json: bool) -> None:
    """Somebody has looked. Raises ConfigError where nothing was restored, StoreError."""
    found = settling.restored(at)
    if found is None:
        raise ConfigError(f"{at} was not restored from a backup, or that is settled already")
    name, log = opened_log(role, at)
    reason = f"from a backup of {day(found.made_unix)}"
    log.append(event(SystemClock().unix(), who, "operator", "restore", name, reason=reason, mode=role))
    settling.settle(at)
    facts = {"folder": str(at.resolve()), "who": who, "made_unix": found.made_unix}
    if as_json:
        _write(facts)
    else:
        sys.stdout.write(f"{at}: settled by {who}; now: fedmed {role} up --at {at}\n")


def forgive(at: Path, who: str, as_json: bool) -> None:
    """Accept the center's shorter log. Raises ConfigError where nothing is accused or the daemon is up, StoreError."""
    from fedmed.clinic.folder import open_clinic
    from fedmed.clinic.gatehouse import WATCH
    from fedmed.store.audit.forgiving import set_aside
    from fedmed.store.audit.watch import Watch
    from fedmed.store.standing import is_serving

    folder = open_clinic(at, SystemClock())
    if is_serving(at):
        raise ConfigError(f"{at}: the clinic's daemon is up; stop it first: it holds what is to be forgiven")
    path = at / WATCH
    watched = Watch.log_in(path)
    if watched is None:
        raise ConfigError(f"{path}: nothing of the center's log was watched yet; there is nothing to forgive")
    watch = Watch(path, watched, folder.keys(), dict, folder.clock)
    accused = [{"kind": each.kind, "reason": each.reason} for each in watch.state.accusations]
    name, log = opened_log(CLINIC.role, at)
    if accused:
        reason = f"the center's log, accused: {accused[0]['kind']}"
        log.append(event(folder.clock.unix(), who, "operator", "restore.forgive", name, reason=reason, number=len(accused)))
    aside = set_aside(watch, folder.clock.unix())
    if as_json:
        _write({"aside": str(aside.resolve()), "accusations": accused})
    else:
        told = "".join(f"  {each['kind']}: {each['reason']}\n" for each in accused)
        sys.stdout.write(
            f"put aside as {aside}, to be kept:\n{told}the center's log is watched anew from its next head on\n"
        )


def opened_log(role: str, at: Path) -> tuple[str, AuditLog]:
    """The folder's own name, and its audit log."""
    if role == CENTER.role:
        from fedmed.center.folder import open_center

        center = open_center(at, SystemClock())
        name, signing, clock = center.config.federation, center.keys(), center.clock
    else:
        from fedmed.clinic.folder import open_clinic

        clinic = open_clinic(at, SystemClock())
        name, signing, clock = clinic.config.name, clinic.keys(), clinic.clock
    return name, AuditLog.make(at / _AUDIT, name, signing, clock)


def _kind(role: str) -> Kind:
    return CENTER if role == CENTER.role else CLINIC


def _role(role: str) -> str:
    return "center" if role == CENTER.role else "site"


def _for_passphrase(path: Path | None) -> Callable[[bytes], dict[str, Any]]:
    said = _passphrase(path, confirm=True)
    return lambda secret: wrapping.for_passphrase(secret, said)


def _for_recipient(to: str) -> Callable[[bytes], dict[str, Any]]:
    wrapping.for_recipient(bytes(wrapping.BYTES), to)  # so that a wrong one is named before anything is written
    return lambda secret: wrapping.for_recipient(secret, to)


def _passphrase(path: Path | None, confirm: bool) -> str:
    if path is None:
        return str(typer.prompt("passphrase", hide_input=True, confirmation_prompt=confirm, err=True))
    try:
        content = files.read(path, _MOST_PASSPHRASE)
    except OSError as error:
        raise ConfigError(f"{path}: no passphrase can be read there ({error.strerror})") from error
    return content.decode("utf-8", "replace").rstrip("\r\n")


def _write(facts: Any) -> None:
    sys.stdout.write(json.dumps(facts, ensure_ascii=False) + "\n")
