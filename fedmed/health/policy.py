"""What is done about readings: a person is told first, and nothing is changed on a card without the operator's switch.

Pure: readings and the time in, findings and the new state out. Limits are those that hospitals' operators asked for: above
85 C, one ECC error, 0.1 % of segments sent again, 100 ms of storage, a GPU above 90 % for five minutes, looked at every
minute. A limit has two edges (it is passed above `over`, and left at `clear` or below), and times that both must hold, so
that a value at the limit is one alert and not sixty. What is unsupported neither raises an alert nor ends one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from fedmed.errors import ConfigError
from fedmed.health.readings import QUANTITIES, Reading, measured

CHECK_EVERY_S = 60.0


class Severity(Enum):
    """How soon a person should look."""

    WARNING = "warning"
    CRITICAL = "critical"


class Action(Enum):
    """What may be done beside telling a person."""

    ISOLATE = "the node takes no tasks"
    LIMIT_POWER = "the card draws less power"
    RESTART = "the task is started again from its progress"


@dataclass(frozen=True)
class Limit:
    """One rule. Seconds count from the first reading past the limit."""

    name: str
    quantity: str
    over: float
    clear: float
    severity: Severity = Severity.WARNING
    hold_s: float = 0.0
    """Before a person is told."""
    clear_s: float = 120.0
    """That it must be at `clear` or better before all is well again."""
    is_low: bool = False
    """Whether too little is the fault: then it is passed below `over`."""
    is_still: bool = False
    """Whether standing still is the fault: then it is passed by a value that has not changed."""
    actions: tuple[tuple[float, Action], ...] = ()
    """What is done, and so many seconds after a person was told."""
    is_latched: bool = False
    """Whether only a person ends the isolation."""

    def __post_init__(self) -> None:
        if self.quantity not in QUANTITIES:
            raise ConfigError(f"limit {self.name}: {self.quantity} is no quantity; allowed are {', '.join(QUANTITIES)}")
        if not self.is_still and (self.clear >= self.over) != self.is_low and self.clear != self.over:
            raise ConfigError(
                f"limit {self.name}: clear is {self.clear:g}, over is {self.over:g}; put clear on the safe side"
            )

    def is_past(self, value: float) -> bool:
        """Whether the value is past the limit."""
        return value < self.over if self.is_low else value > self.over

    def is_safe(self, value: float) -> bool:
        """Whether the value is well off the limit again."""
        return value >= self.clear if self.is_low else value <= self.clear


LIMITS = (
    Limit(
        "gpu-hot", "gpu_temperature", 85, 80, Severity.CRITICAL,
        actions=((60.0, Action.LIMIT_POWER), (300.0, Action.ISOLATE)),
    ),
    Limit("board-hot", "board_temperature", 95, 88, Severity.CRITICAL, actions=((300.0, Action.ISOLATE),)),
    Limit(
        "ecc-uncorrected", "gpu_ecc_uncorrected", 0, 0, Severity.CRITICAL,
        actions=((0.0, Action.ISOLATE),), is_latched=True,
    ),
    Limit("ecc-corrected", "gpu_ecc_corrected", 0, 0),
    Limit(
        "gpu-lost", "gpu_reachable", 1, 1, Severity.CRITICAL,
        is_low=True, actions=((0.0, Action.ISOLATE),), is_latched=True,
    ),
    Limit("gpu-full", "gpu_busy", 0.9, 0.85, hold_s=300.0),
    Limit("network-loss", "network_loss", 0.001, 0.0005, hold_s=60.0),
    Limit("storage-slow", "storage_latency", 0.1, 0.05, hold_s=60.0),
    Limit("memory-filling", "memory_used", 0.8, 0.75, hold_s=300.0),
    Limit("memory-full", "memory_used", 0.9, 0.85, Severity.CRITICAL, hold_s=60.0),
    Limit("disk-filling", "disk_used", 0.8, 0.78),
    Limit("disk-full", "disk_used", 0.9, 0.88, Severity.CRITICAL),
    Limit(
        "stalled", "task_steps", 0, 0, Severity.CRITICAL,
        hold_s=900.0, clear_s=0.0, is_still=True, actions=((300.0, Action.RESTART),),
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Switches:
    """What the operator allows; nothing is changed on a card where `may_limit_power` is off."""

    may_limit_power: bool = False
    power_share: float = 0.625
    """Of the card's default power, under heat: 250 W of the 400 W of an A100."""

    def __post_init__(self) -> None:
        if not 0.3 <= self.power_share <= 1:
            raise ConfigError(f"power_share is {self.power_share}; allowed are shares from 0.3 to 1")


@dataclass(frozen=True)
class Episode:
    """A limit that is passed, or was until lately."""

    since: float
    value: float
    told: float | None = None
    """When a person was told."""
    done: frozenset[Action] = frozenset()
    safe_since: float | None = None


@dataclass(frozen=True)
class Watch:
    """What is past its limit now, by limit and device."""

    limits: tuple[Limit, ...] = LIMITS
    switches: Switches = field(default_factory=Switches)
    episodes: Mapping[tuple[str, str], Episode] = field(default_factory=dict)


@dataclass(frozen=True)
class Alert:
    """A person is to be told."""

    limit: str
    device: str
    severity: Severity
    words: str


@dataclass(frozen=True)
class Cleared:
    """All is well again."""

    limit: str
    device: str


@dataclass(frozen=True)
class Isolate:
    """The node takes no tasks until it is restored."""

    limit: str
    device: str
    words: str


@dataclass(frozen=True)
class Restore:
    """The node may take tasks again."""

    limit: str
    device: str


