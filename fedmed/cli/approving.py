"""What `fedmed clinic runs`, `approve`, `approver` and `approvals` do."""

from __future__ import annotations

import getpass
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from fedmed.cli import listing
from fedmed.clinic.approvals import Approvals
from fedmed.clinic.folder import open_clinic
from fedmed.clinic.recording import recorder
from fedmed.clock import SystemClock
from fedmed.errors import ConfigError
from fedmed.identity.approval import Signed
from fedmed.identity.approver import FILE, ApproverKey, Approvers
from fedmed.identity.authority import day
from fedmed.identity.member import check_name
from fedmed.store.audit.event import event
from fedmed.wire.visible import visible

MOST_PASSPHRASE = 1024


@dataclass(frozen=True)
class Voucher:
    """Who vouches for a further approver."""

    name: str | None
    key: Path | None
    passphrase_file: Path | None


@dataclass(frozen=True)
class Request:
    """What the command line of `approve` said."""

    run: str
    dataset: str | None
    allow: tuple[str, ...]
    days: int
    any_wheels: bool
    approver: str | None
    key: Path | None
    passphrase_file: Path | None
    yes: bool
    as_json: bool


def make_approver(at: Path, name: str, key: Path | None, secret: Path | None, voucher: Voucher, as_json: bool) -> None:
    """Make a key and list it. Raises ConfigError, KeyRefused."""
    folder = open_clinic(at, SystemClock())
    check_name(name)
    approvers, path = Approvers(folder.path / FILE), (key or _default(name)).resolve()
    if path.is_relative_to(folder.path.resolve()):
        raise ConfigError(f"{path} lies in the clinic's folder, which the daemon reads; name a place of your own with --key")
    vouching = None
    if approvers and voucher.name is not None:
        check_name(voucher.name)
        where = voucher.key or _default(voucher.name)
        vouching = ApproverKey.load(where, _passphrase(voucher.passphrase_file, f"Passphrase of {voucher.name}"))
    elif approvers:
        raise ConfigError(f"an approver vouches for each further one; name one of {', '.join(approvers)} with --by")
    made = ApproverKey.make(path, _passphrase(secret, f"A passphrase for {name}'s key", new=True))
    said = event(folder.clock.unix(), getpass.getuser(), "operator", "approve.approver", name, fingerprint=made.public.hex())
    recorder(folder)(said)
    approvers.add(name, made.public, voucher.name or "", vouching)
    facts = {"approver": name, "key": str(path), "public": made.public.hex()}
    told = (
        f"{name} may approve runs now. The key is {path}: keep it and its passphrase from the daemon's user,\n"
        f"and give {folder.path / FILE} an owner that the daemon is not\n"
    )
    sys.stdout.write(json.dumps(facts) + "\n" if as_json else told)


def show_runs(at: Path, as_json: bool) -> None:
    """List offers beside approvals. Raises Unreachable, JoinRefused, StoreError."""
    from fedmed.clinic.consenting import standing
    from fedmed.clinic.offers import listed

    folder = open_clinic(at, SystemClock())
    offers, approvals = listed(folder.line()), Approvals(folder.path)
    approvers, now, rows = Approvers(folder.path / FILE), folder.clock.unix(), list[dict[str, str]]()
    for each in offers.found:
        known, others = approvals.covering(each), approvals.of_run(each.proposal.run)
        word = standing(known, approvers, folder.config.approvals_needed, now) if known else ""
        rows.append(
            {
                "run": each.proposal.run,
                "standing": word or ("CHANGED since it was approved" if others else "not approved"),
                "purpose": each.proposal.scenario.purpose,
                "rounds": str(each.proposal.scenario.rounds),
                "title": each.proposal.scenario.title,
                "digest": each.digest if as_json else each.digest[:12],
            }
        )
    for fault in offers.faults:
        sys.stderr.write(f"not shown: {visible(fault)}\n")
    if rows or as_json:
        listing.show(rows, as_json)
    else:
        sys.stdout.write("the center offers no run now\n")


def approve_run(at: Path, request: Request) -> None:
    """Show, ask, sign. Raises NotApproved, ConfigError, ProtocolRefused, KeyRefused, StoreError."""
    from fedmed.clinic import offers, wheels
    from fedmed.clinic.approving import Terms, read_ranges
    from fedmed.clinic.consenting import Consent, standing

    folder = open_clinic(at, SystemClock())
    approvers, line = Approvers(folder.path / FILE), folder.line()
    name = _who(request, approvers)
    terms = Terms(request.days, read_ranges(request.allow), request.any_wheels)
    consent = Consent(folder, wheels.lock(), lambda app: offers.fetched(line, app), recorder(folder))
    found = consent.consider(offers.listed(line).the_one(request.run), request.dataset, terms)
    _show(found, sys.stderr if request.as_json else sys.stdout)
    if not request.yes and not typer.confirm(f"Approve this as {name}?", err=True):
        raise ConfigError("nothing was approved")
    key = ApproverKey.load(request.key or _default(name), _passphrase(request.passphrase_file, f"Passphrase of {name}"))
    signed = consent.sign(found, name, key, approvers)
    stands = standing(signed, approvers, folder.config.approvals_needed, folder.clock.unix())
    facts = _facts(signed, stands) | {"changes": found.changes, "notes": found.notes}
    told = f"{signed.approval.run}: {stands}, until {day(signed.approval.expires)}\n"
    sys.stdout.write(json.dumps(facts) + "\n" if request.as_json else told)


