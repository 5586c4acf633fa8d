"""What the commands of `fedmed release` do."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedmed.center.callers import LocalCallers
from fedmed.center.folder import CenterFolder, open_center
from fedmed.center.releases import FOLDER
from fedmed.cli import listing
from fedmed.clock import SystemClock
from fedmed.errors import ConfigError
from fedmed.identity.authority import day
from fedmed.identity.releases import ReleaseKey
from fedmed.identity.roles import Action
from fedmed.releases.channel import Channel, Release
from fedmed.releases.opening import repository
from fedmed.wire.visible import visible

if TYPE_CHECKING:
    from fedmed.releases.repository import Repository


def begin(at: Path, root: Sequence[Path], threshold: int, as_json: bool) -> None:
    """Begin the channel. Raises ConfigError, KeyRefused, StoreError."""
    folder, releases, who = _opened(at)
    keys = root_keys(folder.path, root, may_make=True)
    with folder.on_record(who, "release.init", folder.config.federation):
        releases.begin(keys, (threshold, 1))
    facts = {"fingerprint": releases.fingerprint(), "root_keys": [str(path) for path in root], "threshold": threshold}
    told = (
        f"the channel has begun; its root's fingerprint, which clinics are told by telephone or on paper:\n"
        f"  {facts['fingerprint']}\ntake {', '.join(map(str, root))} off this machine, and keep a copy of each\n"
    )
    _write(facts, told, as_json)


def propose(at: Path, package: Path, name: str | None, version: str | None, as_json: bool) -> None:
    """A candidate. Raises ConfigError, DataError, StoreError."""
    from fedmed.releases.repository import card_of

    folder, releases, who = _opened(at)
    card = card_of(package)
    said = name or card[0], version or card[1]
    if not all(said):
        raise ConfigError(f"{package} has no card.json that tells name and version; give --name and --version")
    with folder.on_record(who, "release.propose", f"{said[0]} {said[1]}"):
        made = releases.propose(package, *said)
    _write(facts_of(made), f"release {made.counter}: {made.name} {made.version}, a candidate\n", as_json)


def promote(at: Path, counter: int, as_json: bool) -> None:
    """One step further. Raises ConfigError, StoreError."""
    folder, releases, who = _opened(at)
    with folder.on_record(who, "release.promote", str(counter)):
        made = releases.promote(counter)
    told = f"release {counter} is {made.state.value} now, on devices of clinics that countersign it\n"
    _write(facts_of(made), told, as_json)


def roll_back(at: Path, counter: int, why: str, as_json: bool) -> None:
    """End a release. Raises ConfigError, StoreError."""
    folder, releases, who = _opened(at)
    with folder.on_record(who, "release.rollback", str(counter)):
        made = releases.roll_back(counter, why)
    active = releases.edition().channel.active
    now = f"release {active.counter} is active" if active else "no release is active: devices keep what runs on them"
    _write({**facts_of(made), "active": active.counter if active else None}, f"release {counter} is ended; {now}\n", as_json)


def show(at: Path, as_json: bool) -> None:
    """The channel. Raises ConfigError, StoreError."""
    _, releases, _ = _opened(at, Action.SEE_RUNS)
    edition = releases.edition()
    until = edition.timestamp.signed.expires.timestamp()
    root = edition.root.signed
    if as_json:
        facts = {"fingerprint": releases.fingerprint(), "root": root.version, "root_until": int(root.expires.timestamp())}
        rows = [facts_of(one) for one in edition.channel.releases]
        _write({**facts, "until": int(until), "releases": rows}, "", as_json)
        return
    if edition.channel.releases:
        listing.show([*rows_of(edition.channel)], as_json)
    else:
        sys.stdout.write("no release yet; propose a package: fedmed release propose PACKAGE\n")
    sys.stdout.write(
        f"dates hold until {day(until)}, the root until {day(root.expires.timestamp())}; {releases.fingerprint()}\n"
    )


def rotate(at: Path, old: Sequence[Path], new: Sequence[Path], threshold: int, as_json: bool) -> None:
    """New daily keys, and where they are others, new root keys. Raises ConfigError, KeyRefused, StoreError."""
    folder, releases, who = _opened(at)
    before, after = root_keys(folder.path, old, may_make=False), root_keys(folder.path, new, may_make=True)
    with folder.on_record(who, "release.keys", folder.config.federation):
        made = releases.rotate(before, after, threshold)
    version = made.root.signed.version
    _write(
        {"root": version}, f"root {version} is signed, with new keys for every day; clinics follow by themselves\n", as_json
    )


def root_keys(folder: Path, paths: Sequence[Path], may_make: bool) -> list[ReleaseKey]:
    """The root's keys, made where they may be and are not there. Raises ConfigError for a place in `folder`, KeyRefused."""
    for path in paths:
        if path.resolve().is_relative_to(folder.resolve()):
            raise ConfigError(f"{path} lies in {folder}, which is served and backed up; keep the root's keys elsewhere")
        if may_make and not path.exists():
            ReleaseKey.generate().save(path)
    return [ReleaseKey.load(path) for path in paths]


def facts_of(one: Release) -> dict[str, Any]:
    """What `--json` says of a release."""
    facts = {"release": one.counter, "name": one.name, "version": one.version, "state": one.state.value}
    return {**facts, "package": one.package, "since": one.unix, "why": one.why}


def rows_of(channel: Channel) -> list[dict[str, str]]:
    """A line a release, the newest first."""
    return [
        {
            "release": str(one.counter),
            "name": f"{one.name} {one.version}",
            "state": one.state.value,
            "since": day(one.unix),
            "package": one.package[:12],
            "why": visible(one.why),
        }
        for one in reversed(channel.releases)
    ]


def _opened(at: Path, action: Action = Action.RUN) -> tuple[CenterFolder, Repository, str]:
    folder = open_center(at, SystemClock())
    caller = LocalCallers(folder).identify(b"")
    caller.require(action)
    return folder, repository(folder.path / FOLDER, folder.clock), caller.name


def _write(facts: dict[str, Any], told: str, as_json: bool) -> None:
    sys.stdout.write(json.dumps(facts, ensure_ascii=False) + "\n" if as_json else told)
