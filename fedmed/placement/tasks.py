"""What is to be run: its class, what it needs, how urgent it is, and whose patients it reads."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property

from fedmed.errors import ConfigError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
"""Of tasks, nodes, clinics and data."""
MOST_PRIORITY, MOST_BATCH, MOST_MEMBERS, MOST_BYTES, MOST_CORES = 9, 65536, 64, 1 << 50, 1_000_000
CPU = "cpu"
"""The accelerator that every node has."""


class Kind(Enum):
    """Class of a task."""

    REAL_TIME = "real-time"
    COMPUTE = "compute"
    STORAGE = "storage"
    BATCH = "batch"


class Precision(Enum):
    """Of a network's numbers."""

    FP32 = "fp32"
    FP16 = "fp16"
    INT8 = "int8"


BYTES = {Precision.FP32: 4, Precision.FP16: 2, Precision.INT8: 1}
"""Of one number."""


@dataclass(frozen=True)
class Amount:
    """What a task takes, or a node has: thousandths of a core, and bytes."""

    cores_milli: int = 0
    memory: int = 0
    gpu: int = 0
    disk: int = 0

    def check(self, what: str) -> None:
        """Raises ConfigError where a part is no amount. Tasks and nodes are checked once; sums of theirs need no check."""
        for name, most in (("cores_milli", MOST_CORES), ("memory", MOST_BYTES), ("gpu", MOST_BYTES), ("disk", MOST_BYTES)):
            whole(f"{what}: {name}", getattr(self, name), 0, most)

    def plus(self, other: Amount, times: int = 1) -> Amount:
        """The sum; `times` -1 for the difference, which is never below 0."""
        cores, memory = self.cores_milli + times * other.cores_milli, self.memory + times * other.memory
        gpu, disk = self.gpu + times * other.gpu, self.disk + times * other.disk
        if times < 0:
            cores, memory, gpu, disk = max(0, cores), max(0, memory), max(0, gpu), max(0, disk)
        return Amount(cores, memory, gpu, disk)

    def share(self, of: Amount) -> float:
        """The largest share of `of` that this is; 0 where `of` has none of what this does not take."""
        pairs = ((self.cores_milli, of.cores_milli), (self.memory, of.memory), (self.gpu, of.gpu), (self.disk, of.disk))
        return max((took / has if has else math.inf for took, has in pairs if took), default=0.0)

    def over(self, limit: Amount) -> str:
        """Which of the four is over `limit`, in words; empty where none is."""
        if self.cores_milli > limit.cores_milli:
            return f"{self.cores_milli / 1000:g} cores of {limit.cores_milli / 1000:g}"
        for name in ("memory", "gpu", "disk"):
            if getattr(self, name) > getattr(limit, name):
                return f"{getattr(self, name) / 1e9:.1f} GB {name} of {getattr(limit, name) / 1e9:.1f}"
        return ""


NOTHING = Amount()


@dataclass(frozen=True)
class Rung:
    """One way to run a task: `batch` items at a time, `accumulate` times to one step, with numbers of `precision`."""

    precision: Precision = Precision.FP32
    batch: int = 1
    accumulate: int = 1


