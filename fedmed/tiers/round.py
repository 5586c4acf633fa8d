"""A round of a clinic's devices as a pure state machine at their hub: events in, new state and instructions out.

    masked   ask for updates -> close -> ask to confirm -> ask to reveal -> open -> fold
    plain    ask for updates -> close -> fold

The rules it keeps:
- the center never waits for a device: each wait has its deadline, and what is missing then is given up by name;
- a masked round that cannot be opened is given up, never asked for again in the plain;
- an answer counts once, from a device that is waited for (a late one never);
- whatever happens, the clinic's own update goes on: `GiveUp` only says that it goes on alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from fedmed.errors import ProtocolRefused
from fedmed.privacy.secagg import opening
from fedmed.privacy.secagg.masks import Stream
from fedmed.privacy.secagg.opening import Opening


@dataclass(frozen=True)
class Rules:
    """What a clinic's staff has set for its devices."""

    wait_s: float = 600.0
    """Time that devices have to train."""
    grace_s: float = 60.0
    """Time that they have beyond the clinic's own training, at most."""
    opening_s: float = 20.0
    """Time that each of the small messages has that set an epoch up or open a sum."""
    least: int = 1
    """Devices whose updates are folded in, at least; masked, never fewer than secure aggregation asks for."""
    after_s: float = 75.0
    """Time that all of it has beyond the clinic's own training, setting up and opening included, or as long again as that
    training took: a center that measures its deadlines (`fedmed.federation.pace`) waits for longer, whatever it measured."""
    whole_s: float = 450.0
    """Time that all of it has, the clinic's own training included."""


class Phase(Enum):
    """What is waited for."""

    ORDER = "the order"
    UPDATES = "updates"
    CONFIRMATIONS = "confirmations"
    SHARES = "shares"
    SUM = "the sum"
    OVER = "nothing"


NONE_CAME = f"no {Phase.UPDATES.value} within"
"""How the reason of a device begins whose update had not come in time."""


