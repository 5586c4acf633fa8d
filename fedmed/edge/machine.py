"""What an agent does next: a pure machine, events in, a new state and instructions out; no I/O, and time comes in events.

Work goes through lanes, one thing at a time in each, so that none holds up another: an image is looked at while a result
goes to the PACS and a study to the hub. What waits is in the spool, which survives everything; the state here does not have
to. A lane that found nothing is quiet until something is kept for it; one whose other end failed rests, ever longer, and
looks again by itself. Training has what the images leave: it is halted, at a checkpoint, as soon as one comes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum


class Lane(Enum):
    """What goes on at the same time."""

    WORK = "work"
    PACS = "pacs"
    HUB = "hub"
    BESIDE = "beside"
    """Other studies for the hub, so that the line is not idle while the hub writes down what came before."""
    ELSEWHERE = "elsewhere"
    """Images that this device cannot look at itself, for the clinic's other machines."""
    SERIES = "series"


KINDS: Mapping[Lane, tuple[str, ...]] = {
    Lane.WORK: ("instance",),
    Lane.PACS: ("result",),
    Lane.HUB: ("study", "update"),
    Lane.BESIDE: ("study",),
    Lane.ELSEWHERE: ("instance",),
    Lane.SERIES: ("series",),
}
"""Kinds of entries that each lane takes from the spool, most urgent first."""
FIRST_REST_S, LONGEST_REST_S = 1.0, 60.0
BEAT_S = 10.0
SOON_S, SOON_FOR_S = 1.0, 30.0
"""Between two heartbeats once a message of a round was answered, and for how long: more may follow."""
SETTLED_S = 2.0
"""Training goes on when no image came for so long."""


@dataclass(frozen=True)
class Kept:
    """Something new is in the spool."""

    kind: str


@dataclass(frozen=True)
class Found:
    """What the spool has for a lane; nothing where `number` is None."""

    lane: Lane
    number: int | None
    again_at: float | None = None
    """When to look again where something waits that may not go yet."""


@dataclass(frozen=True)
class Done:
    """A lane's work is done, and written down."""

    lane: Lane


@dataclass(frozen=True)
class Failed:
    """A lane's work failed, or its look for some, where `number` is None."""

    lane: Lane
    number: int | None
    why: str
    is_lasting: bool = False
    """Trying it again cannot help: the object was set aside, and the lane goes on."""


@dataclass(frozen=True)
class Heard:
    """The hub answered a heartbeat, and wants the next one so many seconds later."""

    beat_s: float = BEAT_S


@dataclass(frozen=True)
class Unheard:
    """It did not."""

    why: str


@dataclass(frozen=True)
class Task:
    """The clinic wants this device to train, or no longer where `name` is None."""

    name: str | None


@dataclass(frozen=True)
class Trained:
    """Training came to its end, or to a checkpoint after a halt."""

    is_over: bool
    follows: bool = False
    """The hub is asked again at once, and soon again: a round has several small messages."""


@dataclass(frozen=True)
class Told:
    """Staff pauses the agent, or lets it go on; what is received is kept all the same."""

    is_paused: bool
    asks_others: bool = False
    """Whether images go elsewhere: this device takes no work for its health, or more wait than should."""


@dataclass(frozen=True)
class Ticked:
    """Time passed."""


Event = Kept | Found | Done | Failed | Heard | Unheard | Task | Trained | Told | Ticked


@dataclass(frozen=True)
class Look:
    """Ask the spool for a lane's next entry."""

    lane: Lane


@dataclass(frozen=True)
class Work:
    """Do a lane's work on an entry."""

    lane: Lane
    number: int


@dataclass(frozen=True)
class Defer:
    """Put an entry off."""

    number: int
    until: float
    why: str


@dataclass(frozen=True)
class Beat:
    """Send a heartbeat."""


@dataclass(frozen=True)
class Train:
    """Train, or go on with it."""

    task: str


@dataclass(frozen=True)
class Halt:
    """Stop training at its next checkpoint."""


@dataclass(frozen=True)
class Say:
    """Tell staff."""

    text: str


