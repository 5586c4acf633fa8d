"""What the hub tells the placement, and what the placement has done: events in, instructions out.

Every event carries its time `at`, in seconds on one scale that never goes back. Instructions to one node are carried out in
order: what is told to give way or to stop has ended, or was ended after its time, before a later start takes its room.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from fedmed.errors import ConfigError
from fedmed.placement.nodes import Live, Node
from fedmed.placement.tasks import Rung, Task, whole

MOST_CLAIMS, MOST_WORDS, MOST_ATTEMPTS = 1000, 400, 1 << 40


@dataclass(frozen=True)
class Claim:
    """A task that a node says it runs, and what it has done of it."""

    task: str
    attempt: int
    progress: str = ""


@dataclass(frozen=True)
class Joined:
    """A node was enrolled, or is not what it was any more."""

    node: Node
    at: float


@dataclass(frozen=True)
class Left:
    """A node was taken off the list."""

    node: str
    at: float


@dataclass(frozen=True)
class Heard:
    """A heartbeat."""

    node: str
    at: float
    live: Live = field(default_factory=Live)
    running: tuple[Claim, ...] = ()

    def __post_init__(self) -> None:
        if len(self.running) > MOST_CLAIMS:
            raise ConfigError(f"node {self.node[:40]} says it runs {len(self.running)} tasks; allowed are {MOST_CLAIMS}")


@dataclass(frozen=True)
class Isolated:
    """A node must take no tasks; those that it has move."""

    node: str
    why: str
    at: float


@dataclass(frozen=True)
class Restored:
    """A node may take tasks again."""

    node: str
    at: float


@dataclass(frozen=True)
class Submitted:
    """A task is to be run."""

    task: Task
    at: float
    attempt: int = 0
    """The newest that was given out before, as a journal knows it: no result of that one, or of an older, is taken."""

    def __post_init__(self) -> None:
        whole(f"task {self.task.name}: attempt", self.attempt, 0, MOST_ATTEMPTS)


@dataclass(frozen=True)
class Withdrawn:
    """A task is no longer wanted."""

    task: str
    at: float


@dataclass(frozen=True)
class Retried:
    """A person says that a parked task is to be tried again."""

    task: str
    at: float


@dataclass(frozen=True)
class Finished:
    """A node has a result."""

    task: str
    attempt: int
    node: str
    at: float


@dataclass(frozen=True)
class Failed:
    """A node could not finish a task."""

    task: str
    attempt: int
    node: str
    why: str
    at: float
    lacked_memory: bool = False


@dataclass(frozen=True)
class Yielded:
    """A task gave way; `progress` names what it has done."""

    task: str
    attempt: int
    node: str
    progress: str
    at: float


@dataclass(frozen=True)
class Ticked:
    """Time has passed; told at least every ten seconds."""

    at: float


Event = Joined | Left | Heard | Isolated | Restored | Submitted | Withdrawn | Retried | Finished | Failed | Yielded | Ticked


@dataclass(frozen=True)
class Start:
    """To a node: run this, from `progress` on."""

    node: str
    task: Task
    attempt: int
    rung: Rung
    engine: str
    nodes: tuple[str, ...]
    """All that run it together, this one among them."""
    progress: str


@dataclass(frozen=True)
class Yield:
    """To a node: put down the progress and end, within `grace_s`."""

    node: str
    task: str
    attempt: int
    grace_s: float


@dataclass(frozen=True)
class Stop:
    """To a node: end it, its result will not be taken."""

    node: str
    task: str
    attempt: int
    why: str


@dataclass(frozen=True)
class Take:
    """To the hub: this result counts. Results of nodes that run a task together count once all are there."""

    node: str
    task: str
    attempt: int


@dataclass(frozen=True)
class Drop:
    """To the hub: this result, or this event, does not count."""

    node: str
    task: str
    attempt: int
    why: str


@dataclass(frozen=True)
class Tell:
    """To a person."""

    about: str
    words: str


Instruction = Start | Yield | Stop | Take | Drop | Tell