@dataclass(frozen=True)
class Stays:
    """A person says that the device was seen to, and its reading says otherwise: the node takes no tasks, as before."""

    limit: str
    device: str
    words: str


@dataclass(frozen=True)
class LimitPower:
    """The card is to draw `share` of its default power; 1 is as before."""

    device: str
    share: float


@dataclass(frozen=True)
class Restart:
    """A task is to be started again from its progress."""

    task: str
    words: str


Finding = Alert | Cleared | Isolate | Restore | LimitPower | Restart


def step(watch: Watch, readings: Iterable[Reading], now: float) -> tuple[Watch, list[Finding]]:
    """What is found in one round of readings."""
    readings = tuple(readings)
    episodes = dict(watch.episodes)
    found: list[Finding] = []
    _forget_ended(watch, {(each.name, each.device) for each in readings}, episodes, found)
    for reading in readings:
        if reading.value is None:
            continue
        for limit in watch.limits:
            if limit.quantity == reading.name:
                key = (limit.name, reading.device)
                after = _looked_at(watch, limit, reading.device, reading.value, episodes.get(key), now, found)
                if after is None:
                    episodes.pop(key, None)
                else:
                    episodes[key] = after
    return replace(watch, episodes=episodes), found


def _forget_ended(
    watch: Watch, seen: set[tuple[str, str]], episodes: dict[tuple[str, str], Episode], found: list[Finding]
) -> None:
    """What stood still and is read no more has ended: a task, not a card."""
    for limit in watch.limits:
        if limit.is_still:
            for key in [key for key in episodes if key[0] == limit.name and (limit.quantity, key[1]) not in seen]:
                _over(limit, key[1], episodes.pop(key), found)


def seen_to(watch: Watch, device: str, readings: Iterable[Reading]) -> tuple[Watch, list[Restore | Stays]]:
    """A person says that the device was seen to: what only a person ends is over there, where its reading says so, too.

    A reading that is missing or unsupported ends nothing. What ends by itself (heat) is left to do so.
    """
    values = {each.name: each.value for each in readings if each.device == device}
    episodes, findings = dict(watch.episodes), list[Restore | Stays]()
    for limit in watch.limits:
        episode = episodes.get((limit.name, device))
        if not limit.is_latched or episode is None or Action.ISOLATE not in episode.done:
            continue
        value = values.get(limit.quantity)
        if value is not None and limit.is_safe(value):
            del episodes[limit.name, device]
            findings.append(Restore(limit.name, device))
        else:
            findings.append(Stays(limit.name, device, _still(limit, device, value)))
    return replace(watch, episodes=episodes), findings


def _looked_at(
    watch: Watch, limit: Limit, device: str, value: float, episode: Episode | None, now: float, found: list[Finding]
) -> Episode | None:
    """The episode after one reading; None where there is none (any more)."""
    if limit.is_still:
        if episode is None or value != episode.value:
            _over(limit, device, episode, found)
            return Episode(now, value)
    elif episode is None:
        if not limit.is_past(value):
            return None
        episode = Episode(now, value)
    else:
        episode = replace(episode, value=value)
        if episode.told is None and not limit.is_past(value):
            return None
        if limit.is_safe(value):
            episode = replace(episode, safe_since=now if episode.safe_since is None else episode.safe_since)
            if episode.safe_since is not None and now - episode.safe_since >= limit.clear_s:
                if limit.is_latched:
                    return episode
                _over(limit, device, episode, found)
                return None
            return episode
        episode = replace(episode, safe_since=None)
        if not limit.is_past(value):
            return episode  # between the edges: nothing more is done, and nothing is over
    return _acted(watch, limit, device, episode, now, found)


def _acted(watch: Watch, limit: Limit, device: str, episode: Episode, now: float, found: list[Finding]) -> Episode:
    """Tell a person once the limit was passed for its time; then, and never before, do what is allowed."""
    if now - episode.since < limit.hold_s:
        return episode
    words = _words(limit, device, episode, now)
    if episode.told is None:
        episode = replace(episode, told=now)
        found.append(Alert(limit.name, device, limit.severity, words))
    told = now if episode.told is None else episode.told
    for after_s, action in limit.actions:
        if action in episode.done or now - told < after_s:
            continue
        if action is Action.LIMIT_POWER:
            if not watch.switches.may_limit_power:
                continue
            found.append(LimitPower(device, watch.switches.power_share))
        else:
            found.append(Isolate(limit.name, device, words) if action is Action.ISOLATE else Restart(device, words))
        episode = replace(episode, done=episode.done | {action})
    return episode


def _over(limit: Limit, device: str, episode: Episode | None, found: list[Finding]) -> None:
    if episode is None or episode.told is None:
        return
    found.append(Cleared(limit.name, device))
    if Action.LIMIT_POWER in episode.done:
        found.append(LimitPower(device, 1.0))
    if Action.ISOLATE in episode.done:
        found.append(Restore(limit.name, device))


def _still(limit: Limit, device: str, value: float | None) -> str:
    said = "cannot be read" if value is None else f"is {value:g} still; allowed is {limit.clear:g}"
    return f"{device}: {limit.quantity.replace('_', ' ')} {said}"


def _words(limit: Limit, device: str, episode: Episode, now: float) -> str:
    quantity = QUANTITIES[limit.quantity]
    name = limit.quantity.replace("_", " ")
    where = f"{device}: " if device else ""
    if limit.is_still:
        return f"{where}{name} stands at {episode.value:g} for {now - episode.since:.0f} s"
    unit, side = quantity.unit, "below" if limit.is_low else "above"
    return f"{where}{name} is {measured(episode.value, unit)}, {side} {measured(limit.over, unit)}"