Instruction = Look | Work | Defer | Beat | Train | Halt | Say


@dataclass(frozen=True)
class Place:
    """How a lane is."""

    busy: int | None = None
    """The entry that is worked on."""
    asks: bool = False
    """Whether the spool has been asked and has not answered."""
    news: bool = False
    """Whether something was kept since it was asked, which its answer may not know of."""
    quiet: bool = False
    """Whether nothing waits, as far as is known."""
    rests_until: float = 0.0
    failures: int = 0
    """In a row."""

    def is_free(self, now: float) -> bool:
        """Whether it may look for work."""
        return self.busy is None and not self.asks and not self.quiet and now >= self.rests_until


@dataclass(frozen=True)
class Line:
    """How the hub is."""

    is_heard: bool = False
    unanswered: int = 0
    next_beat: float = 0.0
    is_beating: bool = False
    soon_until: float = 0.0
    """Until then heartbeats are `SOON_S` apart: a round is under way, whose next message waits for other devices."""


@dataclass(frozen=True)
class State:
    """All that an agent has to remember while it runs."""

    places: Mapping[Lane, Place] = field(default_factory=lambda: {lane: Place() for lane in Lane})
    line: Line = Line()
    task: str | None = None
    is_training: bool = False
    is_halting: bool = False
    last_image: float = float("-inf")
    is_paused: bool = False
    asks_others: bool = False


Outcome = tuple[State, tuple[Instruction, ...]]


def step(state: State, event: Event, now: float) -> Outcome:
    """The state after `event` at `now` (seconds, monotonic), and what is to be done about it."""
    after, first = _changed(state, event, now)
    after, then = _due(after, now)
    return after, (*first, *then)


def rest(failures: int) -> float:
    """Seconds until the next try after so many failures in a row: 1, 2, 4 ... 60."""
    return float(min(FIRST_REST_S * 2 ** min(failures - 1, 16), LONGEST_REST_S))


def _changed(state: State, event: Event, now: float) -> Outcome:
    match event:
        case Kept(kind):
            return _kept(state, kind, now), ()
        case Found(lane, number, again_at):
            return _found(state, lane, number, again_at, now)
        case Done(lane):
            return _given_back(_with(state, lane, Place()), lane, now), ()
        case Failed():
            return _failed(state, event, now)
        case Heard() | Unheard():
            return _answered(state, event, now)
        case Task(name):
            halts = (Halt(),) if name != state.task and state.is_training and not state.is_halting else ()
            return replace(state, task=name, is_halting=state.is_halting or bool(halts)), halts
        case Trained(is_over, follows):
            line = replace(state.line, next_beat=now, soon_until=now + SOON_FOR_S) if follows else state.line
            task = None if is_over else state.task
            return replace(state, is_training=False, is_halting=False, task=task, line=line), ()
        case Told(is_paused, asks_others):
            place = replace(state.places[Lane.ELSEWHERE], quiet=False)
            return _with(replace(state, is_paused=is_paused, asks_others=asks_others), Lane.ELSEWHERE, place), ()
    return state, ()


def _kept(state: State, kind: str, now: float) -> State:
    for lane in [lane for lane, kinds in KINDS.items() if kind in kinds]:
        state = replace(state, last_image=now) if lane is Lane.WORK else state
        place = state.places[lane]
        # a series may be whole with this image, sooner than it was to be looked at again
        rests_until = 0.0 if lane is Lane.SERIES and place.failures == 0 else place.rests_until
        state = _with(state, lane, replace(place, quiet=False, news=place.asks, rests_until=rests_until))
    return state


def _found(state: State, lane: Lane, number: int | None, again_at: float | None, now: float) -> Outcome:
    news, place = state.places[lane].news, replace(state.places[lane], asks=False, news=False)
    if number is not None:
        state = _given_back(state, lane, now) if lane is Lane.WORK else state
        return _with(state, lane, replace(place, busy=number)), (Work(lane, number),)
    if again_at is not None:
        return _with(
            state, lane, replace(place, rests_until=now if news and lane is Lane.SERIES else max(again_at, now))
        ), ()
    return _with(state, lane, replace(place, quiet=not news, failures=place.failures if news else 0)), ()


