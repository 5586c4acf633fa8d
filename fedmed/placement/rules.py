"""By which rules tasks are placed: times, quotas, and which tier suits which class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fedmed.errors import ConfigError
from fedmed.placement.nodes import Tier
from fedmed.placement.tasks import Kind

ROUTES: Mapping[Kind, tuple[Tier, ...]] = {
    Kind.REAL_TIME: (Tier.DEVICE, Tier.CLINIC, Tier.CENTER),
    Kind.COMPUTE: (Tier.CLINIC, Tier.CENTER, Tier.DEVICE),
    Kind.STORAGE: (Tier.CLINIC, Tier.CENTER),
    Kind.BATCH: (Tier.CENTER, Tier.CLINIC, Tier.DEVICE),
}
"""Tiers that may run a class, the best first: what somebody waits for stays near, what nobody waits for goes far."""
DEADLINE_S = 180.0
"""Within which the work of a node that died goes on elsewhere."""


@dataclass(frozen=True)
class Rules:
    """Times are in seconds. Raises ConfigError where they cannot be kept together."""

    lost_after_s: float = 60.0
    """Without a heartbeat: then a node is lost (six of ten seconds each)."""
    settle_s: float = 30.0
    """That a heartbeat need not name a task after it was started."""
    yield_s: float = 10.0
    """That a task has to put down its progress before it gives way; it is not started again before."""
    ageing_s: float = 600.0
    """Of waiting that count as one step of priority."""
    keep_after_s: float = 1800.0
    """Of waiting: then nodes are kept free for a task that would fit if they were empty."""
    most_failures: int = 3
    """In a row without progress: then a person is asked."""
    most_tasks: int = 100_000
    most_ended: int = 10_000
    """Tasks that are remembered after their end, so that none is run again under its name."""
    busy_share: float = 0.9
    """A node that is busier is chosen after all others."""
    quotas: Mapping[tuple[Tier, Kind], float] = field(default_factory=dict)
    """Most that a class may hold of what a tier's enrolled nodes have together, as a share; all where none is named."""
    routes: Mapping[Kind, tuple[Tier, ...]] = field(default_factory=lambda: ROUTES)

    def __post_init__(self) -> None:
        for name in ("lost_after_s", "settle_s", "yield_s", "ageing_s", "keep_after_s"):
            if not 0 < getattr(self, name) < 1e7:
                raise ConfigError(f"rules: {name} is {getattr(self, name)}; allowed are seconds above 0 and below 1e7")
        if self.lost_after_s + self.yield_s >= DEADLINE_S:
            raise ConfigError(
                f"rules: lost_after_s {self.lost_after_s:g} and yield_s {self.yield_s:g} leave no time to move work "
                f"within {DEADLINE_S:g} s of a node's death; set them lower"
            )
        if self.most_failures < 1 or self.most_tasks < 1 or self.most_ended < 0:
            raise ConfigError("rules: most_failures and most_tasks are at least 1, most_ended at least 0")
        for (tier, kind), share in self.quotas.items():
            if not 0 <= share <= 1:
                raise ConfigError(
                    f"rules: the quota of {kind.value} on {tier.value} is {share}; allowed are shares from 0 to 1"
                )
