"""Rounds under differential privacy: sums of tensors with their noise, and nothing else."""

from __future__ import annotations

from dataclasses import replace

from fedmed.federation.gathering import Attempt, Made, Record, finite
from fedmed.federation.masked import Asking, Question, moved, trained
from fedmed.flower import proposal
from fedmed.flower.keys import WEIGHT_KEY
from fedmed.flower.rule import Messages, Rule, Taken
from fedmed.learning.plan import Plan
from fedmed.learning.private_training import work_of
from fedmed.privacy.dp.mechanisms import CLINIC
from fedmed.privacy.dp.terms import Cohort, Terms, terms
from fedmed.privacy.purposes import Purpose
from fedmed.privacy.secagg.layout import Sum
from fedmed.privacy.secagg.parameters import Parameters
from fedmed.wire.tensors import Tensors


def privately(plan: Plan, sites: int, patients: float, most_patients: float) -> tuple[Plan, Terms]:
    """The plan with what differential privacy asks of every site, and the terms of the run.

    `patients`: of a site on average and of the largest one, as declared. Raises ConfigError where no noise is enough.
    """
    private, scenario = plan.scenario.privacy.differential_privacy, plan.scenario
    assert private is not None
    size = sum(tensor.size for tensor in trained(plan.first_weights(), plan.held))
    found = terms(private, scenario.training, scenario.rounds, size, Cohort(sites, 1, patients, most_patients))
    return replace(plan, private=work_of(found)), found


class PrivateSums:
    """Every sum carries noise; the strategy is given its mean, and no validation is held."""

    def __init__(self, asking: Asking, rule: Rule, plan: Plan, terms: Terms) -> None:
        self._asking, self._rule, self._plan, self._terms = asking, rule, plan, terms
        self._held = plan.held

    def train(self, number: int, messages: Messages, model: Tensors) -> Attempt:
        """One masked round; every site weighs alike, for its own size would be opened."""
        question = Question(Purpose.UPDATE, number, (), 1, trained(model, self._held), self._bound)
        asked = proposal.common(self._rule.name, messages)
        outcome = self._asking.ask(question, asked, self._plan.scenario.rounds - number + 1)
        total = outcome.total
        if total is None:
            return Attempt(outcome.state, None, outcome.lacks)
        return Attempt(
            outcome.state, lambda: self._made(number, asked.nodes[0], model, total), (), {"open": outcome.opening_s}
        )

    def _bound(self, epoch: Parameters, cohort: int) -> float:
        rules, scenario = self._plan.scenario.privacy, self._plan.scenario
        if not self._terms.has_shares:
            return rules.value_bound
        before = self._terms.cohort
        facts = Cohort.of(epoch, cohort, before.patients, before.most_patients)
        return replace(self._terms, cohort=facts).bound(rules.lanes, scenario.training.learning_rate)

    def _made(self, number: int, node: int, model: Tensors, total: Sum) -> Made:
        taken = [Taken(node, {WEIGHT_KEY: total.clients})]
        mean = moved(model, total.mean(total.clients))
        made = finite(self._rule, number, self._rule.aggregate(number, taken, mean, model))
        return Made(made, {"sites": {}, "privacy": spent(self._terms, number)}, {})

    def validate(self, number: int, messages: Messages) -> Record | None:
        """Nothing: what it would open has no noise."""
        return None


def spent(found: Terms, rounds: int) -> Record:
    """What so many rounds cost each unit, attempts in vain not counted."""
    unit = CLINIC if found.mode == CLINIC else "patient"
    cost = replace(found, rounds=rounds).cost(unit)
    return {"epsilon": cost, "delta": found.delta, "unit": unit, "noise": found.noise_multiplier}