def _failed(state: State, event: Failed, now: float) -> Outcome:
    """Whatever refuses, a full disk like a PACS that is away: told once, and tried again ever later."""
    if event.is_lasting:
        return _given_back(_with(state, event.lane, Place()), event.lane, now), (Say(event.why),)
    failures = state.places[event.lane].failures + 1
    until = now + rest(failures)
    told = (Say(event.why),) if failures == 1 and not _is_told(state, event.lane) else ()
    state = _given_back(_with(state, event.lane, Place(rests_until=until, failures=failures)), event.lane, until)
    put_off = () if event.number is None else (Defer(event.number, until, event.why),)
    return state, (*put_off, *told)


def _is_told(state: State, lane: Lane) -> bool:
    """Whether staff knows already: both lanes to the hub fail together."""
    other = {Lane.HUB: Lane.BESIDE, Lane.BESIDE: Lane.HUB}.get(lane)
    return other is not None and state.places[other].failures > 0


def _given_back(state: State, lane: Lane, until: float) -> State:
    """What one of two lanes had of the images, and what waits behind it, is the other's too from `until` on."""
    other = {Lane.ELSEWHERE: Lane.WORK, Lane.WORK: Lane.ELSEWHERE}.get(lane)
    if other is None:
        return state
    place = state.places[other]
    rests = max(place.rests_until, until) if place.quiet else place.rests_until
    return _with(state, other, replace(place, quiet=False, news=place.news or place.asks, rests_until=rests))


def _answered(state: State, event: Heard | Unheard, now: float) -> Outcome:
    line = state.line
    if isinstance(event, Heard):
        told = () if line.is_heard else (Say("the hub answers"),)
        for lane in () if line.is_heard else (Lane.HUB, Lane.BESIDE):
            state = _with(state, lane, replace(state.places[lane], rests_until=0.0, failures=0))
        beat_s = min(event.beat_s, SOON_S) if now < line.soon_until else event.beat_s
        line = Line(True, 0, now + beat_s, soon_until=line.soon_until)
        return replace(state, line=line), told
    failures = line.unanswered + 1
    said = (Say(f"the hub is not heard: {event.why}"),) if failures == 1 else ()
    return replace(state, line=Line(False, failures, now + rest(failures))), said


def _due(state: State, now: float) -> Outcome:
    """What may begin now."""
    due: list[Instruction] = []
    if not state.line.is_beating and now >= state.line.next_beat:
        state = replace(state, line=replace(state.line, is_beating=True))
        due.append(Beat())
    for lane, place in state.places.items():
        if place.is_free(now) and _may(state, lane):
            state = _with(state, lane, replace(place, asks=True))
            due.append(Look(lane))
    if state.is_training and not state.is_halting and not _is_settled(state, now):
        return replace(state, is_halting=True), (*due, Halt())
    if state.task is not None and not state.is_training and _is_settled(state, now):
        return replace(state, is_training=True), (*due, Train(state.task))
    return state, tuple(due)


def _may(state: State, lane: Lane) -> bool:
    """Results go whatever else is the matter; the hub must be there, and work waits while staff has paused it."""
    match lane:
        case Lane.PACS:
            return True
        case Lane.WORK | Lane.SERIES:
            return not state.is_paused
        case Lane.HUB:
            return state.line.is_heard
        case Lane.BESIDE:  # a line that fails is tried by one
            return state.line.is_heard and state.places[Lane.HUB].failures == 0
    # beside work that goes on here, only studies that it is not at: else the two would wait for each other's images
    is_beside = state.is_paused or state.places[Lane.WORK].busy is not None
    return state.line.is_heard and state.asks_others and is_beside


def _is_settled(state: State, now: float) -> bool:
    idle = all(state.places[lane].busy is None for lane in (Lane.WORK, Lane.SERIES)) and now - state.last_image >= SETTLED_S
    return idle and not state.is_paused


def _with(state: State, lane: Lane, place: Place) -> State:
    return replace(state, places={**state.places, lane: place})
