"""`fedmed clinic approve` without its screen: what would be approved, beside what was, and the signature of an approver."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fedmed.clinic import matching, plainly
from fedmed.clinic.approvals import Approvals
from fedmed.clinic.folder import ClinicFolder
from fedmed.clinic.plainly import Row
from fedmed.clinic.terms import Terms
from fedmed.clinic.warrants import Record
from fedmed.clinic.wheels import Lock
from fedmed.config.dataset import DataSet
from fedmed.errors import ConfigError, NotApproved, ProtocolRefused, StoreError
from fedmed.identity.approval import Approval, Signed
from fedmed.identity.approver import ApproverKey, Approvers
from fedmed.identity.proposal import App, Offered, built_in
from fedmed.store.audit.event import event
from fedmed.wire import bundle


@dataclass(frozen=True)
class Considered:
    """A run before somebody signs."""

    signed: Signed
    """With the signatures that it has already, of other approvers."""
    rows: list[Row]
    notes: list[str]
    """What staff should know and may accept."""
    previous: Approval | None
    """What was approved last under the run's name."""
    changes: list[str]
    """All that differs from it."""
    bundle: bytes | None
    """The app, where it is a researcher's own."""


class Consent:
    """The approvals of one clinic, as its staff gives them."""

    def __init__(self, folder: ClinicFolder, wheels: Lock, fetch: Callable[[App], bytes], record: Record) -> None:
        """`fetch` gets the bundle of an app from the center; `record` appends to the audit log."""
        self._folder, self._wheels, self._fetch, self._record = folder, wheels, fetch, record
        self._approvals = Approvals(folder.path)

    def consider(self, offered: Offered, chosen: DataSet, terms: Terms) -> Considered:
        """What approving an offer would mean, for a data set that need not be registered yet.

        Raises NotApproved, ConfigError, ProtocolRefused, StoreError; see `draft`.
        """
        from fedmed.clinic.approving import app_files, draft  # the network is built: torch is loaded when it comes to that

        own, now = built_in(), self._folder.clock.unix()
        app, content = offered.proposal.app, None
        files = {}
        if app.kind == "bundle":
            content = self._fetch(app)
            files = app_files(app, content)
        made = draft(offered, chosen, self._folder.config, own, self._wheels, terms, now)
        signed = self._joined(made, now)
        previous = next((each.approval for each in reversed(self._approvals.of_run(made.run))), None)
        before = {} if previous is None else self._files_of(previous)
        changes = [] if previous is None else plainly.changed(previous, signed.approval, before, files)
        notes = matching.notes(offered.proposal.scenario, chosen)
        return Considered(signed, plainly.rows(signed.approval, chosen, own), notes, previous, changes, content)

    def sign(self, considered: Considered, name: str, key: ApproverKey, approvers: Approvers) -> Signed:
        """Sign, write it into the audit log, and keep it. Raises ConfigError for a key that is not `name`'s, StoreError."""
        if approvers.get(name) != key.public:
            raise ConfigError(
                f"this is not the key of approver {name!r}; approvers here are: {', '.join(approvers) or 'none'}"
            )
        approval = considered.signed.approval
        signed = considered.signed.signed(name, key.sign(approval.message()))
        said = event(
            self._folder.clock.unix(), name, "operator", "approve.run", approval.reference,
            dataset=approval.dataset, purpose=approval.purpose, fab=approval.app, expires=approval.expires,
            mode=approval.encryption, epsilon=approval.epsilon, wheel=approval.wheels,
        )  # fmt: skip
        self._record(said)
        if considered.bundle is not None:
            self._approvals.keep_app(approval.app, considered.bundle)
        self._approvals.keep(signed)
        return signed

    def _joined(self, made: Approval, now: float) -> Signed:
        """The approval that others have signed and that still lacks signatures, where it is the same; else a new one."""
        kept = self._approvals.get(made.reference)
        if kept is None or kept.withdrawn is not None or kept.approval.expires <= now:
            return Signed(made)
        times = {"approved": made.approved, "expires": made.expires}
        same = kept.approval.model_copy(update=times) == made
        lacks = 0 < len(kept.signatures) < self._folder.config.approvals_needed
        return kept if same and lacks else Signed(made)

    def _files_of(self, approval: Approval) -> dict[str, bytes]:
        """Of an app that was approved before; none where it is the built-in one, or gone."""
        try:
            content, _ = self._approvals.app(approval.app)
            return bundle.unpack(content) if bundle.sha256(content) == approval.app else {}
        except (StoreError, ProtocolRefused):
            return {}


def take_back(folder: ClinicFolder, named: str, by: str, record: Record) -> Approval:
    """Withdraw the newest approval of a run's name, or that of a `RUN@DIGEST`. Raises ConfigError, StoreError."""
    approvals = Approvals(folder.path)
    signed, now = approvals.the_one(named), folder.clock.unix()
    record(event(now, by, "operator", "withdraw.approval", signed.approval.reference, dataset=signed.approval.dataset))
    approvals.keep(signed.taken_back(now))
    return signed.approval


def standing(signed: Signed, approvers: Approvers, needed: int, now: float) -> str:
    """`approved`, or why not, in the staff's own words."""
    try:
        signed.require_in_force(approvers, needed, now)
    except NotApproved as error:
        if signed.withdrawn is not None:
            return "taken back"
        return "expired" if now >= signed.approval.expires else error.kept
    return "approved"
