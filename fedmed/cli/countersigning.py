"""What the commands of `fedmed clinic release` do."""

from __future__ import annotations

import getpass
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedmed.cli import asking, listing
from fedmed.cli.enlisting import default
from fedmed.cli.releasing import facts_of, root_keys, rows_of
from fedmed.clinic.folder import ClinicFolder, open_clinic
from fedmed.clinic.recording import recorder
from fedmed.clinic.releases import releases_of
from fedmed.clock import SystemClock
from fedmed.errors import ConfigError, FedmedError
from fedmed.identity.approver import FILE, ApproverKey, Approvers
from fedmed.releases.channel import Release, State
from fedmed.store.audit.event import event

_FINGERPRINT = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Signer:
    """Who signs, with which key."""

    name: str
    key: Path | None
    passphrase_file: Path | None

    def opened(self, approvers: Approvers) -> ApproverKey:
        """The key. Raises ConfigError for nobody on the list or another key than the list's, KeyRefused."""
        if self.name not in approvers:
            known = ", ".join(approvers) or "nobody yet; make one: fedmed clinic approver NAME"
            raise ConfigError(f"{self.name!r} may not approve here; on the list: {known}")
        said = asking.passphrase(self.passphrase_file, f"Passphrase of {self.name}")
        found = ApproverKey.load(self.key or default(self.name), said)
        if found.public != approvers[self.name]:
            raise ConfigError(f"the key is not the one by which {self.name} is on the list; name the right one with --key")
        return found


def signers(names: Sequence[str], keys: Sequence[Path] | None, secrets: Sequence[Path] | None) -> list[Signer]:
    """Those that the command line names. Raises ConfigError where --key or --passphrase-file is not there for each."""
    for what, given in (("--key", keys), ("--passphrase-file", secrets)):
        if given and len(given) != len(names):
            raise ConfigError(f"{len(names)} times --approver and {len(given)} times {what}; give one for each, in order")
    none: list[Path | None] = [None] * len(names)
    return [Signer(*each) for each in zip(names, keys or none, secrets or none, strict=True)]


def begin(at: Path, fingerprint: str, root: Path, as_json: bool) -> None:
    """Pin the federation's root, begin this clinic's. Raises ConfigError, ReleaseRefused, Unreachable, StoreError."""
    folder = open_clinic(at, SystemClock())
    said = fingerprint.replace(" ", "").replace(":", "").lower()
    if not _FINGERPRINT.fullmatch(said):
        raise ConfigError(f"--fingerprint {fingerprint[:80]!r}: it has 64 digits of 0-9, a-f; ask the center's operator")
    approvers = _approvers(folder)
    [key] = root_keys(folder.path, [root], may_make=True)
    releases = releases_of(folder)
    _record(folder, "release.init", folder.config.federation, fingerprint=said)
    releases.begin(key, [*approvers.values()], folder.config.approvals_needed, said)
    facts = {"fingerprint": releases.own.fingerprint(), "approvers": list(approvers)}
    told = f"{', '.join(approvers)} may countersign releases; take {root} off this machine, and keep a copy of it\n"
    _write(facts, told, as_json)


def delegate(at: Path, root: Path, as_json: bool) -> None:
    """Other approvers countersign. Raises ConfigError, KeyRefused, StoreError."""
    folder = open_clinic(at, SystemClock())
    approvers, own = _approvers(folder), releases_of(folder).own
    keys = root_keys(folder.path, [root], may_make=False)
    _record(folder, "release.approvers", ", ".join(approvers))
    own.delegate(keys, [*approvers.values()], folder.config.approvals_needed)
    told = f"{', '.join(approvers)} countersign from now on; what only others signed is to be approved again\n"
    _write({"approvers": list(approvers)}, told, as_json)


def list_releases(at: Path, as_json: bool) -> None:
    """Both words on each. Raises ConfigError, ReleaseRefused, Unreachable, StoreError."""
    releases = releases_of(open_clinic(at, SystemClock()))
    view = releases.tend()
    own = {one.counter: one.state.value for one in releases.own.edition().channel.releases}
    agreement = releases.agreement(view)
    rows = [{**row, "here": own.get(int(row["release"]), "not approved")} for row in rows_of(view.channel)]
    if as_json:
        told = [{**facts_of(one), "here": own.get(one.counter)} for one in view.channel.releases]
        active = agreement.active.counter if agreement.active else None
        _write({"releases": told, "active": active, "until": int(view.expires)}, "", as_json)
    elif rows:
        listing.show(rows, as_json)
    else:
        sys.stdout.write("the federation has no release yet\n")


def approve(at: Path, counter: int, shadow: bool, who: Sequence[Signer], as_json: bool) -> None:
    """Countersign. Raises ConfigError, KeyRefused, ReleaseRefused, Unreachable, StoreError."""
    state = State.SHADOW if shadow else State.ACTIVE
    made = _countersigned(at, counter, state, "", who)
    _write(facts_of(made), f"release {counter} may come as far as {state.value} on this clinic's devices\n", as_json)


def refuse(at: Path, counter: int, why: str, who: Sequence[Signer], as_json: bool) -> None:
    """Keep it off, or take it back. Raises as `approve`."""
    made = _countersigned(at, counter, State.ROLLED_BACK, why, who)
    _write(facts_of(made), f"release {counter} is refused; devices that run it return to the one before\n", as_json)


def _countersigned(at: Path, counter: int, state: State, why: str, who: Sequence[Signer]) -> Release:
    folder = open_clinic(at, SystemClock())
    keys = [each.opened(Approvers(folder.path / FILE)) for each in who]
    action = "release.refuse" if state is State.ROLLED_BACK else "release.approve"
    name, now, record = ", ".join(each.name for each in who), folder.clock.unix(), recorder(folder)
    record(event(now, name, "operator", action, str(counter), mode=state.value))
    try:
        return releases_of(folder).countersign(counter, state, why, keys)
    except FedmedError as error:
        record(event(now, name, "operator", action, str(counter), "refused", reason=str(error)))
        raise


def _approvers(folder: ClinicFolder) -> Approvers:
    found = Approvers(folder.path / FILE)
    if not found:
        raise ConfigError("nobody may approve here yet; make an approver first: fedmed clinic approver NAME")
    return found


def _record(folder: ClinicFolder, action: str, what: str, fingerprint: str | None = None) -> None:
    """In the clinic's audit log, before it is done. Raises StoreError."""
    now, who = folder.clock.unix(), getpass.getuser()
    recorder(folder)(event(now, who, "operator", action, what, fingerprint=fingerprint))


def _write(facts: dict[str, Any], told: str, as_json: bool) -> None:
    sys.stdout.write(json.dumps(facts, ensure_ascii=False) + "\n" if as_json else told)