@dataclass(frozen=True)
class DeviceRound:
    """The state of one round."""

    rules: Rules
    cohort: tuple[str, ...]
    """Devices that are asked to train."""
    index: Mapping[str, int] = field(default_factory=dict)
    """Device -> its place in the epoch's roster, all of which are asked to open; empty in a plain round."""
    opening: Opening | None = None
    """None in a plain round."""
    phase: Phase = Phase.ORDER
    deadline: float = 0.0
    """Of this phase, on the hub's clock."""
    began: float = 0.0
    """When this phase began."""
    waiting: frozenset[str] = frozenset()
    """Devices that this phase waits for."""
    joined: tuple[str, ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    """Device of the cohort -> why its update is not in."""
    unheard: Mapping[str, str] = field(default_factory=dict)
    """Device -> why its part of the opening is missing."""
    reason: str = ""
    """Why the devices' part was given up, if it was."""


@dataclass(frozen=True)
class OrderCame:
    """The center's order is here; `task` is what each device is asked with."""

    task: bytes
    now: float


@dataclass(frozen=True)
class Updated:
    """A device's update came and has the right form; `vector` is the digest of a masked one."""

    device: str
    now: float
    envelope: bytes = b""
    vector: bytes = b""


@dataclass(frozen=True)
class Said:
    """A device's answer to a message that opens the sum."""

    device: str
    message: bytes
    now: float


@dataclass(frozen=True)
class Lost:
    """A device is gone, says that it sends nothing, or sent what cannot be used."""

    device: str
    reason: str
    now: float


@dataclass(frozen=True)
class Ticked:
    """Time has passed."""

    now: float


@dataclass(frozen=True)
class Trained:
    """The clinic's own training is over: devices have their grace."""

    now: float


@dataclass(frozen=True)
class Read:
    """The masks are off: the sum is read, or it is none and this is why."""

    fault: str = ""


Event = OrderCame | Updated | Said | Lost | Ticked | Trained | Read


@dataclass(frozen=True)
class Ask:
    """Ask these devices until the state's deadline, which may come nearer than `until`; whatever was asked before is waited
    for no longer."""

    devices: tuple[str, ...]
    request: bytes
    until: float


@dataclass(frozen=True)
class Take:
    """The update of this device goes into the sum."""

    device: str


@dataclass(frozen=True)
class Open:
    """Take these masks off the sum, read it, and tell."""

    streams: tuple[Stream, ...]
    survivors: int
    accused: tuple[str, ...]
    """Devices whose shares, or those dealt to them, were wrong."""


@dataclass(frozen=True)
class Fold:
    """Fold what the devices said into the clinic's own update."""


@dataclass(frozen=True)
class GiveUp:
    """The clinic's own update goes on alone."""

    reason: str


Instruction = Ask | Take | Open | Fold | GiveUp
Outcome = tuple[DeviceRound, tuple[Instruction, ...]]
_OPENING = (Phase.CONFIRMATIONS, Phase.SHARES)


def step(state: DeviceRound, event: Event) -> Outcome:
    """The round after `event` and what is to be done about it. Never raises: what does not belong here changes nothing."""
    match event:
        case OrderCame(task, now) if state.phase is Phase.ORDER:
            return _asked(state, Phase.UPDATES, state.cohort, task, now, state.rules.wait_s)
        case Updated(device, now) if state.phase is Phase.UPDATES and device in state.waiting:
            return _updated(state, event, now)
        case Said(device, message, now) if state.phase in _OPENING and device in state.waiting:
            return _heard(state, device, message, now)
        case Lost(device, reason, now) if device in state.waiting:
            return _lost(state, device, reason, now)
        case Ticked(now) if state.waiting and now >= state.deadline:
            return _timed_out(state, now)
        case Trained(now) if state.phase is Phase.UPDATES:
            return replace(state, deadline=min(state.deadline, now + state.rules.grace_s)), ()
        case Read(fault) if state.phase is Phase.SUM:
            return _given_up(state, fault) if fault else _over(state, Fold())
    return state, ()


def _asked(
    state: DeviceRound, phase: Phase, devices: tuple[str, ...], request: bytes, now: float, seconds: float
) -> Outcome:
    after = replace(state, phase=phase, waiting=frozenset(devices), began=now, deadline=now + seconds)
    return after, (Ask(devices, request, after.deadline),)


def _over(state: DeviceRound, last: Instruction) -> Outcome:
    return replace(state, phase=Phase.OVER, waiting=frozenset()), (last,)


def _given_up(state: DeviceRound, reason: str) -> Outcome:
    return _over(replace(state, reason=reason), GiveUp(reason))


def _accounted(state: DeviceRound, device: str, why: str | None) -> DeviceRound:
    """The state that waits no longer for a device; `why` its part is missing, if it is."""
    state = replace(state, waiting=state.waiting - {device})
    if why is None:
        return state
    if state.phase is Phase.UPDATES:
        return replace(state, failed={**state.failed, device: why})
    return replace(state, unheard={**state.unheard, device: why})


def _updated(state: DeviceRound, event: Updated, now: float) -> Outcome:
    said: tuple[Instruction, ...] = ()
    try:
        if state.opening is not None:
            taken = opening.take(state.opening, state.index[event.device], event.envelope, event.vector)
            state = replace(state, opening=taken)
        state = replace(_accounted(state, event.device, None), joined=(*state.joined, event.device))
        said = (Take(event.device),)
    except ProtocolRefused as error:
        state = _accounted(state, event.device, str(error))
    if state.waiting:
        return state, said
    after, more = _closed(state, now)
    return after, (*said, *more)


def _lost(state: DeviceRound, device: str, reason: str, now: float) -> Outcome:
    state = _accounted(state, device, reason)
    if state.phase is Phase.UPDATES:
        return (state, ()) if state.waiting else _closed(state, now)
    return _looked(state, now)


def _timed_out(state: DeviceRound, now: float) -> Outcome:
    seconds = state.deadline - state.began
    for device in sorted(state.waiting):
        state = _accounted(state, device, f"no {state.phase.value} within {seconds:g} s")
    return _closed(state, now) if state.phase is Phase.UPDATES else _looked(state, now)


def _closed(state: DeviceRound, now: float) -> Outcome:
    """All devices are accounted for: what came is folded, or opened first."""
    if len(state.joined) < max(1, state.rules.least):
        return _given_up(
            state, f"{len(state.joined)} of {len(state.cohort)} devices sent an update; {state.rules.least} are needed"
        )
    if state.opening is None:
        return _over(state, Fold())
    try:
        closed = opening.close(state.opening)
    except ProtocolRefused as error:
        return _given_up(state, str(error))
    state = replace(state, opening=closed)
    return _asked(state, Phase.CONFIRMATIONS, _roster(state), opening.confirm_request(closed), now, state.rules.opening_s)


def _roster(state: DeviceRound) -> tuple[str, ...]:
    return tuple(sorted(state.index))


def _heard(state: DeviceRound, device: str, message: bytes, now: float) -> Outcome:
    assert state.opening is not None  # a plain round has nothing to open
    take = opening.confirm if state.phase is Phase.CONFIRMATIONS else opening.reveal
    try:
        heard, why = take(state.opening, state.index[device], message), None
    except ProtocolRefused as error:
        heard, why = state.opening, str(error)
    return _looked(_accounted(replace(state, opening=heard), device, why), now)


def _looked(state: DeviceRound, now: float) -> Outcome:
    """Whether what this phase asked for is there, still may come, or will not."""
    assert state.opening is not None
    confirming = state.phase is Phase.CONFIRMATIONS
    if confirming and state.opening.is_confirmed and not state.waiting & set(state.joined):
        # only who confirmed shows shares: a quorum alone, with one of it lost then, could leave the sum shut
        request = opening.reveal_request(state.opening)
        return _asked(state, Phase.SHARES, _roster(state), request, now, state.rules.opening_s)
    if state.phase is Phase.SHARES and opening.can_open(state.opening):
        return _opened(state)
    if state.waiting:
        return state, ()
    heard = len(state.opening.confirmed if confirming else state.opening.revealed)
    return _given_up(state, f"the sum stays shut: {state.phase.value} of {heard} of {len(state.index)} devices came")


def _opened(state: DeviceRound) -> Outcome:
    assert state.opening is not None
    try:
        opened = opening.open_sum(state.opening)
    except ProtocolRefused as error:  # a wrong share; those that are still waited for may make up for it
        return (state, ()) if state.waiting else _given_up(state, str(error))
    names = {index: device for device, index in state.index.items()}
    survivors, accused = len(state.opening.survivors or ()), tuple(names[each] for each in opened.accused)
    return replace(state, phase=Phase.SUM, waiting=frozenset()), (Open(opened.streams, survivors, accused),)
