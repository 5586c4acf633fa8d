"""What runs on which of a clinic's devices and why: the placement, fed with what the hub knows anyway. Pure.

Nodes   each enrolled device; the clinic's own machine, where the hub runs; the center, which is given nothing: whatever a
        hub has to place reads patients' data
Tasks   images:DEVICE          real-time, bound to the device whose scanner it stands beside, while a model is active there
        round:DEVICE:SERIAL    compute, on the device's own cases, while a round of the clinic asks it
        studies:DEVICE         storage, at the clinic, while the device is heard and has studies to send
        archive                storage, at the clinic, while old studies wait to go to its archive

Devices begin and end these by themselves, by the same facts; nothing is started from here. What follows from here: a device
that is lost or isolated is asked for no part of a round, and the staff is told what runs nowhere, and why.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from fedmed.hub.machine import Known, silent_s
from fedmed.hub.told import Told, told_in
from fedmed.placement.events import Claim, Event, Heard, Isolated, Joined, Left, Restored, Submitted, Ticked, Withdrawn
from fedmed.placement.machine import steps
from fedmed.placement.nodes import Live, Node, Tier
from fedmed.placement.rules import Rules
from fedmed.placement.state import State
from fedmed.placement.tasks import CPU, Amount, Kind, Needs, Task

CENTER = "center:federation"
NOTHING_FOR_IT = "takes nothing that reads patients' data, and a hub has nothing else"
ARCHIVE = "archive"
"""The task, and in the hub's status what waits for it, and why."""
CUDA = "cuda"


@dataclass(frozen=True)
class Seen:
    """One enrolled device at one look."""

    name: str
    known: Known | None = None
    """None where this hub has not heard it yet."""
    rounds: tuple[str, ...] = ()
    """Serials of what a round asks of it now."""


@dataclass(frozen=True)
class Placed:
    """The placement of one clinic, and what each device told last."""

    clinic: str
    state: State
    told: Mapping[str, Told] = field(default_factory=dict)
    heard: Mapping[str, float] = field(default_factory=dict)
    """When each heartbeat came that was fed last, monotonic."""

    @property
    def here(self) -> str:
        """The node of the clinic's own machine; no device has a ':' in its name."""
        return f"clinic:{self.clinic}"

    def isolated(self, device: str) -> str:
        """Why a device takes no work; empty where it does, or is not known."""
        found = self.state.nodes.get(device)
        return "" if found is None else found.isolated


def begun(clinic: str, beat_s: float, told: Mapping[str, Told], now: float) -> Placed:
    """Before the first look. `told`: what devices told a hub that ended; each has the whole time to be heard again."""
    # nothing is remembered of tasks that are over: their names come again, and no result is fenced by them
    rules = Rules(lost_after_s=silent_s(beat_s), most_ended=0)
    center: list[Event] = [Joined(Node(CENTER, Tier.CENTER, "", Amount()), now), Isolated(CENTER, NOTHING_FOR_IT, now)]
    state, _ = steps(State(rules), center)
    return Placed(clinic, state, told)


def look(placed: Placed, seen: Sequence[Seen], own: Told, now: float, archives: bool = False) -> tuple[Placed, list[str]]:
    """One look at everything, and what the staff is told of it.

    `own`: the clinic's machine; `now` never goes back; `archives`: whether studies wait to be archived.
    """
    fresh = [each for each in seen if each.known and each.known.heard_now > placed.heard.get(each.name, float("-inf"))]
    names = {each.name for each in seen}
    told = {name: each for name, each in placed.told.items() if name in names}
    told |= {each.name: told_in(each.known.facts) for each in fresh if each.known}
    heard = {name: at for name, at in placed.heard.items() if name in names}
    heard |= {each.name: each.known.heard_now for each in fresh if each.known}
    placed = replace(placed, told=told, heard=heard)
    events: list[Event] = [
        *_nodes(placed, seen, own, now),
        *_beats(placed, [each.name for each in fresh], own, now),
        *_tasks(placed, seen, archives, now),
        Ticked(now),
    ]
    state, _ = steps(placed.state, events)
    return replace(placed, state=state), [*_changed(placed.state, state, told)]


