"""Rounds that no slow site holds up: FedBuff (Nguyen et al., "Federated Learning with Buffered Asynchronous Aggregation",
2022).

    give model v -> sites train -> the first K updates, of whatever versions -> model v + 1 -> places are filled anew
                         '----- who is not among them trains on, and is in a later buffer -----'

A round is one buffer (algorithm 1 of the paper, its server's loop). An update is the change that its site made to the model
it was given. It is made to the model of now instead, times `discount` of the number of models since; the sum is divided by
all cases in the buffer, undiscounted, as the paper divides by K. A round of fresh updates alone is that of `Plain`, to the
bit.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from fedmed.config.own_metrics import NO_METRICS
from fedmed.config.scenario import Buffer
from fedmed.config.scenario import Rounds as Rules
from fedmed.errors import ConfigError
from fedmed.federation import updates
from fedmed.federation.gathering import Attempt, Collected, Made, Plain, Record, made_of
from fedmed.federation.grown import Names
from fedmed.federation.patience import Waiting
from fedmed.federation.phase import Member, Phase
from fedmed.federation.round import Extended, Round, Ticked, Verdict, step
from fedmed.federation.stale import Stale, discount
from fedmed.flower.rule import Messages, Rule
from fedmed.flower.transport import Reply, size_of
from fedmed.wire.tensors import Tensors


@dataclass(frozen=True)
class Begun:
    """A site's training that is under way."""

    member: Member
    number: int
    """Round in which it was given the model; one less is how many models had been made until then."""
    waiting: Waiting
    at: float
    """When it was sent, on the clock's scale."""


@dataclass
class _Open:
    """The buffer that is being filled; one that was short stays for the next attempt."""

    collected: Collected
    staleness: dict[str, int] = field(default_factory=dict)


