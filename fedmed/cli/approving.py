"""What `fedmed clinic runs`, `approve` and `approvals` do."""

from __future__ import annotations

import getpass
import json
import sys
from pathlib import Path
from typing import Any

import click

from fedmed.cli import listing
from fedmed.cli.requests import Request
from fedmed.clinic.approvals import Approvals
from fedmed.clinic.folder import open_clinic
from fedmed.clinic.recording import recorder
from fedmed.clock import SystemClock
from fedmed.identity.approval import Signed
from fedmed.identity.approver import FILE, Approvers
from fedmed.identity.authority import day
from fedmed.wire.visible import visible


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
    """Ask for what lacks, show, ask, sign. Raises NotApproved, ConfigError, ProtocolRefused, KeyRefused, StoreError."""
    from fedmed.cli.guiding import Guide
    from fedmed.clinic.consenting import standing

    folder = open_clinic(at, SystemClock())
    guide = Guide(folder, request)
    try:
        signed = guide.to_the_end()
    except (KeyboardInterrupt, click.Abort):
        sys.stderr.write("\nstopped; run the same command again, and it goes on from here\n")
        raise
    stands = standing(signed, Approvers(folder.path / FILE), folder.config.approvals_needed, folder.clock.unix())
    told = f"{signed.approval.run}: {stands}, until {day(signed.approval.expires)}\n"
    sys.stdout.write(json.dumps(_facts(signed, stands) | guide.facts) + "\n" if request.as_json else told)


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
