"""One kind of member in a round: its step, its training, its messages, and which of them binds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from fedmed.config.scenario import Scenario, Training
from fedmed.config.topology import Line, Members
from fedmed.twin.planning import lines
from fedmed.twin.planning.cost import Cost
from fedmed.twin.planning.energy import joules
from fedmed.twin.planning.steps import Misfit, Step, choose, misfit
from fedmed.twin.planning.storage import Room, site
from fedmed.twin.profiles import Profile, built_in

LARGE = 1.645
"""Standard deviations below which 95 of 100 members lie."""


@dataclass(frozen=True)
class Messages:
    """Bytes of a round for one member."""

    model: float
    """Down: float32."""
    update: float
    """Up: float32, or masked lanes."""

    @classmethod
    def of(cls, scenario: Scenario, cost: Cost) -> Messages:
        """The global model, and what is trained of it."""
        bits = scenario.privacy.lanes if scenario.privacy.is_masked else 32
        return cls(lines.sent(cost.parameters, 32), lines.sent(cost.trained, bits))


@dataclass(frozen=True)
class Member:
    """Many of one kind; times of one of them in one round, in seconds."""

    who: str
    tier: str
    count: int
    profile: Profile
    line_name: str
    line: Line
    cases: float
    """Of the one in the middle; 0 where its devices alone have some."""
    step: Step | None
    """None where nothing is trained, or where the model does not fit."""
    misfit: Misfit | None
    steps: int
    train_s: float
    slow_s: float
    """Of the largest in 20, where members get slower in a round that is it."""
    down_s: float
    up_s: float
    room: Room
    parts: Mapping[str, float]
    """Seconds of what goes on side by side in a step; empty where it was measured."""

    @property
    def transfer_s(self) -> float:
        """Down and up."""
        return self.down_s + self.up_s

    @property
    def busy_s(self) -> float:
        """All that it does in a round."""
        return self.transfer_s + self.train_s

    def binds(self) -> str:
        """What its round waits for: memory where the model does not fit, else the larger of its line and its training, and
        in this what takes longest."""
        if self.misfit is not None:
            return "memory"
        if self.busy_s <= 0:
            return "nothing"
        if self.transfer_s > self.train_s:
            return "line"
        return max(self.parts, key=lambda part: self.parts[part]) if self.parts else "training"

    def joules(self, round_s: float, asked: float = 1.0) -> float:
        """Of all of the kind, in a round of so many seconds that a share of them is asked in."""
        return self.count * joules(self.profile, asked * self.train_s, round_s)


@dataclass(frozen=True)
class Place:
    """Where one kind is, and how many there are."""

    who: str
    tier: str
    count: int


def member(
    place: Place, group: Members, line: Line, profile: Profile, scenario: Scenario, cost: Cost, voxels: float
) -> Member:
    """Reckon one kind, whose cases have so many `voxels`."""
    trains = getattr(group, "trains", True)
    cases = group.cases.median if trains else 0.0
    training = _training(scenario, cases)
    for_each = _is_for_each(scenario)
    step = choose(cost, training, profile, for_each) if trains else None
    lacks = misfit(cost, training, profile, built_in().values(), for_each) if trains and step is None else None
    one = step.seconds(cost, profile) if step is not None else 0.0
    large = cases * math.exp(LARGE * group.cases.spread)
    slower = group.slower.times if group.slower.share > 0 else 1.0
    steps = steps_of(scenario, cases) if trains else 0
    messages = Messages.of(scenario, cost)
    return Member(
        who=place.who,
        tier=place.tier,
        count=place.count,
        profile=profile,
        line_name=group.line,
        line=line,
        cases=cases,
        step=step,
        misfit=lacks,
        steps=steps,
        train_s=steps * one,
        slow_s=slower * one * (steps_of(scenario, large) if trains else 0),
        down_s=lines.down_s(messages.model, line),
        up_s=lines.up_s(messages.update, line),
        parts=step.parts_of(cost, profile) if step is not None and profile.step is None else {},
        room=site(cases, voxels, cost.parameters),
    )


def steps_of(scenario: Scenario, cases: float) -> int:
    """Optimiser steps of a round: as stated, or passes over batches, the last of which may be smaller."""
    training = scenario.training
    if training.steps is not None:
        return training.steps
    patches = scenario.task.patches
    examples = cases * (patches.per_case if patches is not None else 1)
    return math.ceil(examples / _training(scenario, cases).batch_size) * (training.epochs or 1)


def _training(scenario: Scenario, cases: float) -> Training:
    """Under differential privacy of records a step is over those that a coin of their own chose, on average rate x cases."""
    private = scenario.privacy.differential_privacy
    if private is None or private.rate is None:
        return scenario.training
    return scenario.training.model_copy(update={"batch_size": max(1, round(private.rate * cases))})


def _is_for_each(scenario: Scenario) -> bool:
    private = scenario.privacy.differential_privacy
    return private is not None and private.rate is not None