def _nodes(placed: Placed, seen: Sequence[Seen], own: Told, now: float) -> Iterator[Event]:
    """Who is there, as what."""
    nodes = placed.state.nodes
    wanted = {each.name: placed.told.get(each.name, Told()) for each in seen}
    for name in nodes.keys() - wanted.keys() - {placed.here, CENTER}:
        yield Left(name, now)
    yield Joined(_node(placed.here, Tier.CLINIC, placed.clinic, own, frozenset()), now)
    for name, told in wanted.items():
        node = _node(name, Tier.DEVICE, placed.clinic, told, frozenset((_scanner(name), _cases(name))))
        yield Joined(node, now)
        before = nodes[name].isolated if name in nodes and nodes[name].node == node else ""
        if told.isolated != before:
            yield Isolated(name, told.isolated, now) if told.isolated else Restored(name, now)


def _node(name: str, tier: Tier, clinic: str, told: Told, data: frozenset[str]) -> Node:
    cards = frozenset((CUDA,)) if told.cards else frozenset[str]()
    return Node(name, tier, clinic, told.capacity, cards, data=data, shares_memory=told.shares_memory)


def _beats(placed: Placed, fresh: Sequence[str], own: Told, now: float) -> Iterator[Event]:
    """The hub's own machine and the center are not listened to: the one is here, nothing hangs on the other."""
    yield Heard(placed.here, now, Live(own.busy), tuple(_claims(placed, placed.here)))
    yield Heard(CENTER, now)
    for name in fresh:
        yield Heard(name, placed.heard[name], Live(placed.told[name].busy), tuple(_claims(placed, name)))


def _claims(placed: Placed, node: str) -> Iterator[Claim]:
    """What was given to a node it does: its own facts made the task."""
    for task in placed.state.on.get(node, ()):
        yield Claim(task, placed.state.running[task].held.attempt)


def _tasks(placed: Placed, seen: Sequence[Seen], archives: bool, now: float) -> Iterator[Event]:
    state = placed.state
    wanted = {task.name: task for each in seen for task in _wanted(placed, each)}
    if archives:
        wanted[ARCHIVE] = Task(ARCHIVE, Kind.STORAGE, placed.clinic, priority=1)
    held = {name: each.held.task for group in (state.running, state.waiting, state.parked) for name, each in group.items()}
    for name, task in held.items():
        if wanted.get(name) != task:
            yield Withdrawn(name, now)
    for name, task in wanted.items():
        if held.get(name) != task:
            yield Submitted(task, now)


def _wanted(placed: Placed, seen: Seen) -> Iterator[Task]:
    """What there is to do for one device."""
    name, told, clinic = seen.name, placed.told.get(seen.name, Told()), placed.clinic
    if told.model:
        cores = min(1000 * told.threads, told.capacity.cores_milli)
        needs = Needs(Amount(cores), (CUDA, CPU), (told.precision,), data=frozenset((_scanner(name),)))
        yield Task(f"images:{name}", Kind.REAL_TIME, clinic, needs)
    for serial in seen.rounds:
        needs = Needs(Amount(), (CUDA, CPU), data=frozenset((_cases(name),)))
        yield Task(f"round:{name}:{serial}", Kind.COMPUTE, clinic, needs)
    if told.studies and seen.known is not None and seen.known.is_alive:
        yield Task(f"studies:{name}", Kind.STORAGE, clinic, priority=2)


def _scanner(device: str) -> str:
    return f"scanner:{device}"


def _cases(device: str) -> str:
    return f"cases:{device}"


def _changed(before: State, after: State, told: Mapping[str, Told]) -> Iterator[str]:
    """What the staff is told: who takes no work, what runs nowhere any more, what runs again."""
    for name, standing in sorted(after.nodes.items()):
        was = before.nodes.get(name)
        if name in told and standing.isolated != (was.isolated if was else ""):
            yield f"device {name} " + (f"takes no work: {standing.isolated}" if standing.isolated else "may take work again")
        if name in told and standing.is_lost and was is not None and not was.is_lost and (count := told[name].studies):
            yield f"{count} studies wait at {name} until it is heard again"
    for name in sorted(after.waiting):
        if name not in before.waiting:
            yield f"{name} runs nowhere now: {after.waiting[name].why}"
    for name in sorted(before.waiting.keys() & after.running.keys()):
        yield f"{name} runs on {', '.join(after.running[name].nodes)} again"
