"""A round of training and its validation, from the strategy's proposal to a new global model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from fedmed.clock import Clock
from fedmed.config.scenario import Rounds as Rules
from fedmed.errors import FederationError, QuorumError
from fedmed.federation import updates
from fedmed.federation.journal import Journal
from fedmed.federation.mean import WeightedMean
from fedmed.federation.phase import Member, Phase
from fedmed.federation.round import Round, Verdict
from fedmed.flower.keys import WEIGHT_KEY
from fedmed.flower.rule import Rule, Taken
from fedmed.flower.transport import Reply, Transport
from fedmed.wire.tensors import Tensors

Record = dict[str, Any]


@dataclass
class Collected:
    """The answers of one attempt: their numbers, and their tensors as a running mean or, where the rule needs it, each."""

    rule: Rule
    model: Tensors
    rules: Rules
    taken: dict[str, Taken] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._mean = WeightedMean(self.model) if self.rule.streams else None

    def take(self, member: Member, reply: Reply) -> None:
        """Check an answer and take it. Raises UpdateRefused."""
        updates.check(reply.tensors, self.model, reply.metrics, member.examples, self.rules.max_update_norm)
        held = None
        if self._mean is None:
            held = {name: value.copy() for name, value in reply.tensors.items()}
        else:
            self._mean.add(reply.lane, reply.tensors, float(reply.metrics[WEIGHT_KEY]))
        self.taken[member.name] = Taken(member.node, dict(reply.metrics), held)

    def in_order(self) -> list[Taken]:
        """The answers by site name: what is made of them never depends on who came first."""
        return [self.taken[name] for name in sorted(self.taken)]

    def new_model(self, number: int) -> Tensors:
        """The strategy's new global model. Raises FederationError where it is not finite."""
        mean = self._mean.result() if self._mean is not None else None
        made = self.rule.aggregate(number, comparable(self.in_order()), mean, self.model)
        for name, value in made.items():
            if not updates.is_finite(value):
                raise FederationError(
                    f"round {number}: {self.rule.name} made values that are not finite in tensor {name!r} from finite "
                    "updates; lower its server learning rate (the last commit is unchanged)"
                )
        return made


