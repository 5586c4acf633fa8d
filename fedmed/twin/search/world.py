"""One seed's federation, message by message: the faults of a plan strike, everything else is the code of real roles."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from fedmed.clock import generator
from fedmed.errors import ProtocolRefused, StoreError
from fedmed.outbound.outbox import Sent
from fedmed.privacy.secagg import convening, opening
from fedmed.privacy.secagg.convening import Convening
from fedmed.privacy.secagg.many import Many
from fedmed.privacy.secagg.opening import Opening
from fedmed.twin.search import corrupting
from fedmed.twin.search.center import Attempt, Center, Lost
from fedmed.twin.search.clinic import Clinic, Work
from fedmed.twin.search.disk import KEEPS, SYNCED, Crash
from fedmed.twin.search.faults import CALLS, COMMIT, CONFIRM, REVEAL, SET_UP, UPLOAD, Fault, Kind, Plan
from fedmed.twin.search.ground import Ground, again, center_keys, ground
from fedmed.twin.search.watching import COUNTED, GOES_ON, STANDS, Broken, Watch

CALM, EPOCHS, JUMPS_S = 2, 3, (-7200.0, -120.0, 0.0, 120.0, 7200.0)
"""Turns without faults at the end; attempts at an epoch; how far a clock may be set, either way."""
SLOW = frozenset((Kind.REQUEST_LOST, Kind.ANSWER_LOST, Kind.ANSWER_LATE))
"""After these every other member is not heard of any more in the stage."""
Request = bytes | Work
Answer = bytes | Sent
Take = Callable[[int, Answer, bool], bool]
"""Whether an answer of a member counts; it came to this very request, or did not."""
Value = TypeVar("Value")


class World:
    """Center and clinics of one plan, in one folder."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self._plan, self._folder, self.trace = plan, folder, list[str]()
        self._ground: Ground = ground(plan.members, plan.mode)
        self._watch, self._many, self._turn, self._gone = Watch(), Many(), 0, set[int]()
        self._faults: dict[tuple[int, str, int], list[Fault]] = {}
        for fault in plan.faults:
            self._faults.setdefault((fault.turn, fault.stage, fault.member), []).append(fault)
        self._requests: dict[tuple[str, int], list[Request]] = {}
        self._answers: dict[tuple[str, int], list[Answer]] = {}
        self._late: list[tuple[str, int, Answer]] = []
        self._takes: dict[str, Take] = {}
        self._clinics: dict[int, Clinic] = {}
        (folder / "center").mkdir(parents=True)
        self._center = Center(folder / "center", center_keys(), self._watch)

    def play(self) -> None:
        """All turns. Raises Broken where an invariant does not hold; `trace` tells how it came to that."""
        try:
            self._begin()
            if self._center.agreed is not None:
                for turn in range(self._plan.turns + CALM):
                    self._turn = turn
                    self._play_turn()
                self._end()
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise Broken(STANDS, f"{type(error).__name__}: {error}") from error
        finally:
            for clinic in self._clinics.values():
                clinic.stop()

    def _begin(self) -> None:
        seed = self._plan.seed
        for index in range(1, self._plan.members + 1):
            entropy = generator(seed, "fault search", "entropy", index).bytes
            draw = generator(seed, "fault search", "clinic", index).bytes
            member = self._ground.member(index, entropy, self._many)
            folder = self._folder / f"clinic-{index}" if index in self._plan.on_disk else None
            self._clinics[index] = Clinic(index, member, folder, self._watch, draw)
        if not self._plan.plays_set_up:
            self._center.agreed = self._ground.agreed
            for index, state in enumerate(self._ground.states, 1):
                self._clinics[index].joined(state)
        elif not self._set_up() and not any(self._is_left_out(each) for each in self._clinics.values()):
            raise Broken(GOES_ON, "no epoch could be set up")
        for index, clinic in self._clinics.items():
            if self._center.agreed is not None and not clinic.is_out:
                self._watch.knows(index, clinic.state())

    @staticmethod
    def _is_left_out(clinic: Clinic) -> bool:
        """Whether a real center would set up an epoch without it and name it (`federation.epochs`), as this shell cannot:
        it is out, or a corrupted request asked it for an epoch far ahead, and it refuses all before that one."""
        return clinic.is_out or clinic.state().last_epoch > EPOCHS

    def _set_up(self) -> bool:
        """Whether an epoch stands."""
        for epoch in range(1, EPOCHS + 1):
            state: Convening | convening.Agreed = convening.convene(again(self._ground.terms, epoch), self._ground.keys)
            self._gone = set()
            try:
                while isinstance(state, Convening):
                    held = [state]

                    def take(member: int, answer: Answer, is_own: bool, held: list[Convening] = held) -> bool:
                        return bool(is_own and self._took(held, lambda: convening.take(held[-1], member, _bytes(answer))))

                    self._exchange(SET_UP, convening.requests(state), take)
                    state = convening.proceed(held[-1])
            except ProtocolRefused as error:
                self._note(f"epoch {epoch} is not set up: {_named(error)}")
                continue
            self._center.agreed = state
            return True
        return False

    def _play_turn(self) -> None:
        self._gone = set()
        copy = self._folder / "copy"
        if any(each.kind is Kind.CENTER_RESTORED for each in self._plan.faults):
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(self._folder / "center", copy)
        try:
            self._note(f"turn {self._turn}: {self._attempted()}")
        except (Lost, StoreError) as error:
            self._note(f"turn {self._turn}: given up, {_named(error)}")
        except Crash:
            fault = self._struck
            self._note(f"turn {self._turn}: the center is started again")
            if fault.kind is Kind.CENTER_RESTORED:
                self._center.restored(copy)
                return
            self._center.was_lied_to |= self._center.power.lies
            self._center.restart(SYNCED if self._center.power.lies else KEEPS[fault.choice % len(KEEPS)])

    def _attempted(self) -> str:
        away = {
            member
            for (turn, stage, member), faults in self._faults.items()
            for each in faults
            if (turn, stage) == (self._turn, UPLOAD) and each.kind is Kind.GONE and each.choice % 2
        }
        roster, least = sorted(self._clinics), self._ground.terms.least_survivors(self._plan.members)
        cohort = tuple(each for each in roster if each not in away)
        attempt = self._center.begin(cohort if len(cohort) >= least else tuple(roster))
        self._takes = {
            UPLOAD: lambda member, answer, is_own: (
                isinstance(answer, Sent) and self._center.upload(attempt, member, answer, is_own)
            ),
            CONFIRM: self._taker(attempt, opening.confirm),
            REVEAL: self._taker(attempt, opening.reveal),
        }
        self._exchange(UPLOAD, dict.fromkeys(attempt.begun.cohort, attempt.work), self._takes[UPLOAD])
        self._center.close(attempt)
        if self._plan.mode == "malicious":
            self._exchange(CONFIRM, dict.fromkeys(roster, opening.confirm_request(attempt.state)), self._takes[CONFIRM])
        if attempt.state.is_confirmed:
            self._exchange(REVEAL, dict.fromkeys(roster, opening.reveal_request(attempt.state)), self._takes[REVEAL])
        for member in roster:
            self._strike_center(self._due(COMMIT, member))
        self._center.finish(attempt)
        self._strike_lying()
        members = ",".join(map(str, attempt.state.survivors or ()))
        return f"round {attempt.begun.round} is committed, number {attempt.begun.number} of members {members}"

    def _taker(self, attempt: Attempt, take: Callable[[Opening, int, bytes], Opening]) -> Take:
        def taken(member: int, answer: Answer, is_own: bool) -> bool:
            held = [attempt.state]
            done = isinstance(answer, bytes) and self._took(held, lambda: take(attempt.state, member, _bytes(answer)))
            attempt.state = held[-1]
            return done and is_own

        return taken

    def _took(self, held: list[Value], take: Callable[[], Value]) -> bool:
        try:
            held.append(take())
        except ProtocolRefused as error:
            self._note(f"  the center refuses it: {_named(error)}")
            return False
        return True

    def _exchange(self, stage: str, requests: dict[int, Request] | dict[int, bytes] | dict[int, Work], take: Take) -> None:
        """Ask each member, and once more who has not answered."""
        heard, slow = set[int](), set[int]()
        late, self._late = self._late, []
        for earlier, member, answer in late:
            self._note(f"  late answer of member {member} to {earlier}")
            if earlier in self._takes:
                self._takes[earlier](member, answer, False)
        order = sorted(requests)
        if any(each.kind is Kind.REORDERED for each in self._there(stage)):
            order.reverse()
        for member in (*order, *order):
            if member in heard | self._gone | slow or self._clinics[member].is_out:
                continue
            due = self._due(stage, member)
            slow |= {member for each in due if each.kind in SLOW and each.choice % 2}
            for answer, is_own in self._carried(stage, member, requests[member], due):
                if take(member, answer, is_own):
                    heard.add(member)
            self._strike_center(due)

    def _carried(self, stage: str, member: int, request: Request, due: list[Fault]) -> Iterator[tuple[Answer, bool]]:
        """What comes to the center of a request and its answer, and whether as that answer."""
        kinds, clinic = {each.kind: each.choice for each in due}, self._clinics[member]
        if Kind.GONE in kinds:
            self._gone.add(member)
            return
        earlier = self._requests.setdefault((stage, member), [])
        if Kind.OLD_REQUEST in kinds and earlier:
            old = earlier[kinds[Kind.OLD_REQUEST] % len(earlier)]
            yield from ((each, False) for each in self._asked(stage, member, old))
        earlier.append(request)
        if Kind.REQUEST_LOST in kinds:
            return
        if Kind.CLINIC_CLOCK in kinds:
            clinic.clock.ahead = JUMPS_S[kinds[Kind.CLINIC_CLOCK] % len(JUMPS_S)]
        if Kind.CLINIC_CRASH in kinds:
            clinic.fail_in(kinds[Kind.CLINIC_CRASH] % CALLS)
        if Kind.CLINIC_FSYNC in kinds:
            clinic.lies()
        asked = corrupting.request(request, kinds[Kind.REQUEST_CORRUPT]) if Kind.REQUEST_CORRUPT in kinds else request
        said = [
            answer
            for _ in range(2 if Kind.REQUEST_DOUBLED in kinds else 1)
            for answer in self._asked(stage, member, asked, kinds.get(Kind.CLINIC_CRASH, 0))
        ]
        clinic.fail_in(-1)
        if {Kind.CLINIC_RESTART, Kind.CLINIC_FSYNC} & set(kinds) and not clinic.is_out:
            self._note(f"  member {member} is started again")
            clinic.restart(SYNCED)
        yield from self._arriving(stage, member, said, kinds)

    def _arriving(
        self, stage: str, member: int, said: list[Answer], kinds: dict[Kind, int]
    ) -> Iterator[tuple[Answer, bool]]:
        if not said:
            return
        before = self._answers.setdefault((stage, member), [])
        if Kind.OLD_ANSWER in kinds and before:
            yield before[kinds[Kind.OLD_ANSWER] % len(before)], False
        before.append(said[0])
        if Kind.ANSWER_LOST in kinds:
            return
        if Kind.ANSWER_LATE in kinds:
            self._late.append((stage, member, said[0]))
            return
        others = self._answers.get((stage, 1 + member % self._plan.members))
        if Kind.ANSWER_OF_ANOTHER in kinds and others:
            yield others[-1], False
        for each in said * (2 if Kind.ANSWER_DOUBLED in kinds else 1):
            yield (corrupting.answer(each, kinds[Kind.ANSWER_CORRUPT]) if Kind.ANSWER_CORRUPT in kinds else each), True

    def _asked(self, stage: str, member: int, request: Request, keeps: int = 0) -> Iterable[Answer]:
        """A member's answer, if it gives one."""
        clinic, answer = self._clinics[member], None
        if clinic.is_out:
            return []
        try:
            answer = clinic.upload(request) if isinstance(request, Work) else clinic.answer(request)
            self._note(f"  {stage}: member {member} answers")
        except (ProtocolRefused, StoreError) as error:
            self._note(f"  {stage}: member {member} refuses: {_named(error)}")
        except Crash:
            clinic.restart(KEEPS[keeps % len(KEEPS)])
            self._note(f"  {stage}: member {member} loses its power{', and is out' if clinic.is_out else ''}")
        return [] if answer is None else [answer]

    def _there(self, stage: str) -> list[Fault]:
        found = [(key, each) for key, each in self._faults.items() if key[:2] == (self._turn, stage)]
        return [fault for _, faults in found for fault in faults]

    def _due(self, stage: str, member: int) -> list[Fault]:
        """Faults that strike now; each strikes once."""
        due = self._faults.pop((self._turn, stage, member), [])
        for each in due:
            self._note(f"  fault: {each}")
        return due

    def _strike_center(self, due: list[Fault]) -> None:
        for each in due:
            match each.kind:
                case Kind.CENTER_CRASH:
                    self._struck = each
                    self._center.power.fail_in(each.choice % CALLS)
                case Kind.CENTER_STOPS | Kind.CENTER_RESTORED:
                    self._struck = each
                    raise Crash
                case Kind.CENTER_FSYNC:
                    self._struck, self._center.power.lies = each, True
                case Kind.CENTER_CLOCK:
                    self._center.clock.ahead = JUMPS_S[each.choice % len(JUMPS_S)]

    def _strike_lying(self) -> None:
        self._center.power.fail_in(-1)
        if self._center.power.lies:
            raise Crash

    def _end(self) -> None:
        """What holds once all is quiet. Raises Broken."""
        for index, clinic in self._clinics.items():
            if clinic.machine is None:
                continue
            told = clinic.machine.sent()
            for (member, number), vector in self._watch.left.items():
                if member == index and (number, vector) not in told:
                    raise Broken(COUNTED, f"member {index} sent a vector in round {number} that its ledger does not have")
        terms = self._ground.terms
        there = sum(not each.is_out for each in self._clinics.values())
        needed = max(terms.quorum, terms.least_survivors(terms.members), terms.design.threshold)
        if there >= needed and not self.trace[-1].startswith(f"turn {self._turn}: round "):
            raise Broken(GOES_ON, f"{there} of {terms.members} members take part, and {self.trace[-1]}")

    def _note(self, line: str) -> None:
        self.trace.append(line)


def _bytes(answer: Answer) -> bytes:
    assert isinstance(answer, bytes)
    return answer


def _named(error: ProtocolRefused | StoreError) -> str:
    """The kind of a refusal; its text may hold a place on this disk."""
    return type(error).__name__ if isinstance(error, StoreError) else str(error)
