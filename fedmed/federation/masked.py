"""What the center asks of all sites together: the census, a round of training, an evaluation. It learns sums alone."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmed.config.privacy import Privacy
from fedmed.errors import ConfigError, FederationError, ProtocolRefused
from fedmed.federation.crowded import masked_together
from fedmed.federation.epochs import Epochs
from fedmed.federation.gathering import Attempt, Made, Record, absent, finite, plain
from fedmed.federation.phase import Phase
from fedmed.federation.round import Round, Verdict
from fedmed.federation.sums import Opener, Uploads
from fedmed.flower import proposal
from fedmed.flower.keys import CENSUS, WEIGHT_KEY
from fedmed.flower.ours import Asked
from fedmed.flower.proposal import Proposal
from fedmed.flower.rule import Messages, Rule, Taken
from fedmed.learning import census, scoring, weights
from fedmed.learning.census import Census
from fedmed.learning.histograms import BINS
from fedmed.learning.order import ModelSpec
from fedmed.learning.plan import Plan
from fedmed.privacy.purposes import Purpose
from fedmed.privacy.secagg import questions
from fedmed.privacy.secagg.layout import Fixed, Layout, Sum, Tensor, Whole
from fedmed.privacy.secagg.parameters import Parameters
from fedmed.wire.digest import digest_of
from fedmed.wire.tensors import Tensors

NOT_IN = "not in this epoch of secure aggregation"


@dataclass(frozen=True)
class Question:
    """What stands in every site's answer to a masked round, and for what."""

    purpose: Purpose
    number: int
    """Round of training that it belongs to; 0 before the first."""
    fields: tuple[Whole | Fixed, ...]
    most: int
    """Largest weight of a site."""
    tensors: tuple[Tensor, ...] = ()
    bound: Callable[[Parameters, int], float] | None = None
    """Of the tensors' values, for an epoch and the size of a cohort; that of the scenario where None."""


@dataclass(frozen=True)
class Outcome:
    """How a masked round ended; no sum where too few took part, or it could not be opened."""

    state: Round
    total: Sum | None
    lacks: tuple[str, ...] = ()
    opening_s: float = 0.0


class Asking:
    """Asks masked questions, one after the other."""

    def __init__(self, epochs: Epochs, phase: Phase, opener: Opener, rules: Privacy) -> None:
        self.epochs, self._phase, self._opener, self._rules = epochs, phase, opener, rules

    def ask(self, question: Question, asked: Proposal, rounds_left: int) -> Outcome:
        """The sum over the sites that answer; `rounds_left` is how many masked rounds may still come."""
        current, rules = self.epochs.current(rounds_left), self._rules
        nodes = [node for node in asked.nodes if node in current.index]
        epoch = current.agreed.terms
        bound = rules.value_bound if question.bound is None else question.bound(epoch, len(nodes))
        layout = Layout(question.tensors, question.fields, rules.lanes, epoch.members, bound, question.most)
        header = self.epochs.header(question.purpose, nodes, digest_of(asked.text, asked.model), layout)
        try:
            uploads = Uploads(current, header, layout)
        except ProtocolRefused as error:
            raise FederationError(f"the cohort of round {question.number} is too small: {error}") from error
        left_out = dict.fromkeys(set(asked.nodes) - set(nodes), NOT_IN)
        if (crowd := self._phase.transport.masked_crowd) is not None:
            given = Asked(asked.kind, asked.order, asked.model, header.encode(), layout.canonical())
            state = masked_together(self._phase, crowd, question.number, nodes, given, uploads, left_out)
        else:
            messages = asked.masked(nodes, header.encode(), layout.canonical())
            state = self._phase.run(asked.kind, question.number, messages, uploads.take, left_out)
        if state.verdict() is Verdict.SHORT:
            return Outcome(state, None, tuple(state.shortfalls()))
        return self._opened(question, state, uploads)

    def _opened(self, question: Question, state: Round, uploads: Uploads) -> Outcome:
        clock = self._phase.clock
        began = clock.now()
        try:
            return Outcome(state, self._opener.open(uploads), (), clock.now() - began)
        except ProtocolRefused as error:
            self._phase.journal.say(
                "unopened", round=question.number, purpose=question.purpose.name.lower(), reason=str(error)
            )
            self.epochs.renew()
            return Outcome(state, None, (str(error),))

    def census(self, text: str, classes: int, width: int | None, most: int, rounds: int) -> Census:
        """Counts of classes and sums of features over all sites. Raises FederationError where any is missing."""
        question = Question(Purpose.CENSUS, 0, questions.census_fields(classes, width, most), most)
        outcome = self.ask(question, proposal.query(CENSUS, text, self._phase.members), rounds)
        if outcome.total is None or outcome.state.verdict() is not Verdict.COMPLETE:
            who = "; ".join(f"{site}: {reason}" for site, reason in sorted(absent(outcome.state).items()))
            lacks = ", ".join(outcome.lacks) or "a site is missing"
            raise FederationError(f"the classes could not be counted ({lacks}). Absent: {who or 'nobody'}")
        return census.read_census(outcome.total, classes, width)


