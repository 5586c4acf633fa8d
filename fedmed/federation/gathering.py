"""How the center gathers what sites answer: each site's own, or their masked sum alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from fedmed.config.own_metrics import NO_METRICS
from fedmed.config.scenario import Rounds as Rules
from fedmed.errors import FederationError, UpdateRefused
from fedmed.federation import updates
from fedmed.federation.inturn import Again, InTurn
from fedmed.federation.phase import Member, Phase
from fedmed.federation.round import Round, Verdict
from fedmed.federation.stale import Stale
from fedmed.flower.keys import WEIGHT_KEY
from fedmed.flower.rule import Messages, Rule, Taken
from fedmed.flower.transport import Reply
from fedmed.wire.tensors import Tensors

Record = dict[str, Any]


@dataclass(frozen=True)
class Made:
    """What a round of training gave."""

    model: Tensors
    train: Record
    """Means over the sites and, where they are told, each site's own numbers."""
    strategy: Record
    """The strategy's own summary."""
    folded: Mapping[str, int] = field(default_factory=dict)
    """Sites whose update came too late for an earlier round and is in this one, with that round."""
    buffer: Record = field(default_factory=dict)
    """Of a buffer: its size, the staleness of each update in it, and who went on training."""


@dataclass(frozen=True)
class Attempt:
    """One attempt at a round of training: how it stands, and what is made of it."""

    state: Round
    make: Callable[[], Made] | None
    """None where too few took part."""
    lacks: Sequence[str] = ()
    phases: Mapping[str, float] = field(default_factory=dict)
    """Seconds of what came between the last answer and `make`."""


class Gathering(Protocol):
    """What the round loop asks of the sites."""

    def train(self, number: int, messages: Messages, model: Tensors) -> Attempt:
        """One attempt at a round."""

    def validate(self, number: int, messages: Messages) -> Record | None:
        """The global model's measures over the sites' validation cases; None where nobody has any."""


@dataclass
class Collected:
    """The answers of one attempt: their numbers, and their tensors as a running mean or, where the rule needs it, each."""

    rule: Rule
    model: Tensors
    rules: Rules
    order: Sequence[str]
    """The sites as they were asked."""
    again: Again | None = None
    """See `InTurn`."""
    taken: dict[str, Taken] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._mean = InTurn(self.model, self.order, self.again) if self.rule.streams else None

    def take(self, member: Member, reply: Reply) -> None:
        """Check an answer and take it. Raises UpdateRefused."""
        updates.check(reply.tensors, self.model, reply.metrics, member.examples, self.rules.max_update_norm)
        self.keep(member, reply)

    def keep(self, member: Member, reply: Reply) -> None:
        """Take an answer that was checked."""
        held = None
        if self._mean is None:
            held = {name: value.copy() for name, value in reply.tensors.items()}
        else:
            self._mean.add(member.name, reply, float(reply.metrics[WEIGHT_KEY]))
        self.taken[member.name] = Taken(member.node, dict(reply.metrics), held)

    def in_order(self) -> list[Taken]:
        """The answers by site name."""
        return [self.taken[name] for name in sorted(self.taken)]

    def new_model(self, number: int, stale: Stale) -> Tensors:
        """The strategy's new global model, `stale` folded into the mean."""
        mean = self._mean.result() if self._mean is not None else None
        if mean is not None:
            weight = math.fsum(float(one.metrics[WEIGHT_KEY]) for one in self.taken.values())
            mean = stale.into(mean, weight, self.model)
        return self.rule.aggregate(number, comparable(self.in_order()), mean, self.model)


