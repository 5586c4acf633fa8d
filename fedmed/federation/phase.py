"""One phase of a round on a Grid: send, take answers as they come, close by the rules of `round.py`."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from fedmed.clock import Clock
from fedmed.config.scenario import Quorum
from fedmed.errors import UpdateRefused
from fedmed.federation.journal import Voice
from fedmed.federation.pace import LEAST_S, MARGIN
from fedmed.federation.patience import Patience, Waiting
from fedmed.federation.round import Answered, Event, Extended, Failed, Instruction, Refused, Round, Ticked, step
from fedmed.flower.transport import Reply, Transport, size_of

MAX_REASON = 2000  # characters


@dataclass(frozen=True)
class Member:
    """A site of the federation: its name, its node, and the training cases it declared."""

    name: str
    node: int
    examples: int


@dataclass(frozen=True)
class _Overdue:
    """What was not answered in time."""

    node: int
    waiting: Waiting
    began: float
    number: int
    kind: str


@dataclass
class Phase:
    """Sends messages to a cohort and drives one `Round` until it is closed."""

    transport: Transport
    members: Mapping[int, Member]
    """Members by node."""
    patience: Patience
    quorum: Quorum
    clock: Clock
    journal: Voice
    late: list[str] = field(default_factory=list)
    """Sites whose answer to an earlier phase came since the last look."""
    on_late: Callable[[Member, str, int, Reply], None] = lambda member, kind, number, reply: None
    """Told of each that is no error, with kind and number of the phase that it is late for; its arrays are only lent."""
    others: Callable[[], Collection[str]] = lambda: ()
    """Messages of no phase whose answers are taken along, lest they stand in the way of others of their process."""
    on_other: Callable[[Reply], None] = lambda reply: None
    """Told of each answer to one of these; its arrays are only lent."""
    _overdue: dict[str, _Overdue] = field(default_factory=dict)

    def run(
        self,
        kind: str,
        number: int,
        messages: Sequence[Any],
        take: Callable[[Member, Reply], None],
        left_out: Mapping[int, str] | None = None,
        most: float = 1.0,
    ) -> Round:
        """Send `messages` and close the round; `take` is called for every answer and raises UpdateRefused to refuse it.

        `left_out` are nodes of the cohort that cannot be asked, and why. Once the share `most` of the cohort has answered,
        others have `MARGIN` times as long as these took, though `LEAST_S` seconds at least and their own time at most.
        """
        left_out = left_out or {}
        asked = {message.metadata.dst_node_id for message in messages} | left_out.keys()
        cohort = {m.name: float(m.examples) for m in self.members.values() if m.node in asked}
        began = self.clock.now()
        pending = self.transport.send(messages)
        began -= self.transport.waited_s
        waiting = self.patience.begin(kind, set(pending.values()), size_of(messages[0].content) if messages else 0, began)
        state = Round(number, cohort, waiting.due(set(pending.values())), self.quorum)
        for node, reason in left_out.items():
            state = self.advance(kind, state, Failed(self.members[node].name, reason))
        end, is_cut = math.inf, False
        while not state.is_closed:
            ids = [*pending, *self._overdue, *self.others()]
            for reply in self.transport.receive(ids, state.deadline - self.clock.now()):
                sender = pending.pop(reply.message_id, None)  # whom it was sent to, whatever the answer says
                if sender is None:
                    self.note_late(reply)
                else:
                    if reply.error is None:
                        waiting.heard(sender, self.transport.measured(began), reply.line_s)
                    state = self.advance(kind, state, self.judge(state, self.members[sender], reply, take))
            state = self._look(state, waiting)
            state = self._give_turns(kind, state, pending, waiting)
            end = min(end, self._end(state, most, began))
            is_cut = end < state.deadline
            state = step(state, Extended(min(end, state.deadline)))[0]
            state = self.advance(kind, state, Ticked(self.clock.now()))
        gone = self._nodes(state)
        if not is_cut:
            waiting.over(gone)
        had = {node: f"by {MARGIN:g} times what most took" if is_cut else waiting.had(node) for node in gone}
        state = replace(state, had={self.members[node].name: words for node, words in had.items()})
        self.transport.close(pending)
        self._overdue |= {each: _Overdue(node, waiting, began, number, kind) for each, node in pending.items()}
        return state

    def _end(self, state: Round, most: float, began: float) -> float:
        """When waiting for the rest ends, now that most have answered; infinite where they have not, or all are needed."""
        if most >= 1 or len(state.joined) < most * len(state.cohort):
            return math.inf
        return began + max(LEAST_S, MARGIN * (self.clock.now() - began))

    def _nodes(self, state: Round) -> list[int]:
        """Nodes that are waited for."""
        names = set(state.waiting())
        return [member.node for member in self.members.values() if member.name in names]

    def _look(self, state: Round, waiting: Waiting) -> Round:
        """Wait for as long as those that are missing now are worth it."""
        if state.is_closed:
            return state
        return step(state, Extended(waiting.due(self._nodes(state), bool(state.shortfalls()))))[0]

    def _give_turns(self, kind: str, state: Round, pending: dict[str, int], waiting: Waiting) -> Round:
        """At the deadline, give up on the sites that hang; those that queue behind them in a process get their own time."""
        now = self.clock.now()
        queued = self.transport.queued(pending) if now >= state.deadline else frozenset()
        if not queued:
            return state
        hanging = {message_id: node for message_id, node in pending.items() if message_id not in queued}
        for message_id, node in hanging.items():
            self._overdue[message_id] = _Overdue(pending.pop(message_id), waiting, -math.inf, state.number, kind)
            state = self.advance(kind, state, Failed(self.members[node].name, f"no answer {waiting.had(node)}"))
        self.transport.cancel(hanging)
        waiting.again(now)
        return self._look(state, waiting)

    def overdue(self) -> list[str]:
        """Messages that were given up and may still be answered."""
        return list(self._overdue)

    def give_up(self, message_id: str, node: int, waiting: Waiting, began: float, number: int) -> None:
        """A training is waited for no more; its answer is late from now on."""
        self._overdue[message_id] = _Overdue(node, waiting, began, number, "train")

    def judge(self, state: Round, member: Member, reply: Reply, take: Callable[[Member, Reply], None]) -> Event:
        """What an answer is to a round."""
        if reply.error is not None:
            return Failed(member.name, _readable(reply.error))
        if Instruction.DROP in step(state, Answered(member.name))[1]:
            return Answered(member.name)  # a second answer: the round drops it, the sum never sees it
        try:
            take(member, reply)
        except UpdateRefused as error:
            return Refused(member.name, str(error))
        return Answered(member.name)

    def advance(self, kind: str, state: Round, event: Event) -> Round:
        """The round after an event, which is told."""
        after, instructions = step(state, event)
        match event:
            case Answered(site) if Instruction.TAKE in instructions:
                self.journal.say("answered", round=state.number, kind=kind, site=site)
            case Failed(site, reason):
                self.journal.say("failed", round=state.number, kind=kind, site=site, reason=reason)
            case Refused(site, reason):
                self.journal.say("refused", round=state.number, kind=kind, site=site, reason=reason)
        return after

    def note_late(self, reply: Reply) -> None:
        """Tell of an answer that nobody waits for any more."""
        if (overdue := self._overdue.pop(reply.message_id, None)) is None:
            self.on_other(reply)
        else:
            member = self.members[overdue.node]
            self.late.append(member.name)
            self.journal.say("late", site=member.name)
            if reply.error is None:
                overdue.waiting.heard(overdue.node, self.clock.now() - overdue.began, reply.line_s, is_late=True)
                self.on_late(member, overdue.kind, overdue.number, reply)


def _readable(reason: str) -> str:
    """What a site says of its error, cut for reports; half a surrogate pair, as of a strange file name, is spelled out."""
    return reason[:MAX_REASON].encode("utf-8", "backslashreplace").decode()
