"""`fedmed center init`, `invite`, `admit`, `refuse`, `revoke`, `sites`."""

from __future__ import annotations

import json
import sys
from getpass import getuser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from fedmed.center.callers import LocalCallers
from fedmed.center.folder import make_center, open_center
from fedmed.cli import listing
from fedmed.clock import SystemClock
from fedmed.config.roles import Center, read_role
from fedmed.errors import ConfigError, JoinRefused
from fedmed.identity import files
from fedmed.identity.authority import day
from fedmed.identity.enrolment import Admit, Refuse, Revoke, Seat, Stage
from fedmed.identity.roles import Action
from fedmed.store.standing import read_status
from fedmed.wire.visible import visible

if TYPE_CHECKING:
    from fedmed.center.folder import CenterFolder


def make(path: Path, given: dict[str, Any], as_json: bool) -> None:
    """Make a center's folder. Raises ConfigError for what was given, and where the folder is not empty."""
    config = read_role(json.dumps(given), "the command line", Center)
    folder = make_center(path, config, SystemClock())
    ahead = f"fedmed center invite CLINIC --at {folder.path}"
    facts = {"folder": str(folder.path.resolve()), "federation": config.federation, "host": config.host, "port": config.port}
    _say(
        facts | {"next": ahead},
        f"{folder.path}: the federation {config.federation!r}, reached at {config.host}:{config.port}\n"
        "  transport-ca.key, center.keys: secret; keep copies in a safe place, away from others' hands\n"
        "  center.yaml: what you may change\n"
        f"next: {ahead}\n",
        as_json,
    )


def invite(path: Path, name: str, days: int, out: Path, as_json: bool) -> None:
    """Write a join file. Raises ConfigError for name, days, and a file that is there; JoinRefused where it is a member."""
    folder = _opened(path, Action.INVITE)
    if out.exists():
        raise ConfigError(f"{out} is there already, and a join file is never written over; name another with --out")
    with folder.on_record(getuser(), "enrol.invite", name):
        join, content = folder.invite(name, days)
        files.write_new(out, content)
    ahead = f"fedmed center admit {name} --at {folder.path}"
    _say(
        {"file": str(out.resolve()), "name": name, "expires": join.expires, "next": ahead},
        f"{out}: lets one clinic ask to join as {name!r}, once, until {day(join.expires)}\n"
        f"send it to the clinic, who says: fedmed clinic join {out.name}\n"
        f"then compare six words by telephone: {ahead}\n",
        as_json,
    )


def admit(path: Path, name: str, typed: str | None, as_json: bool) -> None:
    """Admit the keys whose words were typed. Raises JoinRefused where the words differ, or there is nobody to admit."""
    folder = _opened(path, Action.ADMIT)
    seat, words = _request(folder, name)
    if typed is None:
        typer.echo(f"{name} asked at {day(seat.since)}. Telephone it, by a number that you knew before.", err=True)
        typer.echo(f"Its six words must be: {words}", err=True)
        typed = str(typer.prompt("Type the words that the clinic reads to you", err=True))
    if typed.lower().split() != words.split():
        raise JoinRefused(
            f"the words typed are not those of the request: {words!r}. Where the clinic reads others, somebody else asked "
            f"in its name: fedmed center refuse {name}, then invite it anew"
        )
    with folder.on_record(getuser(), "enrol.admit", name, fingerprint=seat.fingerprint):
        folder.enrolments.apply(Admit(name, seat.fingerprint), folder.sign)
    until = folder.enrolments.roll().of(name).until
    _say(
        {"name": name, "stage": Stage.ADMITTED.value, "words": words, "until": until},
        f"{name} is admitted to the transport; its certificate is valid until {day(until)} and renews itself.\n"
        "It counts in encryption once each clinic has approved it: fedmed clinic members approve\n",
        as_json,
    )


def refuse(path: Path, name: str, as_json: bool) -> None:
    """Refuse a request. Raises JoinRefused where there is none."""
    folder = _opened(path, Action.ADMIT)
    with folder.on_record(getuser(), "refuse.enrol", name):
        folder.enrolments.apply(Refuse(name))
    _say({"name": name, "stage": Stage.REFUSED.value}, f"{name} is refused; invite it anew with a new file\n", as_json)


def revoke(path: Path, name: str, as_json: bool) -> None:
    """Revoke a clinic. Raises JoinRefused for a name that nobody has."""
    folder = _opened(path, Action.REVOKE)
    with folder.on_record(getuser(), "revoke.member", name):
        folder.enrolments.apply(Revoke(name))
    said = f"{name} is shut out from the next request on; its keys never come back, its name may be invited again\n"
    _say({"name": name, "stage": Stage.REVOKED.value}, said, as_json)


def show_sites(path: Path, as_json: bool) -> None:
    """List the roll."""
    folder = _opened(path, Action.SEE_SITES)
    seats = [seat for _, seat in sorted(folder.enrolments.roll().seats.items())]
    if as_json:
        sys.stdout.write(json.dumps([_facts(folder, seat) for seat in seats]) + "\n")
    elif not seats:
        sys.stdout.write("nobody was invited yet; say: fedmed center invite CLINIC\n")
    else:
        listing.show([_row(folder, seat) for seat in seats], as_json)


def _opened(path: Path, action: Action) -> CenterFolder:
    folder = open_center(path, SystemClock())
    LocalCallers(folder).identify(b"").require(action)
    return folder


def _request(folder: CenterFolder, name: str) -> tuple[Seat, str]:
    seat = folder.enrolments.roll().of(name)
    if seat.stage is not Stage.REQUESTED:
        raise JoinRefused(f"{name!r} is {seat.stage.value}; only one that has asked can be admitted: fedmed center sites")
    return seat, folder.words(seat)


def _facts(folder: CenterFolder, seat: Seat) -> dict[str, Any]:
    plain = {key: getattr(seat, key) for key in ("name", "fingerprint", "since", "expires", "until")}
    return plain | {"stage": seat.stage.value, "words": folder.words(seat), "version": _version(folder, seat)}


def _row(folder: CenterFolder, seat: Seat) -> dict[str, str]:
    return {
        "name": seat.name,
        "stage": seat.stage.value,
        "since": day(seat.since),
        "file good until": day(seat.expires) if seat.stage in (Stage.INVITED, Stage.REQUESTED) else "",
        "certificate until": day(seat.until) if seat.until else "",
        "version": visible(_version(folder, seat) or ""),
        "words": folder.words(seat),
    }


def _version(folder: CenterFolder, seat: Seat) -> str | None:
    """Of fedmed, as the clinic said when the service heard it last."""
    found = read_status(folder.path).get("sites", {}).get(seat.name, {}).get("version")
    return None if found is None else str(found)


def _say(facts: dict[str, Any], text: str, as_json: bool) -> None:
    sys.stdout.write(json.dumps(facts) + "\n" if as_json else text)