class Buffered:
    """A `Gathering` whose rounds are buffers. The center sees every site's update."""

    def __init__(
        self, phase: Phase, rule: Rule, rules: Rules, buffer: Buffer, own: Mapping[str, float] = NO_METRICS
    ) -> None:
        """`own` as of `Plain`. Raises ConfigError for a buffer of more updates than there are sites."""
        if buffer.size > len(phase.members):
            raise ConfigError(f"federation.buffer.size: got {buffer.size}; allowed: 1 to {len(phase.members)} (the sites)")
        self._phase, self._rule, self._rules, self._buffer, self._own = phase, rule, rules, buffer, own
        self._transport, self._clock = phase.transport, phase.clock
        self._plain = Plain(phase, rule, rules.model_copy(update={"late": "drop"}), own)
        self._under_way: dict[str, Begun] = {}
        """By message."""
        self._early: list[tuple[Begun, Reply]] = []
        """Answers that came after a buffer was full, with arrays of their own: the first ones of the next."""
        self._given: dict[int, Tensors] = {}
        """The models that trainings under way began with, by the round in which they were given."""
        self._open: _Open | None = None
        self._silent: set[int] = set()
        """Nodes that were given up and have not answered since: whatever else they are asked waits behind that."""
        if not self._transport.lasts:  # there a site's answer waits in nobody's way
            phase.others, phase.on_other = self._under_way.keys, self._set_aside
        phase.on_late = lambda member, kind, number, reply: self._silent.discard(member.node)

    def train(self, number: int, messages: Messages, model: Tensors) -> Attempt:
        """Fill one buffer. `messages` are to all sites, in the order in which those without work are given some."""
        if self._open is None:
            self._open = _Open(Collected(self._rule, model, self._rules, [member.name for member in self._members()]))
        self._begin(number, messages, model, self._open)
        state = self._filled(self._state(number, self._open))
        state = self._given_up(state, self._overdue())
        self._given = {each: self._given[each] for each in {begun.number for begun in self._all_begun()}}
        if state.verdict() is Verdict.SHORT:
            return Attempt(state, None, state.shortfalls())
        full, self._open = self._open, None
        return Attempt(state, lambda: self._made(state, full))

    def validate(self, number: int, messages: Messages) -> Record | None:
        """As `Plain.validate`, over those sites that are not training; once most have answered, not for long."""
        busy = {begun.member.node for begun in self._under_way.values()} | self._silent
        idle = [message for message in messages if message.metadata.dst_node_id not in busy]
        return self._plain.validate(number, idle, self._rules.quorum.sites) if idle else None

    def _members(self) -> list[Member]:
        return sorted(self._phase.members.values(), key=lambda member: member.name)

    def _all_begun(self) -> list[Begun]:
        return [*self._under_way.values(), *(begun for begun, _ in self._early)]

    def _begin(self, number: int, messages: Messages, model: Tensors, open_: _Open) -> None:
        """Give the model to as many sites without work as there are places."""
        begun = self._all_begun()
        busy = {each.member.node for each in begun}
        members = self._phase.members
        idle = [
            message
            for message in messages
            if (node := message.metadata.dst_node_id) not in busy and members[node].name not in open_.staleness
        ]
        places = (self._buffer.concurrent or len(members)) - len(begun)
        if not (chosen := idle[: max(0, places)]):
            return
        self._given[number] = model
        at = self._clock.now()
        sent = self._transport.send(chosen, beyond=True)
        waiting = self._phase.patience.begin("train", set(sent.values()), size_of(chosen[0].content), at)
        self._under_way |= {each: Begun(members[node], number, waiting, at) for each, node in sent.items()}

    def _state(self, number: int, open_: _Open) -> Round:
        inside = {member.name: member for member in self._members() if member.name in open_.staleness}
        training = {begun.member.name: begun.member for begun in self._all_begun()}
        cohort = {name: float(member.examples) for name, member in {**inside, **training}.items()}
        state = Round(number, cohort, self._clock.now(), self._rules.quorum, Names(inside), size=self._buffer.size)
        early, self._early = self._early, []
        for begun, reply in early:
            state = self._heard(state, begun, reply)
        return state

    def _filled(self, state: Round) -> Round:
        """The round once it is closed: the buffer is full, or every site under way has had its time."""
        while not state.is_closed:
            state = self._look(state)
            ids = [*self._under_way, *self._phase.overdue()]
            for reply in self._transport.receive(ids, state.deadline - self._clock.now(), beyond=True):
                begun = self._under_way.pop(reply.message_id, None)
                if begun is None:
                    self._phase.note_late(reply)
                else:
                    self._measure(begun, reply)
                    state = self._heard(state, begun, reply)
            state = self._give_turns(self._look(state))
            state = self._phase.advance("train", state, Ticked(self._clock.now()))
        return state

    def _heard(self, state: Round, begun: Begun, reply: Reply) -> Round:
        """Take an answer, or keep it for the next buffer where this one is full."""
        if state.is_closed:
            self._early.append((begun, _kept(reply)))
            return state

        def take(member: Member, reply: Reply) -> None:
            self._take(state.number, begun, reply)

        return self._phase.advance("train", state, self._phase.judge(state, begun.member, reply, take))

    def _take(self, number: int, begun: Begun, reply: Reply) -> None:
        """Put an update into the buffer. Raises UpdateRefused."""
        assert self._open is not None
        given, now, site = self._given[begun.number], self._open.collected.model, begun.member
        updates.check(reply.tensors, given, reply.metrics, site.examples, self._rules.max_update_norm)
        staleness = number - begun.number
        if staleness:
            share = discount(staleness, self._buffer.discount)
            reply = replace(reply, tensors=as_if_now(reply.tensors, given, now, share))
        self._open.collected.keep(site, reply)
        self._open.staleness[site.name] = staleness

    def _set_aside(self, reply: Reply) -> None:
        """Keep an answer that came while something else was asked."""
        if (begun := self._under_way.pop(reply.message_id, None)) is not None:
            self._measure(begun, reply)
            self._early.append((begun, _kept(reply)))

    def _measure(self, begun: Begun, reply: Reply) -> None:
        self._silent.discard(begun.member.node)
        if reply.error is None:
            begun.waiting.heard(begun.member.node, self._clock.now() - begun.at, reply.line_s)

    def _look(self, state: Round) -> Round:
        """Wait for as long as the last of those under way has time."""
        is_needed = bool(state.shortfalls())
        dues = [begun.waiting.due([begun.member.node], is_needed) for begun in self._under_way.values()]
        return step(state, Extended(max(dues, default=self._clock.now())))[0]

    def _give_turns(self, state: Round) -> Round:
        """At the deadline, those that queue in a process behind a site that hangs have their own time from now on."""
        now = self._clock.now()
        queued = self._transport.queued(self._under_way) if now >= state.deadline and not state.is_closed else frozenset()
        if not queued:
            return state
        state = self._given_up(state, self._under_way.keys() - queued)
        for begun in self._under_way.values():
            begun.waiting.again(now)
        return self._look(state)

    def _overdue(self) -> set[str]:
        """Messages whose own time is over, but for those that had no turn yet."""
        now = self._clock.now()
        over = {each for each, begun in self._under_way.items() if begun.waiting.due([begun.member.node]) <= now}
        return over - self._transport.queued(over)

    def _given_up(self, state: Round, messages: Collection[str]) -> Round:
        """Wait no more for these, and name them; an answer of theirs is late."""
        for message_id in [each for each in self._under_way if each in messages]:
            begun = self._under_way.pop(message_id)
            node, name = begun.member.node, begun.member.name
            reason = f"no answer {begun.waiting.had(node)}"
            begun.waiting.over([node])
            self._phase.give_up(message_id, node, begun.waiting, begun.at, begun.number)
            self._silent.add(node)
            self._phase.journal.say("failed", round=state.number, kind="train", site=name, reason=reason)
            state = replace(state, failed=state.failed.also(name, reason))
        self._transport.cancel(messages)
        return state

    def _made(self, state: Round, full: _Open) -> Made:
        made = made_of(full.collected, state.number, Stale(None), self._own)
        under_way = {begun.member.name: begun.number for begun in self._all_begun()}
        record = {
            "size": self._buffer.size,
            "staleness": dict(sorted(full.staleness.items())),
            "under_way": dict(sorted(under_way.items())),
        }
        return replace(made, buffer=record)


def as_if_now(update: Tensors, given: Tensors, now: Tensors, share: float) -> Tensors:
    """The update that makes `share` of the change from `given` to `update` to the model `now`; whole numbers are rounded."""
    made: Tensors = {}
    for name, value in now.items():
        wide = np.dtype(np.float32 if value.dtype == np.float32 else np.float64)
        change = np.subtract(update[name], given[name], dtype=wide) * wide.type(share)
        moved = np.add(value, change, dtype=wide)
        made[name] = (np.rint(moved) if value.dtype.kind in "iub" else moved).astype(value.dtype, copy=False)
    return made


def _kept(reply: Reply) -> Reply:
    return replace(reply, tensors={name: value.copy() for name, value in reply.tensors.items()}, message=None)