@dataclass(frozen=True)
class Shape:
    """What the sites' sums are made of in a run."""

    spec: ModelSpec
    frozen: Collection[str]
    """Tensors that the task freezes."""
    most_training: int
    """Largest size that a site declared, of training and of validation cases."""
    most_validation: int
    bins: int
    rounds: int
    """Of the run."""
    own: Mapping[str, float] = field(default_factory=dict)
    """Bounds of the numbers of the researcher's own that training tells."""

    @classmethod
    def of(cls, plan: Plan, most_training: int, most_validation: int) -> Shape:
        """That of a plan, for sites of up to these sizes."""
        frozen, bins = weights.frozen_names(plan.spec, plan.scenario.task.frozen), plan.order(1).bins or BINS
        own = plan.scenario.training.metrics
        return cls(plan.spec, frozen, most_training, most_validation, bins, plan.scenario.rounds, own)


class Sums:
    """Sites' updates, counts and measures are seen as sums only."""

    def __init__(self, asking: Asking, rule: Rule, shape: Shape) -> None:
        self._asking, self._rule, self._shape = asking, rule, shape

    def train(self, number: int, messages: Messages, model: Tensors) -> Attempt:
        """One masked round; the strategy is given the mean as the answer of one site."""
        shape = self._shape
        tensors = trained(model, shape.frozen)
        fields = questions.update_fields(shape.most_training, shape.own)
        question = Question(Purpose.UPDATE, number, fields, shape.most_training, tensors)
        outcome = self._asking.ask(question, proposal.common(self._rule.name, messages), self._left(number))
        total = outcome.total
        if total is None:
            return Attempt(outcome.state, None, outcome.lacks)
        node = messages[0].metadata.dst_node_id
        return Attempt(outcome.state, lambda: self._made(number, node, model, total), (), {"open": outcome.opening_s})

    def _made(self, number: int, node: int, model: Tensors, total: Sum) -> Made:
        told = scoring.read_update(total, self._shape.own)
        weight = told.pop(questions.WEIGHT)
        known = {name: value for name, value in told.items() if value is not None}
        taken = [Taken(node, {WEIGHT_KEY: weight, **known})]
        mean = moved(model, total.mean(weight))
        made = finite(self._rule, number, self._rule.aggregate(number, taken, mean, model))
        strategy = plain(self._rule.metrics("train", number, taken))
        return Made(made, {**told, "cases": weight, "sites": {}}, strategy)

    def validate(self, number: int, messages: Messages) -> Record | None:
        """One masked round of evaluation."""
        shape = self._shape
        fields = scoring.score_fields(shape.spec, shape.most_validation, shape.bins)
        question = Question(Purpose.EVALUATION, number, fields, shape.most_validation)
        outcome = self._asking.ask(question, proposal.common(self._rule.name, messages), self._left(number))
        if outcome.total is None:
            return {"sites": {}, "missing": absent(outcome.state), "lacks": list(outcome.lacks)}
        told = scoring.read_score(outcome.total, shape.spec, shape.bins)
        if not told["cases"]:
            return None
        node = messages[0].metadata.dst_node_id
        known = {name: value for name, value in told.items() if value is not None}
        self._rule.metrics("evaluate", number, [Taken(node, {WEIGHT_KEY: told["cases"], **known})])
        return {**told, "sites": {}, "missing": absent(outcome.state)}

    def _left(self, number: int) -> int:
        return 2 * (self._shape.rounds - number + 1)


def refuse_for_sums(rule: Rule) -> None:
    """Raise ConfigError for a strategy that needs more than the mean."""
    if not rule.streams:
        raise ConfigError(
            f"strategy.name: {rule.name} needs every site's own update, which secure aggregation keeps from the center; "
            "take a strategy that works on the mean (fedavg, fedavgm, fedadam, fedyogi, fedadagrad, or one of your own "
            "with the attribute `needs_only_the_mean = True`), or write privacy.secure_aggregation: off"
        )


def trained(model: Tensors, frozen: Collection[str]) -> tuple[Tensor, ...]:
    """What a site sends the change of: floating point tensors that the task does not freeze; counters stay as they are."""
    return tuple(
        Tensor(name, value.shape) for name, value in model.items() if value.dtype.kind == "f" and name not in frozen
    )


def moved(model: Tensors, changes: Mapping[str, NDArray[np.float32]]) -> Tensors:
    """The model with the mean change added, in the memory of `changes` where types allow; what was not sent is as it was."""
    return {
        name: _sum(value, changes[name]) if name in changes else np.array(value)  # it may borrow what is written over
        for name, value in model.items()
    }


def _sum(value: NDArray[Any], change: NDArray[np.float32]) -> NDArray[Any]:
    """In float32 at least, and of the type that `value` has."""
    total: NDArray[Any] = np.add(value, change, out=change if value.dtype == change.dtype else None)
    return total.astype(value.dtype, copy=False)
