"""What the hub knows of its nodes and tasks: every task is in exactly one of `waiting`, `running`, `parked` and `ended`."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from dataclasses import dataclass, field, replace
from functools import cached_property

from fedmed.placement.nodes import Standing, Tier
from fedmed.placement.rules import Rules
from fedmed.placement.tasks import Amount, Kind, Rung, Task

Key = tuple[int, float, float, float, str]
"""Place in the queue, the first first; ends with the task's name."""


@dataclass(frozen=True)
class Held:
    """A task and what it has been through."""

    task: Task
    since: float
    """When it came."""
    attempt: int = 0
    """The newest that was given out; a result of an older one is never taken."""
    progress: str = ""
    """Name of what it had done when it was last heard of; empty for nothing."""
    failures: int = 0
    """In a row without progress."""
    first_rung: int = 0
    """Ways to run it that were found to need too much memory."""
    avoid: frozenset[str] = frozenset()
    """Nodes where it failed: chosen after all others."""
    is_late: bool = False
    """Whether its deadline has passed and that was told."""

    @cached_property
    def shape(self) -> str:
        """Tasks of one shape fit on the same nodes."""
        return f"{self.first_rung}{self.task.shape}"

    @cached_property
    def rungs(self) -> tuple[Rung, ...]:
        """The ways to run it that are left, best first."""
        return tuple(self.task.needs.rungs())[self.first_rung :]

    def key(self, ageing_s: float) -> Key:
        """Real-time first, then by priority and age: age grows alike for all, so that the order among two never changes."""
        task = self.task
        deadline = math.inf if task.deadline is None else task.deadline
        return (0 if task.is_real_time else 1, self.since / ageing_s - task.priority, deadline, self.since, task.name)


@dataclass(frozen=True)
class Grant:
    """A task that runs, or is about to."""

    held: Held
    nodes: tuple[str, ...]
    engines: tuple[str, ...]
    """Accelerator on each node."""
    charges: tuple[Amount, ...]
    """What it takes of each node."""
    rung: Rung
    started: float
    rank: float
    """Its priority with its age when it started: who comes later needs more to push it aside."""
    why: str
    done: frozenset[str] = frozenset()
    """Nodes that have finished; their results count once all have."""


@dataclass(frozen=True)
class Waiting:
    """A task that no node runs."""

    held: Held
    why: str = ""
    last: Grant | None = None
    """Where its newest attempt ran: a result from there still counts, until another attempt is given out."""
    is_told: bool = False
    """Whether that attempt was told to end; where it was not, its node may come back and go on with it."""
    not_before: float = -math.inf
    """Until then it may still be writing its progress."""


@dataclass(frozen=True)
class Parked:
    """A task that waits for a person."""

    held: Held
    why: str


@dataclass(frozen=True)
class State:
    """Made anew by every step; whoever has one never changes it."""

    rules: Rules = field(default_factory=Rules)
    now: float = -math.inf
    nodes: dict[str, Standing] = field(default_factory=dict)
    members: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Names of the nodes of each clinic; the empty name is the center. A task's candidates are looked up here alone."""
    totals: dict[Tier, Amount] = field(default_factory=dict)
    """What all enrolled nodes of a tier have."""
    use: dict[tuple[Tier, Kind], Amount] = field(default_factory=dict)
    """What running tasks of a class hold of a tier."""
    on: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Names of the tasks on each node."""
    waiting: dict[str, Waiting] = field(default_factory=dict)
    queues: dict[str, tuple[Key, ...]] = field(default_factory=dict)
    """Those of `waiting` that may be started now, in order, by shape."""
    running: dict[str, Grant] = field(default_factory=dict)
    parked: dict[str, Parked] = field(default_factory=dict)
    ended: dict[str, int] = field(default_factory=dict)
    """Last attempt of tasks that are over, the oldest first."""
    keeps: dict[str | tuple[Tier, Kind], str] = field(default_factory=dict)
    """Nodes, and quotas, that are kept free, and for which task."""

    def copied(self) -> State:
        """One whose parts a step may change."""
        return replace(
            self,
            nodes=dict(self.nodes),
            members=dict(self.members),
            totals=dict(self.totals),
            use=dict(self.use),
            on=dict(self.on),
            waiting=dict(self.waiting),
            queues=dict(self.queues),
            running=dict(self.running),
            parked=dict(self.parked),
            ended=dict(self.ended),
            keeps=dict(self.keeps),
        )

    def knows(self, name: str) -> bool:
        """Whether there is, or was lately, a task of this name."""
        return name in self.waiting or name in self.running or name in self.parked or name in self.ended

    def is_kept_from(self, what: str | tuple[Tier, Kind], held: Held) -> str:
        """For which task a node or a quota is kept free of this one; empty where it is not. One shape waits in one line."""
        keeper = self.keeps.get(what, "")
        if not keeper or held.task.is_real_time or self.waiting[keeper].held.shape == held.shape:
            return ""
        return keeper

    def quota(self, tier: Tier, kind: Kind) -> Amount | None:
        """What `kind` may hold of `tier`; None for all."""
        share = self.rules.quotas.get((tier, kind))
        if share is None:
            return None
        total = self.totals.get(tier, Amount())
        return Amount(*(int(share * part) for part in (total.cores_milli, total.memory, total.gpu, total.disk)))


def queued(keys: tuple[Key, ...], key: Key) -> tuple[Key, ...]:
    """`keys` with one more at its place."""
    listed = list(keys)
    insort(listed, key)
    return tuple(listed)


def unqueued(keys: tuple[Key, ...], key: Key) -> tuple[Key, ...]:
    """`keys` without one, where it is among them."""
    at = bisect_left(keys, key)
    return keys[:at] + keys[at + 1 :] if at < len(keys) and keys[at] == key else keys
