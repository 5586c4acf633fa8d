"""A round of training and its validation, from the strategy's proposal to a new global model."""

from __future__ import annotations

from collections.abc import Sequence

from fedmed.errors import FederationError, QuorumError
from fedmed.federation.gathering import Attempt, Gathering, Made, Record, absent
from fedmed.federation.phase import Member, Phase
from fedmed.federation.round import Round
from fedmed.flower.rule import Rule
from fedmed.wire.tensors import Tensors


class RoundLoop:
    """Runs single rounds for a fixed set of sites; holds no model, no commit and no clock of its own."""

    def __init__(self, rule: Rule, members: Sequence[Member], gathering: Gathering, phase: Phase, attempts: int) -> None:
        self._nodes = [member.node for member in sorted(members, key=lambda member: member.name)]
        self._rule, self._gathering, self._phase, self._attempts = rule, gathering, phase, attempts
        self._transport, self._clock, self._journal = phase.transport, phase.clock, phase.journal
        self._moved = (self._transport.bytes_down, self._transport.bytes_up)

    @property
    def sites(self) -> int:
        """How many there are."""
        return len(self._nodes)

    def train(self, number: int, model: Tensors, order: str) -> tuple[Tensors, Record]:
        """The new global model and the round's record. Raises QuorumError once every attempt has missed the quorum."""
        for count in range(1, self._attempts + 1):
            started = self._clock.now()
            self._journal.say("round", round=number, attempt=count)
            messages = self._rule.propose("train", number, model, order, self._nodes)
            if not messages:
                raise FederationError(f"{self._rule.name} proposed no site for round {number}")
            attempt = self._gathering.train(number, messages, model)
            trained = self._clock.now()
            if attempt.make is not None:
                made = attempt.make()
                record = self._record(attempt.state, count, made)
                between = sum(attempt.phases.values())
                record["phases"] = {"train": trained - started - between, **attempt.phases}
                record["phases"]["aggregate"] = self._clock.now() - trained
                return made.model, record
            lacks = list(attempt.lacks)
            self._journal.say("short", round=number, attempt=count, lacks=lacks, missing=absent(attempt.state))
        raise QuorumError(_short_of_quorum(attempt, self._attempts))

    def validate(self, number: int, model: Tensors, order: str) -> Record | None:
        """The global model's measures over the sites' validation cases; None where nobody has any."""
        messages = self._rule.propose("evaluate", number, model, order, self._nodes)
        return self._gathering.validate(number, messages) if messages else None

    def moved(self) -> dict[str, int]:
        """Bytes of tensors sent and received since this was last asked, those of attempts in vain included."""
        before, self._moved = self._moved, (self._transport.bytes_down, self._transport.bytes_up)
        return {"down": self._moved[0] - before[0], "up": self._moved[1] - before[1]}

    def _record(self, state: Round, attempt: int, made: Made) -> Record:
        late, self._phase.late = self._phase.late, []
        under_way = made.buffer.get("under_way", {})
        record: Record = {
            "round": state.number,
            "attempt": attempt,
            "verdict": state.verdict().value,
            "cohort": sorted(state.cohort.keys() - under_way.keys()),
            "joined": sorted(state.joined),
            "missing": state.missing(),
            "refused": dict(state.refused),
            "late": sorted(late),
            "folded": dict(sorted(made.folded.items())),
            "train": made.train,
            "strategy": made.strategy,
        }
        return {**record, "buffer": made.buffer} if made.buffer else record


def _short_of_quorum(attempt: Attempt, attempts: int) -> str:
    state = attempt.state
    who = "; ".join(f"{site}: {reason}" for site, reason in sorted(absent(state).items()))
    return (
        f"round {state.number} missed its quorum {attempts} times ({', '.join(attempt.lacks)}). Absent: {who}. "
        "The last commit stands: mend the sites and go on with --resume, or lower federation.quorum in a new run"
    )
