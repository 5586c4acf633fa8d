"""`fedmed clinic approver`: keys of those who approve, and the list of their public halves."""

from __future__ import annotations

import getpass
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedmed.cli import asking
from fedmed.clinic.folder import ClinicFolder, open_clinic
from fedmed.clinic.recording import recorder
from fedmed.clock import SystemClock
from fedmed.errors import ConfigError
from fedmed.identity.approver import FILE, ApproverKey, Approvers, require_passphrase
from fedmed.identity.member import check_name
from fedmed.store.audit.event import event


@dataclass(frozen=True)
class Voucher:
    """Who vouches for a further approver."""

    name: str | None
    key: Path | None
    passphrase_file: Path | None


@dataclass(frozen=True)
class Enlisted:
    """A key that is not on the list yet; in its file already where an earlier try came so far."""

    name: str
    path: Path
    key: ApproverKey
    passphrase: str

    @property
    def facts(self) -> dict[str, Any]:
        """What `--json` says of it."""
        return {"approver": self.name, "key": str(self.path), "public": self.key.public.hex()}

    def told(self, folder: ClinicFolder) -> str:
        """What a person has to know of it."""
        return (
            f"{self.name} may approve runs now. The key is {self.path}: keep it and its passphrase from the daemon's user,\n"
            f"and give {folder.path / FILE} an owner that the daemon is not\n"
        )


def make_approver(at: Path, name: str, key: Path | None, secret: Path | None, voucher: Voucher, as_json: bool) -> None:
    """Make a key and list it. Raises ConfigError, KeyRefused."""
    folder = open_clinic(at, SystemClock())
    path, approvers = place(folder, name, key), Approvers(folder.path / FILE)
    if name in approvers:
        raise ConfigError(f"{name!r} is on the list of approvers already; choose another name")
    vouching = None
    if approvers and voucher.name is not None:
        check_name(voucher.name, "an approver")
        said = asking.passphrase(voucher.passphrase_file, f"Passphrase of {voucher.name}")
        vouching = ApproverKey.load(voucher.key or default(voucher.name), said)
    elif approvers:
        raise ConfigError(f"an approver vouches for each further one; name one of {', '.join(approvers)} with --by")
    made = key_for(name, path, secret)
    enlist(folder, made, voucher.name or "", vouching)
    sys.stdout.write(json.dumps(made.facts) + "\n" if as_json else made.told(folder))


def place(folder: ClinicFolder, name: str, key: Path | None) -> Path:
    """Where the key of `name` is, or is to be. Raises ConfigError for a place that the daemon reads."""
    check_name(name, "an approver")
    path = (key or default(name)).resolve()
    if path.is_relative_to(folder.path.resolve()):
        raise ConfigError(f"{path} lies in the clinic's folder, which the daemon reads; name a place of your own with --key")
    return path


def default(name: str) -> Path:
    """Where an approver's key is if nothing else was said."""
    return Path.home() / ".config" / "fedmed" / f"approver-{name}.key"


def key_for(name: str, path: Path, secret: Path | None) -> Enlisted:
    """A new key in memory, or the one in the file that is there. Raises ConfigError for a short passphrase, KeyRefused."""
    if path.exists():
        said = asking.passphrase(secret, f"Passphrase of the key that is there already, {path}")
        return Enlisted(name, path, ApproverKey.load(path, said), said)
    said = asking.passphrase(secret, f"A passphrase for {name}'s key, such as four words", new=True)
    require_passphrase(said)
    return Enlisted(name, path, ApproverKey.generate(), said)


def enlist(folder: ClinicFolder, made: Enlisted, by: str = "", voucher: ApproverKey | None = None) -> None:
    """Write the key, the event, and the list, in this order. Raises ConfigError, KeyRefused, StoreError."""
    if not made.path.exists():
        made.key.save(made.path, made.passphrase)
    now, public = folder.clock.unix(), made.key.public
    recorder(folder)(event(now, getpass.getuser(), "operator", "approve.approver", made.name, fingerprint=public.hex()))
    Approvers(folder.path / FILE).add(made.name, public, by, voucher)
