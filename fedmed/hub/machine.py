"""The hub's own mind: which devices live, and what each may still send. Events in, the new state and what to do out.

    (unknown) --Beat--> alive --no beat for three periods--> lost --Beat--> alive
                          |                                     |
                          +--------------Gone------------------+--> (unknown)

A device that is lost keeps what it is owed; `Lost` tells whoever places work, so that it moves within the clinic. Nothing
here names another clinic: a task that reads patient data has nowhere else to go.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

MISSED = 3
"""Heartbeats after which a device is taken for lost."""
MOST_SILENT_S = 150.0
"""But never later than this, so that within three minutes its work has moved or people know."""
MOST_SKEW_S = 300.0
"""A device's clock that is off by more is told to the clinic's staff: certificates and releases have dates."""
DAY_S = 86400


@dataclass(frozen=True)
class Share:
    """What one device may send."""

    day_bytes: int
    """In a day (UTC)."""
    open_bytes: int
    """Begun and not ended."""
    at_once: int = 8
    """Calls under way."""


@dataclass(frozen=True)
class Known:
    """A device as it was heard last."""

    name: str
    version: str
    state: str
    """What it says that it does."""
    facts: Mapping[str, Any]
    """Counts of its spool, readings of its health, what runs: as it told them."""
    heard_unix: float
    heard_now: float
    """On the hub's monotonic clock."""
    skew_s: float
    """The device's clock less the hub's, one way of the line included."""
    since_unix: float
    """Since when it is alive, or lost."""
    is_alive: bool = True


@dataclass(frozen=True)
class Used:
    """What one device has used of its share."""

    day: int = 0
    day_bytes: int = 0
    calls: int = 0


@dataclass(frozen=True)
class State:
    """All that the hub knows while it is up; what must outlive it lies in the roll and in the landing."""

    devices: Mapping[str, Known] = field(default_factory=lambda: MappingProxyType({}))
    used: Mapping[str, Used] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True)
class Beat:
    """A device was heard."""

    name: str
    version: str
    state: str
    facts: Mapping[str, Any]
    device_unix: float
    unix: float
    now: float


@dataclass(frozen=True)
class Look:
    """Time passed."""

    unix: float
    now: float


@dataclass(frozen=True)
class Gone:
    """A device was revoked."""

    name: str


@dataclass(frozen=True)
class Called:
    """A device began a call that brings `bytes`."""

    name: str
    bytes: int
    unix: float


@dataclass(frozen=True)
class Ended:
    """Its call came to an end."""

    name: str


@dataclass(frozen=True)
class Lost:
    """Tell that a device is not heard any more; what it worked on may move to another place of this clinic."""

    name: str
    silent_s: float


@dataclass(frozen=True)
class Back:
    """Tell that a device is heard, the first time or again."""

    name: str
    is_new: bool


@dataclass(frozen=True)
class Skewed:
    """Tell that a device's clock is off."""

    name: str
    skew_s: float


@dataclass(frozen=True)
class Refused:
    """Refuse the call; nothing of it counts."""

    reason: str


Event = Beat | Look | Gone | Called | Ended
Instruction = Lost | Back | Skewed | Refused


def step(state: State, event: Event, share: Share, beat_s: float) -> tuple[State, list[Instruction]]:
    """The next state and what to do, in this order."""
    if isinstance(event, Beat):
        return _heard(state, event)
    if isinstance(event, Look):
        return _looked(state, event, silent_s(beat_s))
    if isinstance(event, Called):
        return _called(state, event, share)
    if isinstance(event, Ended):
        used = state.used.get(event.name, Used())
        return _using(state, event.name, replace(used, calls=max(0, used.calls - 1))), []
    left = {name: each for name, each in state.devices.items() if name != event.name}
    return replace(state, devices=MappingProxyType(left)), []


def silent_s(beat_s: float) -> float:
    """Seconds without a heartbeat after which a device is lost."""
    return min(MISSED * beat_s, MOST_SILENT_S)


def _heard(state: State, event: Beat) -> tuple[State, list[Instruction]]:
    before, skew = state.devices.get(event.name), event.device_unix - event.unix
    is_back = before is None or not before.is_alive
    since = event.unix if before is None or is_back else before.since_unix
    known = Known(event.name, event.version, event.state, event.facts, event.unix, event.now, skew, since)
    todo: list[Instruction] = [Back(event.name, before is None)] if is_back else []
    was_skewed = before is not None and abs(before.skew_s) > MOST_SKEW_S
    if abs(skew) > MOST_SKEW_S and not was_skewed:
        todo.append(Skewed(event.name, skew))
    return _knowing(state, known), todo


def _looked(state: State, event: Look, silent_s: float) -> tuple[State, list[Instruction]]:
    lost = [each for each in state.devices.values() if each.is_alive and event.now - each.heard_now > silent_s]
    for each in lost:
        state = _knowing(state, replace(each, is_alive=False, since_unix=event.unix))
    return state, [Lost(each.name, event.now - each.heard_now) for each in lost]


def _called(state: State, event: Called, share: Share) -> tuple[State, list[Instruction]]:
    used, day = state.used.get(event.name, Used()), int(event.unix // DAY_S)
    so_far = used.day_bytes if used.day == day else 0
    if used.calls >= share.at_once:
        return state, [Refused(f"{used.calls} calls of {event.name!r} are under way; allowed are {share.at_once} at once")]
    if so_far + event.bytes > share.day_bytes:
        return state, [
            Refused(
                f"{event.name!r} sent {so_far} bytes today, and {event.bytes} more are beyond its {share.day_bytes} a day; "
                "they go through tomorrow, or the clinic raises most_gigabytes_a_day in hub.yaml"
            )
        ]
    return _using(state, event.name, Used(day, so_far + event.bytes, used.calls + 1)), []


def _knowing(state: State, known: Known) -> State:
    return replace(state, devices=MappingProxyType({**state.devices, known.name: known}))


def _using(state: State, name: str, used: Used) -> State:
    return replace(state, used=MappingProxyType({**state.used, name: used}))


def told(todo: Instruction) -> str:
    """What the clinic's staff is told of it; empty for what concerns the device alone."""
    if isinstance(todo, Lost):
        return f"device {todo.name} is not heard for {todo.silent_s:.0f} s"
    if isinstance(todo, Back):
        return f"device {todo.name} is heard" + ("" if todo.is_new else " again")
    if isinstance(todo, Skewed):
        return f"the clock of device {todo.name} is {todo.skew_s:+.0f} s off this machine's; set it right"
    return ""