class RoundLoop:
    """Runs single rounds for a fixed set of sites; holds no model, no commit and no clock of its own."""

    def __init__(
        self,
        transport: Transport,
        rule: Rule,
        members: Sequence[Member],
        rules: Rules,
        clock: Clock,
        journal: Journal,
    ) -> None:
        self._members = sorted(members, key=lambda member: member.name)
        self._nodes = [member.node for member in self._members]
        self._transport, self._rule, self._rules, self._clock, self._journal = transport, rule, rules, clock, journal
        by_node = {member.node: member for member in self._members}
        self._phase = Phase(transport, by_node, rules.deadline_s, rules.quorum, clock, journal)
        self._moved = (transport.bytes_down, transport.bytes_up)

    def train(self, number: int, model: Tensors, order: str) -> tuple[Tensors, Record]:
        """The new global model and the round's record. Raises QuorumError once every attempt has missed the quorum."""
        for attempt in range(1, self._rules.attempts + 1):
            started = self._clock.now()
            self._journal.say("round", round=number, attempt=attempt)
            collected = Collected(self._rule, model, self._rules)
            messages = self._rule.propose("train", number, model, order, self._nodes)
            if not messages:
                raise FederationError(f"{self._rule.name} proposed no site for round {number}")
            state = self._phase.run("train", number, messages, collected.take)
            trained = self._clock.now()
            if state.verdict() is not Verdict.SHORT:
                made = collected.new_model(number)
                record = self._record(state, attempt, collected.in_order())
                record["phases"] = {"train": trained - started, "aggregate": self._clock.now() - trained}
                return made, record
            self._journal.say("short", round=number, attempt=attempt, lacks=state.shortfalls(), missing=_absent(state))
        raise QuorumError(_short_of_quorum(state, self._rules.attempts))

    def validate(self, number: int, model: Tensors, order: str) -> Record | None:
        """The global model's loss and AUC over the sites' validation cases; None where nobody has any."""
        answers: dict[str, Taken] = {}

        def take(member: Member, reply: Reply) -> None:
            updates.check_scores(reply.metrics)
            answers[member.name] = Taken(member.node, dict(reply.metrics))

        messages = self._rule.propose("evaluate", number, model, order, self._nodes)
        if not messages:
            return None
        state = self._phase.run("evaluate", number, messages, take)
        useful = {name: one for name, one in sorted(answers.items()) if one.metrics[WEIGHT_KEY] > 0}
        if not useful:
            return None
        self._rule.metrics("evaluate", number, comparable(list(useful.values())))
        numbers = {name: one.metrics for name, one in useful.items()}
        return {**summary(numbers), "sites": _clean(numbers), "missing": _absent(state)}

    def moved(self) -> dict[str, int]:
        """Bytes of tensors sent and received since this was last asked, those of attempts in vain included."""
        before, self._moved = self._moved, (self._transport.bytes_down, self._transport.bytes_up)
        return {"down": self._moved[0] - before[0], "up": self._moved[1] - before[1]}

    def _record(self, state: Round, attempt: int, taken: list[Taken]) -> Record:
        names = {member.node: member.name for member in self._members}
        numbers = {names[one.node]: one.metrics for one in taken}
        late, self._phase.late = self._phase.late, []
        return {
            "round": state.number,
            "attempt": attempt,
            "verdict": state.verdict().value,
            "cohort": sorted(state.cohort),
            "joined": sorted(state.joined),
            "missing": state.missing(),
            "refused": dict(state.refused),
            "late": sorted(late),
            "train": {**summary(numbers), "sites": _clean(numbers)},
            "strategy": _plain(self._rule.metrics("train", state.number, comparable(taken))),
        }


def comparable(taken: Sequence[Taken]) -> list[Taken]:
    """The answers with only those numbers that all of them have, as Flower's strategies demand.

    A site that adds or leaves out a number spoils that number's mean, and nobody's round.
    """

    def form(value: Any) -> int | None:
        return len(value) if isinstance(value, list) else None

    forms = [{(name, form(value)) for name, value in one.metrics.items()} for one in taken]
    names = {name for name, _ in set.intersection(*forms)} if forms else set()
    return [replace(one, metrics={k: v for k, v in one.metrics.items() if k in names}) for one in taken]


def summary(numbers: dict[str, dict[str, Any]]) -> Record:
    """Mean over sites, weighted by cases, of every number that all sites give; undefined values are left out."""
    names = set.intersection(*(set(one) for one in numbers.values())) - {WEIGHT_KEY} if numbers else set()
    found: Record = {}
    for name in sorted(names):
        pairs = [(one[WEIGHT_KEY], one[name]) for one in numbers.values() if _is_number(one[name])]
        total = sum(weight for weight, _ in pairs)
        mean = sum(weight * value for weight, value in pairs) / total if total else math.nan
        found[name] = mean if math.isfinite(mean) else None
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _clean(numbers: dict[str, dict[str, Any]]) -> Record:
    renamed = {WEIGHT_KEY: "examples"}
    return {site: {renamed.get(k, k): v for k, v in _plain(one).items()} for site, one in numbers.items()}


def _plain(values: dict[str, Any]) -> Record:
    return {name: value if _is_number(value) else None for name, value in values.items() if not isinstance(value, list)}


def _absent(state: Round) -> dict[str, str]:
    return {**state.missing(), **state.refused}


def _short_of_quorum(state: Round, attempts: int) -> str:
    who = "; ".join(f"{site}: {reason}" for site, reason in sorted(_absent(state).items()))
    return (
        f"round {state.number} missed its quorum {attempts} times ({', '.join(state.shortfalls())}). Absent: {who}. "
        "The last commit stands: mend the sites and go on with --resume, or lower federation.quorum in a new run"
    )
