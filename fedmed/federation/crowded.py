"""How the center gathers what a crowd answers: one mean of all, and each site's numbers, without a message a site."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from fedmed.errors import ConfigError
from fedmed.federation.gathering import Attempt, Made, Record, finite, plain, summary
from fedmed.federation.phase import Phase
from fedmed.federation.round import Answered, Event, Failed, Refused, Round, Ticked, Verdict, step
from fedmed.federation.sums import Uploads
from fedmed.flower import proposal
from fedmed.flower.keys import WEIGHT_KEY
from fedmed.flower.ours import Asked, Crowding, Masked, MaskedCrowding, Summed
from fedmed.flower.rule import Messages, Rule, Taken
from fedmed.flower.transport import size_of
from fedmed.wire.tensors import Tensors

Told = Mapping[int, Mapping[str, Any]]
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
        state = _closed(self._phase, "train", number, asked.nodes, found)
        if state.verdict() is Verdict.SHORT or found.mean is None:
            return Attempt(state, None, state.shortfalls())
        mean = found.mean
        return Attempt(state, lambda: self._made(number, asked.nodes[0], model, mean, found.told))

    def _made(self, number: int, node: int, model: Tensors, mean: Tensors, told: Told) -> Made:
        found, taken = _together(node, told)
        made = finite(self._rule, number, self._rule.aggregate(number, taken, mean, model))
        return Made(made, {**found, "sites": {}}, plain(self._rule.metrics("train", number, taken)))

    def validate(self, number: int, messages: Messages) -> Record | None:
        """The mean of the sites' measures by cases."""
        asked = proposal.common(self._rule.name, messages, INSTEAD)
        told = self._crowd.validate_all(asked.nodes, asked.model, asked.order)
        self._phase.transport.bytes_down += size_of(asked.content) * len(asked.nodes)
        if not told:
            return None
        found, taken = _together(asked.nodes[0], told)
        self._rule.metrics("evaluate", number, taken)
        return {**found, "sites": {}, "missing": {}}


def _together(node: int, told: Told) -> tuple[Record, list[Taken]]:
    """The means of the sites' numbers, also as the answer of one site, which the strategy is given."""
    found = summary({str(each): dict(numbers) for each, numbers in sorted(told.items())})
    known = {name: value for name, value in found.items() if value is not None}
    return found, [Taken(node, {WEIGHT_KEY: sum(each[WEIGHT_KEY] for each in told.values()), **known})]


def masked_together(
    phase: Phase,
    crowd: MaskedCrowding,
    number: int,
    nodes: Sequence[int],
    asked: Asked,
    uploads: Uploads,
    left_out: Mapping[int, str],
) -> Round:
    """A masked question to a crowd, whose parts go into `uploads`. Raises ProtocolRefused for one that does not hold."""
    found = crowd.masked_all(nodes, asked)
    for part in found.parts:
        uploads.take_part(part)
    size = sum(each.nbytes for each in asked.model.values())
    phase.transport.bytes_down += size * len(nodes)
    phase.transport.bytes_up += uploads.total.nbytes * len(found.told)
    told = replace(found, failed={**found.failed, **left_out})
    return _closed(phase, asked.kind, number, [*nodes, *left_out], told)


def _closed(phase: Phase, kind: str, number: int, nodes: Sequence[int], found: Summed | Masked) -> Round:
    """The round, closed: each site's event as if its answer had come, in the order in which they were asked."""
    members = [phase.members[node] for node in nodes]
    state = Round(number, {each.name: float(each.examples) for each in members}, phase.clock.now(), phase.quorum)
    for each in members:
        state, _ = step(state, event := _event(each.name, each.node, found))
        if isinstance(event, Failed | Refused):
            what = "failed" if isinstance(event, Failed) else "refused"
            phase.journal.say(what, round=number, kind=kind, site=each.name, reason=event.reason)
    phase.journal.say("crowd", round=number, kind=kind, sites=len(nodes), answered=len(state.joined))
    return step(state, Ticked(state.deadline))[0]


def _event(name: str, node: int, found: Summed | Masked) -> Event:
    if node in found.refused:
        return Refused(name, found.refused[node])
    return Answered(name) if node in found.told else Failed(name, found.failed[node])