def list_approvals(at: Path, as_json: bool) -> None:
    """A line an approval. Raises StoreError for one that was changed, naming its file."""
    from fedmed.clinic.consenting import standing

    folder = open_clinic(at, SystemClock())
    approvers, now, needed = Approvers(folder.path / FILE), folder.clock.unix(), folder.config.approvals_needed
    found = [(each, standing(each, approvers, needed, now)) for each in Approvals(folder.path).all()]
    if as_json:
        sys.stdout.write(json.dumps([_facts(*each) for each in found]) + "\n")
    elif not found:
        sys.stdout.write("no run was approved yet; see what is offered: fedmed clinic runs\n")
    else:
        listing.show([_row(*each) for each in found], as_json)


def show_approval(at: Path, run: str, as_json: bool) -> None:
    """All that an approval binds. Raises ConfigError, StoreError."""
    from fedmed.clinic.consenting import standing

    folder = open_clinic(at, SystemClock())
    signed = Approvals(folder.path).the_one(run)
    stands = standing(signed, Approvers(folder.path / FILE), folder.config.approvals_needed, folder.clock.unix())
    facts = _facts(signed, stands) | {"approval": signed.approval.model_dump(mode="json")}
    if as_json:
        sys.stdout.write(json.dumps(facts) + "\n")
        return
    shown = json.dumps(facts["approval"], indent=2, ensure_ascii=False)
    sys.stdout.write(f"{signed.approval.run}: {stands}\n" + "\n".join(map(visible, shown.splitlines())) + "\n")


def withdraw_approval(at: Path, run: str, as_json: bool) -> None:
    """Take back. Raises ConfigError, StoreError."""
    from fedmed.clinic.consenting import take_back

    folder = open_clinic(at, SystemClock())
    gone = take_back(folder, run, getpass.getuser(), recorder(folder))
    facts = {"run": gone.run, "digest": gone.digest, "standing": "taken back"}
    told = f"{gone.run}: the approval is taken back; nothing more is done for it from the next message on\n"
    sys.stdout.write(json.dumps(facts) + "\n" if as_json else told)


def _show(found: Any, out: Any) -> None:
    width = max(len(name) for name, _ in found.rows)
    lines = [f"{name.ljust(width)}  {text}" for name, text in found.rows]
    if found.previous is not None:
        lines += ["", f"since it was approved at {day(found.previous.approved)}, this changed:", *found.changes]
        lines += [] if found.changes else ["nothing"]
    lines += ["", *(f"note: {visible(note)}" for note in found.notes)] if found.notes else []
    out.write("\n".join(lines) + "\n\n")
    out.flush()


def _who(request: Request, approvers: Approvers) -> str:
    if request.approver is not None:
        check_name(request.approver)
    elif len(approvers) == 1:
        return next(iter(approvers))
    if request.approver not in approvers:
        there = f"name one with --approver: {', '.join(approvers)}" if approvers else "make one: fedmed clinic approver NAME"
        raise ConfigError(f"who approves? {there}")
    return str(request.approver)


def _default(name: str) -> Path:
    return Path.home() / ".config" / "fedmed" / f"approver-{name}.key"


def _passphrase(file: Path | None, ask: str, new: bool = False) -> str:
    if file is None:
        return str(typer.prompt(ask, hide_input=True, confirmation_prompt=new, err=True))
    try:
        with file.open("rb") as opened:
            return opened.read(MOST_PASSPHRASE).decode().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: no passphrase can be read there ({type(error).__name__})") from error


def _facts(signed: Signed, stands: str) -> dict[str, Any]:
    approval = signed.approval
    keys = ("run", "digest", "dataset", "purpose", "encryption", "least_members", "epsilon", "approved", "expires")
    plain = {key: getattr(approval, key) for key in keys}
    return plain | {"standing": stands, "by": [name for name, _ in signed.signatures]}


def _row(signed: Signed, stands: str) -> dict[str, str]:
    approval = signed.approval
    return {
        "run": approval.run,
        "standing": stands,
        "data set": approval.dataset,
        "purpose": approval.purpose,
        "by": ", ".join(name for name, _ in signed.signatures),
        "approved": day(approval.approved),
        "until": day(approval.expires),
        "digest": approval.digest[:12],
    }
