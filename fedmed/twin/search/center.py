"""The center of the search: round, opening, commits and audit log as in a real one, on a disk that loses its power.

What has to outlive a crash is in the audit log before anybody is asked: which round begins with which cohort, and whose
vectors are in its sum. A center that starts again goes on with that, or gives the round up and says so.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from fedmed.config.scenario import Quorum
from fedmed.errors import ProtocolRefused, StoreError
from fedmed.federation import round as rounds
from fedmed.federation.round import Answered, Instruction, Refused, Round, Ticked, Verdict
from fedmed.identity.member import MemberKeys
from fedmed.outbound.outbox import Sent
from fedmed.privacy.purposes import Purpose
from fedmed.privacy.secagg import masks, opening
from fedmed.privacy.secagg.convening import Agreed
from fedmed.privacy.secagg.encoding import sha256
from fedmed.privacy.secagg.opening import Opening
from fedmed.privacy.secagg.parameters import LEAST_SUM
from fedmed.privacy.secagg.round_messages import Header
from fedmed.privacy.secagg.rounding import Lanes
from fedmed.privacy.secagg.schedule import vector_digest
from fedmed.store.audit import reading
from fedmed.store.audit.event import Event, event
from fedmed.store.audit.log import AuditLog, Cut
from fedmed.store.commits import Commit, Commits
from fedmed.twin.search.clinic import BITS, LAYOUT, SetClock, Work
from fedmed.twin.search.disk import Power
from fedmed.twin.search.watching import AUDIT, LANES, MODEL, Broken, Watch

NAME, CASES, DEADLINE = "center", 10.0, 1.0
CUT = Cut(events=5, monthly=False)
"""Segments so short that crashes meet their ends."""
BEGIN, SURVIVORS, COMMITTED, LOST = "round.begin", "round.survivors", "round.commit", "round.withdraw"


class Lost(ProtocolRefused):
    """A round that is not committed, and says so."""


@dataclass(frozen=True)
class Begun:
    """A round of the protocol that is in writing."""

    round: int
    epoch: int
    number: int
    cohort: tuple[int, ...]
    survivors: tuple[int, ...] | None = None
    is_over: bool = False


@dataclass
class Attempt:
    """A round under way, in memory alone."""

    begun: Begun
    state: Opening
    round: Round
    work: Work
    only: tuple[int, ...] | None
    """The survivors, where they were in writing before it began."""
    total: Lanes = field(default_factory=lambda: np.zeros(LANES, np.uint32))


def site(member: int) -> str:
    """What a member is called in rounds."""
    return f"clinic-{member}"


class Center:
    """The center and its machine."""

    def __init__(self, folder: Path, keys: MemberKeys, watch: Watch) -> None:
        self.folder, self.clock, self.power = folder, SetClock(), Power(folder, honest=folder / "audit")
        self._keys, self._watch, self.was_lied_to = keys, watch, False
        self.begun: Begun | None = None
        self.agreed: Agreed | None = None
        self.start()

    def start(self) -> None:
        """Go on from what is on the disk. Raises Broken, Crash."""
        self._commits = Commits(self.folder, self.power)
        self.latest, _ = self._commits.latest()
        self._watch.restarts(self.latest, self.was_lied_to)
        self.was_lied_to, self.begun = False, None
        try:
            for each in self._told():
                self.begun = _after(self.begun, each)
        except StoreError as error:
            raise Broken(AUDIT, str(error).replace(str(self.folder), "")) from error

    def _told(self) -> list[Event]:
        """All that is in writing. Raises StoreError, Broken."""
        self._log = AuditLog.make(self.folder / "audit", NAME, self._keys, self.clock, CUT, self.power)
        found, head = reading.opened(self._log.folder), self._watch.head
        told = [each for _, each in found.events()]
        proof = self._log.consistency(head.size) if head is not None and head.size <= found.size else ()
        self._watch.verified(found.size, found.tree.root(), proof)
        return told

    def restart(self, keeps: str) -> None:
        """Lose the power and start again."""
        self.power.lose(keeps)
        self.start()

    def restored(self, copy: Path) -> None:
        """Start from a copy that a person has put back."""
        self.power.put_back(copy)
        self._watch.went_back()
        self.was_lied_to = True
        self.start()

    @property
    def model(self) -> Lanes:
        """Of the newest commit."""
        if self.latest is None:
            return np.zeros(LANES, np.uint32)
        return np.asarray(self.latest.tensors[MODEL], np.uint32)

    def _say(self, action: str, begun: Begun, members: Iterable[int]) -> None:
        named, now = ",".join(map(str, members)), self.clock.unix()
        said = event(
            now, NAME, "center", action, "run", round=begun.round, epoch=begun.epoch, number=begun.number, members=named
        )
        self._watch.logged(self._log.append(said) + 1)

    def begin(self, cohort: tuple[int, ...]) -> Attempt:
        """The next round, or the one that is in writing and not over. Raises Lost, StoreError, Crash."""
        agreed, before, number = self.agreed, self.begun, 1
        assert agreed is not None
        epoch, following = agreed.terms.epoch, (self.latest.round if self.latest is not None else 0) + 1
        if before is not None and before.epoch == epoch:
            number = before.number + 1
        if before is not None and not before.is_over and (before.round, before.epoch) == (following, epoch):
            begun = before
        else:
            begun = Begun(following, epoch, number, cohort)
            self._say(BEGIN, begun, cohort)
        self.begun = begun
        model = sha256(b"model", self.model.tobytes())
        header = Header(begun.number, Purpose.UPDATE, begun.cohort, model, LAYOUT, LANES, BITS)
        try:
            state = opening.begin(agreed, header)
        except ProtocolRefused as error:
            raise self.lost(begun, str(error)) from error
        sites = {site(each): CASES for each in begun.cohort}
        held, work = Round(begun.round, sites, DEADLINE, Quorum()), Work(header.encode(), model)
        return Attempt(begun, state, held, work, begun.survivors)

    def lost(self, begun: Begun, why: str) -> Lost:
        """The round is given up, in writing."""
        self._say(LOST, begun, ())
        self.begun = replace(begun, is_over=True)
        return Lost(why)

    def upload(self, attempt: Attempt, member: int, sent: Sent, is_own: bool) -> bool:
        """Whether a vector went into the sum; `is_own`: it came as the answer to this very request."""
        after, said = rounds.step(attempt.round, Answered(site(member)))
        if Instruction.TAKE not in said:
            return False
        try:
            if attempt.only is not None and member not in attempt.only:
                raise ProtocolRefused("it is not among the survivors that are in writing")
            state = opening.take(attempt.state, member, sent.envelope, vector_digest(sent.vector))
        except ProtocolRefused as error:
            if is_own:
                attempt.round, _ = rounds.step(attempt.round, Refused(site(member), str(error)))
            return False
        attempt.round, attempt.state = after, state
        attempt.total += sent.vector
        return True

    def close(self, attempt: Attempt) -> None:
        """Fix the survivors, in writing. Raises Lost, StoreError, Crash."""
        attempt.round, _ = rounds.step(attempt.round, Ticked(DEADLINE))
        begun = attempt.begun
        if attempt.round.verdict() not in (Verdict.COMPLETE, Verdict.QUORUM):
            raise self.lost(begun, "; ".join(attempt.round.shortfalls()))
        try:
            attempt.state = opening.close(attempt.state)
        except ProtocolRefused as error:
            raise self.lost(begun, str(error)) from error
        survivors = attempt.state.survivors or ()
        if begun.survivors is None:
            attempt.begun = self.begun = replace(begun, survivors=survivors)
            self._say(SURVIVORS, begun, survivors)
        elif begun.survivors != survivors:
            raise self.lost(begun, "a vector of the survivors that are in writing is no longer to be had")

    def finish(self, attempt: Attempt) -> None:
        """Open the sum and commit. Raises Lost, StoreError, Crash, Broken."""
        begun, state = attempt.begun, attempt.state
        if not state.is_confirmed or not opening.can_open(state):
            raise self.lost(begun, "too few members answered to open the sum")
        try:
            opened = opening.open_sum(state)
        except ProtocolRefused as error:
            raise self.lost(begun, str(error)) from error
        masks.apply(attempt.total, opened.streams, 1)
        serial, members = begun.epoch << 8 | begun.number, state.survivors or ()
        self._watch.opens(serial, members, attempt.total)
        self._commit(attempt, {"round": begun.round, "number": serial, "members": list(members)})

    def _commit(self, attempt: Attempt, said: dict[str, Any]) -> None:
        held, begun = attempt.round, attempt.begun
        is_enough = 2 * len(said["members"]) >= len(begun.cohort) and len(said["members"]) >= LEAST_SUM
        missing = {**held.missing(), **held.refused}
        self._watch.closes(list(map(site, begun.cohort)), list(map(site, said["members"])), missing, is_enough)
        history = [*(self.latest.state["history"] if self.latest is not None else []), said]
        model = self.model + attempt.total
        commit = Commit(begun.round, {MODEL: model}, {"history": history, "missing": missing})
        self._watch.commits(commit)
        self._commits.write(commit)
        self._watch.committed_is(commit.round)
        self.latest = commit
        self._say(COMMITTED, begun, said["members"])
        self.begun = replace(begun, is_over=True)
        head = self._log.head()
        self._watch.signed(head, self.clock.unix())


def _after(begun: Begun | None, said: Event) -> Begun | None:
    """What is in writing after an event."""
    epoch, number = int(str(said.details["epoch"])), int(str(said.details["number"]))
    members = tuple(int(each) for each in str(said.details["members"]).split(",") if each)
    match said.action:
        case "round.begin":
            return Begun(said.round or 0, epoch, number, members)
        case "round.survivors":
            return None if begun is None else replace(begun, survivors=members)
    return None if begun is None else replace(begun, is_over=True)
