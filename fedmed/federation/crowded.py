"""How the center gathers what a crowd answers: one mean of all, and each site's numbers, without a message a site."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fedmed.errors import ConfigError
from fedmed.federation.gathering import Attempt, Made, Record, comparable, finite, plain, summary
from fedmed.federation.phase import Phase
from fedmed.federation.round import Answered, Event, Failed, Refused, Round, Ticked, Verdict, step
from fedmed.flower import proposal
from fedmed.flower.keys import WEIGHT_KEY
from fedmed.flower.ours import Crowding, Summed
from fedmed.flower.rule import Messages, Rule, Taken
from fedmed.flower.transport import size_of
from fedmed.wire.tensors import Tensors

INSTEAD = "engine.name: inprocess"


class Crowded:
    """Every site's numbers are seen, and the mean of the updates; who is in it follows the rules of any round."""

    def __init__(self, phase: Phase, rule: Rule, crowd: Crowding) -> None:
        """Raises ConfigError for a strategy that needs more than the mean."""
        if not rule.streams:
            raise ConfigError(
                f"strategy.name: {rule.name} needs every site's own update, and a crowd hands over their mean; take a "
                f"strategy that works on the mean, or write {INSTEAD}"
            )
        self._phase, self._rule, self._crowd = phase, rule, crowd

    def train(self, number: int, messages: Messages, model: Tensors) -> Attempt:
        """All sites of the cohort, by one call; none is waited for."""
        asked = proposal.common(self._rule.name, messages, INSTEAD)
        found = self._crowd.train_all(asked.nodes, asked.model, asked.order)
        size = size_of(asked.content)
        self._phase.transport.bytes_down += size * len(asked.nodes)
        self._phase.transport.bytes_up += size * len(found.told)
        state = self._state("train", number, asked.nodes, found)
        if state.verdict() is Verdict.SHORT or found.mean is None:
            return Attempt(state, None, state.shortfalls())
        mean = found.mean
        return Attempt(state, lambda: self._made(number, model, mean, found.told))

    def _state(self, kind: str, number: int, nodes: Sequence[int], found: Summed) -> Round:
        """The round, closed: each site's event as if its answer had come, in the order in which they were asked."""
        phase = self._phase
        members = [phase.members[node] for node in nodes]
        state = Round(number, {each.name: float(each.examples) for each in members}, phase.clock.now(), phase.quorum)
        for each in members:
            state, _ = step(state, event := _event(each.name, each.node, found))
            if not isinstance(event, Answered):
                what = "failed" if isinstance(event, Failed) else "refused"
                phase.journal.say(what, round=number, kind=kind, site=each.name, reason=event.reason)
        phase.journal.say("crowd", round=number, kind=kind, sites=len(nodes), answered=len(state.joined))
        return step(state, Ticked(state.deadline))[0]

    def _made(self, number: int, model: Tensors, mean: Tensors, told: Mapping[int, Mapping[str, Any]]) -> Made:
        taken = [Taken(node, dict(told[node])) for node in sorted(told)]
        made = finite(self._rule, number, self._rule.aggregate(number, comparable(taken), mean, model))
        strategy = plain(self._rule.metrics("train", number, comparable(taken)))
        return Made(made, {**summary(_numbers(taken)), "sites": {}}, strategy)

    def validate(self, number: int, messages: Messages) -> Record | None:
        """The mean of the sites' measures by cases."""
        asked = proposal.common(self._rule.name, messages, INSTEAD)
        told = self._crowd.validate_all(asked.nodes, asked.model, asked.order)
        self._phase.transport.bytes_down += size_of(asked.content) * len(asked.nodes)
        if not told:
            return None
        taken = [Taken(node, dict(told[node])) for node in sorted(told)]
        self._rule.metrics("evaluate", number, comparable(taken))
        return {**summary(_numbers(taken)), "sites": {}, "missing": {}}


def _event(name: str, node: int, found: Summed) -> Event:
    if node in found.refused:
        return Refused(name, found.refused[node])
    return Answered(name) if node in found.told else Failed(name, found.failed[node])


def _numbers(taken: Sequence[Taken]) -> dict[str, dict[str, Any]]:
    return {str(one.node): one.metrics for one in taken}
