"""What the daemon asks before every piece of work: is this run approved, now, for this message, on this data?

Everything is read from the disk at every question, so that what staff took back a moment ago is taken back. The center is
told a reason without data; the whole one is in the audit log.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from numpy.typing import NDArray

from fedmed.clinic import registering
from fedmed.clinic.approvals import Approvals
from fedmed.clinic.datasets import DataSets, require_the_same
from fedmed.clinic.folder import ClinicFolder
from fedmed.clinic.judging import WITHOUT_DATA, judge, judge_epoch, judge_protection
from fedmed.clinic.releasing import release_for
from fedmed.config.catalogue import shipped
from fedmed.config.dataset import DataSet
from fedmed.config.document import MAX_BYTES
from fedmed.config.roles import CLINIC_FILE, Clinic, load_role
from fedmed.config.scenario import Scenario
from fedmed.errors import FedmedError, NotApproved, ProtocolRefused, StoreError, VersionRefused
from fedmed.identity import files
from fedmed.identity.approval import Approval, Signed
from fedmed.identity.approver import FILE, Approvers
from fedmed.identity.proposal import App, Offered, read_reference
from fedmed.outbound.description import Sizes
from fedmed.store.audit.event import Detail, Event, event
from fedmed.wire import bundle

Record = Callable[[Event], None]
Found = TypeVar("Found")
UNREADABLE = "this site cannot read what its staff approved; ask its staff"


@dataclass(frozen=True)
class Warrant:
    """Leave to work for one run."""

    approval: Approval
    dataset: DataSet
    scenario: Scenario
    """That of the run, which the approval covers."""
    app: App
    """As the center offers it; of the built-in one this clinic runs its own."""
    warrants: Warrants

    @property
    def reference(self) -> str:
        """`RUN@DIGEST` of what was approved."""
        return self.approval.reference

    @property
    def sizes(self) -> Sizes:
        """What the data set is declared to hold."""
        return Sizes(*self.dataset.declared)

    def allow(self, kind: str, text: str, model: Mapping[str, NDArray[Any]] | None = None) -> None:
        """Return where a message of this kind is approved, now; the access is in the audit log before any data is touched.

        `text`: all that it says beside tensors (`fedmed.flower.proposal.text_of`); `model`: its tensors, where it has any.
        Raises NotApproved, whose text the center may be told, and StoreError where the log cannot be written: nothing may
        be done then.
        """
        self.warrants.allow(self.reference, kind, text, model)

    def allow_epoch(self, mode: str, members: int, least: int) -> None:
        """Return where secure aggregation under these terms is as strong as approved. Raises NotApproved, StoreError."""
        self.warrants.allow_epoch(self.reference, mode, members, least)

    def app_files(self) -> dict[str, bytes]:
        """Content by path of the app that may run, compared with the approval now. Raises NotApproved, StoreError."""
        return self.warrants.app_files(self.reference)

    def lay_out(self, target: Path, group: int | None = None) -> None:
        """Lay the cases out for the app, as `fedmed.clinic.registering.lay_out` does. Raises NotApproved, StoreError."""
        self.warrants.lay_out(self.reference, target, group)


class Warrants:
    """Leave to work, by the run that the center names."""

    def __init__(self, folder: ClinicFolder, wheels: str, record: Record) -> None:
        """`wheels`: digest of `fedmed.clinic.wheels.lock()`; `record` appends to the audit log, or raises StoreError."""
        self._folder, self._wheels, self._record = folder, wheels, record
        self._approvals, self._datasets = Approvals(folder.path), DataSets(folder.path)
        self._rules = b"", folder.config

    def find(self, run_name: str, offered: Offered | None = None) -> Warrant:
        """Leave to work for the run that the center calls `RUN@DIGEST` (its `fab_id`).

        `offered` is what the center offers under that name, where the daemon has it: a proposal that was not approved itself
        may lie within the ranges of one that was. Raises NotApproved, whose text the center may be told, and StoreError
        where the audit log cannot be written.
        """
        return self._answered(run_name, "run", lambda: self._found(run_name, offered))

    def allow(self, reference: str, kind: str, text: str, model: Mapping[str, NDArray[Any]] | None = None) -> None:
        """See `Warrant.allow`."""

        def ask() -> tuple[Approval, int | None]:
            approval, _ = self._checked(reference)
            return approval, judge(approval, kind, text, model)

        approval, number = self._answered(reference, kind, ask)
        if kind not in WITHOUT_DATA:
            self._accessed(approval, kind.removeprefix("query."), number)

    def allow_epoch(self, reference: str, mode: str, members: int, least: int) -> None:
        """See `Warrant.allow_epoch`."""
        self._answered(reference, "epoch", lambda: judge_epoch(self._checked(reference)[0], mode, members, least))

    def app_files(self, reference: str) -> dict[str, bytes]:
        """See `Warrant.app_files`."""
        return self._answered(reference, "app", lambda: self._files(self._checked(reference)[0]))

    def lay_out(self, reference: str, target: Path, group: int | None) -> None:
        """See `Warrant.lay_out`."""

        def work() -> Approval:
            approval, dataset = self._checked(reference)
            registering.lay_out(dataset, self._folder.config.name, target, group)
            return approval

        self._accessed(self._answered(reference, "data", work), "lay_out", None)

    def _found(self, run_name: str, offered: Offered | None) -> Warrant:
        covering = None
        if offered is not None and offered.reference == run_name:
            covering = self._approvals.covering(offered)
        approval, dataset = self._checked(run_name if covering is None else covering.approval.reference)
        known = approval.offered() if covering is None or offered is None else offered
        return Warrant(approval, dataset, known.proposal.scenario, known.proposal.app, self)

    def _checked(self, reference: str) -> tuple[Approval, DataSet]:
        """The approval and its data set, where all of it holds now. Raises NotApproved, or what reading raises."""
        run, _ = read_reference(reference)
        now, policy = self._folder.clock.unix(), self._policy()
        signed = self._approvals.get(reference) or _never(run, self._approvals.of_run(run))
        approval = signed.approval
        if (approval.federation, approval.clinic) != (policy.federation, policy.name):
            raise NotApproved(
                _ask(run), f"{reference} was approved for {approval.clinic} of {approval.federation}, not here"
            )
        signed.require_in_force(Approvers(self._folder.path / FILE), policy.approvals_needed, now)
        judge_protection(approval, policy)
        if approval.wheels not in (None, self._wheels):
            raise NotApproved(f"the packages at this site are others than when it approved run {run}; {_ask(run)}")
        dataset = self._datasets.get(approval.dataset)
        release_for(dataset, approval.purpose, run, now)
        require_the_same(dataset, approval.described)
        return approval, dataset

    def _policy(self) -> Clinic:
        """The clinic's own rules as its file has them now; parsed where they changed, for YAML is slow."""
        path = self._folder.path / CLINIC_FILE
        try:
            content = files.read(path, MAX_BYTES + 1, files.OTHERS_CHANGE)
        except OSError as error:
            raise StoreError(f"{path} cannot be read ({error.strerror}); put a copy of it back") from error
        if content != self._rules[0]:
            self._rules = content, load_role(path, Clinic)
        return self._rules[1]

    def _files(self, approval: Approval) -> dict[str, bytes]:
        if approval.offered().proposal.app.kind == "built-in":
            place = shipped("clients")
            program = bundle.files_in(place)
            found = bundle.digest_of(program)
        else:
            content, place = self._approvals.app(approval.app)
            found = bundle.sha256(content)
            program = bundle.unpack(content) if found == approval.app else {}
        if found != approval.app:
            raise NotApproved(
                f"the app at this site is not the one that was approved for run {approval.run}; {_ask(approval.run)}",
                f"{place} has the digest {found[:16]}, and run {approval.reference} was approved with {approval.app[:16]}",
            )
        return program

    def _answered(self, reference: str, what: str, work: Callable[[], Found]) -> Found:
        """What `work` finds; a refusal is in the audit log before it leaves."""
        try:
            return work()
        except NotApproved as refused:
            why = refused
        except FedmedError as error:
            why = NotApproved(str(error) if isinstance(error, (ProtocolRefused, VersionRefused)) else UNREADABLE, str(error))
        self._write("refuse.run", f"{what} of {reference}", "refused", why.kept)
        raise why

    def _accessed(self, approval: Approval, how: str, number: int | None) -> None:
        self._write(
            f"access.{how}", approval.dataset, "done", number=number, purpose=approval.purpose, digest=approval.digest
        )

    def _write(
        self, action: str, what: str, outcome: str, reason: str = "", number: int | None = None, **details: Detail
    ) -> None:
        name, now = self._folder.config.name, self._folder.clock.unix()
        self._record(event(now, name, "site", action, what, outcome, reason=reason, round=number, **details))


def _never(run: str, others: list[Signed]) -> NoReturn:
    kept = f"run {run} was never approved here"
    if others:
        kept = f"run {run} was approved in another form ({others[-1].approval.reference}); the center has changed it since"
    raise NotApproved(_ask(run), kept)


def _ask(run: str) -> str:
    return f"run {run} is not approved at this site; ask its staff: fedmed clinic approve {run}"