@dataclass(frozen=True)
class Needs:
    """What a task needs where it runs."""

    amount: Amount = field(default_factory=Amount)
    """Beside the network."""
    accelerators: tuple[str, ...] = (CPU,)
    """Those that will do, best first: "cuda", "cpu"."""
    ladder: tuple[Precision, ...] = (Precision.FP32,)
    """Precisions that its accuracy gate allows, best first."""
    batch: int = 1
    """Items of one step."""
    can_split: bool = False
    """Whether a step may be made of smaller batches whose gradients are summed: the same step, slower."""
    fixed_bytes: int = 0
    """The network in FP32: on the card, or in memory without one."""
    item_bytes: int = 0
    """One item of a batch in FP32, there too."""
    data: frozenset[str] = frozenset()
    """Data that the node must hold."""
    near: frozenset[str] = frozenset()
    """Data that it should rather hold."""

    def __post_init__(self) -> None:
        self.amount.check("needs: amount")
        whole("needs: batch", self.batch, 1, MOST_BATCH)
        whole("needs: fixed_bytes", self.fixed_bytes, 0, MOST_BYTES)
        whole("needs: item_bytes", self.item_bytes, 0, MOST_BYTES // MOST_BATCH)
        if not self.ladder or len(set(self.ladder)) != len(self.ladder):
            raise ConfigError(
                "needs: ladder is empty or names a precision twice; name each that is allowed once, best first"
            )
        if not self.accelerators:
            raise ConfigError('needs: accelerators is empty; allowed are "cuda", "cpu" and others that nodes name')
        for name in (*self.accelerators, *self.data, *self.near):
            named("needs", name)

    def rungs(self) -> Iterator[Rung]:
        """The ways to run it, best first: smaller batches cost time alone, so they come before a lower precision."""
        for precision in self.ladder:
            batch = self.batch
            while True:
                yield Rung(precision, batch, self.batch // batch)
                if not self.can_split or batch % 2:
                    break
                batch //= 2

    def network_bytes(self, rung: Rung) -> int:
        """Bytes of the network and one batch on `rung`."""
        return (self.fixed_bytes + self.item_bytes * rung.batch) * BYTES[rung.precision] // BYTES[Precision.FP32]


@dataclass(frozen=True)
class Task:
    """Something to be run once. Raises ConfigError for what no task may be."""

    name: str
    kind: Kind
    clinic: str
    """Whose it is; empty for the center's own."""
    needs: Needs = field(default_factory=Needs)
    reads_patients: bool = True
    """Whether it reads patients' data: then no node outside its clinic ever runs it."""
    priority: int = 4
    """0 to 9, 9 the most urgent; real-time tasks come before all others whatever their priority."""
    deadline: float | None = None
    """When its result is no longer in time, on the scale of the events' times."""
    members: int = 1
    """Nodes that run it together, all or none."""
    not_on: frozenset[str] = frozenset()
    """Nodes that never run it, such as the one that asks for it."""

    def __post_init__(self) -> None:
        named("task", self.name)
        if self.clinic:
            named(f"task {self.name}: clinic", self.clinic)
        elif self.reads_patients:
            raise ConfigError(f"task {self.name} reads patients' data and names no clinic; name the clinic, or none is read")
        whole(f"task {self.name}: priority", self.priority, 0, MOST_PRIORITY)
        whole(f"task {self.name}: members", self.members, 1, MOST_MEMBERS)
        for name in self.not_on:
            named(f"task {self.name}: not_on", name)
        if self.deadline is not None and not math.isfinite(self.deadline):
            raise ConfigError(f"task {self.name}: deadline is {self.deadline}; allowed is a time, or none")

    @property
    def is_real_time(self) -> bool:
        """Whether somebody waits at the scanner for it."""
        return self.kind is Kind.REAL_TIME

    def homes(self) -> tuple[str, ...]:
        """Clinics whose nodes may run it, its own first; the empty name is the center."""
        return (self.clinic,) if self.reads_patients or not self.clinic else (self.clinic, "")

    @cached_property
    def shape(self) -> str:
        """The same for tasks that the same nodes can run; made once, as every look into a queue asks for it."""
        needs = self.needs
        parts = (self.kind, self.clinic, self.reads_patients, self.priority, self.members, needs.amount, needs.accelerators)
        more = (needs.ladder, needs.batch, needs.can_split, needs.fixed_bytes, needs.item_bytes)
        return repr((*parts, *more, sorted(needs.data), sorted(needs.near), sorted(self.not_on)))


def named(what: str, name: str) -> None:
    """Raises ConfigError where `name` is no name."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ConfigError(f"{what}: the name is {str(name)[:40]!r}; allowed are 1 to 128 letters, digits, and . _ : -")


def whole(what: str, number: int, least: int, most: int) -> None:
    """Raises ConfigError where `number` is no whole number from `least` to `most`."""
    if isinstance(number, bool) or not isinstance(number, int) or not least <= number <= most:
        raise ConfigError(f"{what} is {str(number)[:40]}; allowed are whole numbers from {least} to {most}")