class Plain:
    """Every site's update and numbers are seen by the center."""

    def __init__(self, phase: Phase, rule: Rule, rules: Rules, own: Mapping[str, float] = NO_METRICS) -> None:
        """`own`: bounds of the numbers of the researcher's own that the scenario declares for training."""
        self._phase, self._rule, self._rules, self._own = phase, rule, rules, own
        self._stale, self._next = Stale(rules.max_update_norm), 1
        if rules.late == "add" and rule.streams:
            phase.on_late = self._fold

    def train(self, number: int, messages: Messages, model: Tensors) -> Attempt:
        """Updates as they come, each checked; what is made of them never depends on who came first."""
        transport, members, self._next = self._phase.transport, self._phase.members, number
        order = [members[message.metadata.dst_node_id].name for message in messages]
        collected = Collected(self._rule, model, self._rules, order, transport.again if transport.lasts else None)
        state = self._phase.run("train", number, messages, collected.take)
        if state.verdict() is Verdict.SHORT:
            return Attempt(state, None, state.shortfalls())
        return Attempt(state, lambda: self._made(state, collected))

    def _fold(self, member: Member, kind: str, number: int, reply: Reply) -> None:
        """Keep a late update for the mean of the round that is under way, or else the next."""
        journal = self._phase.journal
        try:
            if kind == "train" and self._stale.take(member, number, reply, self._next):
                journal.say("folded", site=member.name, round=self._next, of=number)
        except UpdateRefused as error:
            journal.say("refused", round=self._next, kind=kind, site=member.name, reason=str(error))

    def _made(self, state: Round, collected: Collected) -> Made:
        made = made_of(collected, state.number, self._stale, self._own)
        self._stale.ended(state.number, collected.model, state.waiting())
        self._next = state.number + 1
        return made

    def validate(self, number: int, messages: Messages, most: float = 1.0) -> Record | None:
        """Loss and leading measure, each site's own and their mean by cases; `most` as of `Phase.run`."""
        answers: dict[str, Taken] = {}

        def take(member: Member, reply: Reply) -> None:
            updates.check_scores(reply.metrics)
            answers[member.name] = Taken(member.node, dict(reply.metrics))

        state = self._phase.run("evaluate", number, messages, take, most=most)
        useful = {name: one for name, one in sorted(answers.items()) if one.metrics[WEIGHT_KEY] > 0}
        if not useful:
            return None
        self._rule.metrics("evaluate", number, comparable(list(useful.values())))
        numbers = {name: one.metrics for name, one in useful.items()}
        return {**summary(numbers), "sites": _clean(numbers), "missing": absent(state)}


def made_of(collected: Collected, number: int, stale: Stale, own: Mapping[str, float]) -> Made:
    """The new model of answers that the center sees, and what they and the strategy tell; `own` as of `Plain`."""
    rule, folded = collected.rule, dict(stale.folded)
    model = finite(rule, number, collected.new_model(number, stale))
    numbers = {name: collected.taken[name].metrics for name in sorted(collected.taken)}
    strategy = plain(rule.metrics("train", number, comparable(collected.in_order())))
    return Made(model, {**summary(numbers, own), "sites": _clean(numbers)}, strategy, folded)


def finite(rule: Rule, number: int, made: Tensors) -> Tensors:
    """The strategy's new model. Raises FederationError where it is not finite."""
    for name, value in made.items():
        if not updates.is_finite(value):
            raise FederationError(
                f"round {number}: {rule.name} made values that are not finite in tensor {name!r} from finite "
                "updates; lower its server learning rate (the last commit is unchanged)"
            )
    return made


def comparable(taken: Sequence[Taken]) -> list[Taken]:
    """The answers with only those numbers that all of them have, as Flower's strategies demand.

    A site that adds or leaves out a number spoils that number's mean, and nobody's round.
    """

    def form(value: Any) -> int | None:
        return len(value) if isinstance(value, list) else None

    forms = [{(name, form(value)) for name, value in one.metrics.items()} for one in taken]
    names = {name for name, _ in set.intersection(*forms)} if forms else set()
    return [replace(one, metrics={k: v for k, v in one.metrics.items() if k in names}) for one in taken]


def summary(numbers: dict[str, dict[str, Any]], own: Mapping[str, float] = NO_METRICS) -> Record:
    """Mean over sites, weighted by cases, of every number that all sites give, and of those in `own`, whoever gives them.

    Undefined values are left out, and so are those of `own` beyond their bound.
    """
    names = set.intersection(*(set(one) for one in numbers.values())) - {WEIGHT_KEY} if numbers else set()
    found: Record = {}
    for name in sorted(names | own.keys()):
        bound = own.get(name, math.inf)
        told = [(one[WEIGHT_KEY], one.get(name, math.nan)) for one in numbers.values()]
        pairs = [(weight, value) for weight, value in told if _is_number(value) and abs(value) <= bound]
        total = sum(weight for weight, _ in pairs)
        mean = sum(weight * value for weight, value in pairs) / total if total else math.nan
        found[name] = mean if math.isfinite(mean) else None
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _clean(numbers: dict[str, dict[str, Any]]) -> Record:
    renamed = {WEIGHT_KEY: "examples"}
    return {site: {renamed.get(k, k): v for k, v in plain(one).items()} for site, one in numbers.items()}


def plain(values: Mapping[str, Any]) -> Record:
    """The numbers of a record, None for what is none."""
    return {name: value if _is_number(value) else None for name, value in values.items() if not isinstance(value, list)}


def absent(state: Round) -> dict[str, str]:
    """Every site that did not answer, or whose answer was refused, and why."""
    return {**state.missing(), **state.refused}
