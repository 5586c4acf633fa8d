"""What runs on which of a clinic's devices and why: the placement, fed with what the hub knows anyway. Pure.

Nodes   each enrolled device; the clinic's own machine, where the hub runs; the center, which is given nothing: whatever a
        hub has to place reads patients' data
Tasks   images:DEVICE          real-time, bound to the device whose scanner it stands beside, while a model is active there
        round:DEVICE:SERIAL    compute, on the device's own cases, while a round of the clinic asks it
        studies:DEVICE         storage, at the clinic, while the device is heard and has studies to send
        archive                storage, at the clinic, while old studies wait to go to its archive
        look:DEVICE:DIGEST     compute, one image of a device that cannot look at it itself, where the same package is open

Devices begin and end the first three by themselves, by the same facts. Looks alone are started, moved and ended from here
(`hub.lending`). A device whose own images wait is booked whole: what it looks at for others gives way. What follows else: a
device that is lost or isolated is asked for no part of a round, and the staff is told what runs nowhere, and why.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from fedmed.hub.machine import Known, silent_s
from fedmed.hub.told import Told, told_in
from fedmed.placement.events import (
    Claim,
    Event,
    Heard,
    Instruction,
    Isolated,
    Joined,
    Left,
    Restored,
    Start,
    Stop,
    Submitted,
    Ticked,
    Withdrawn,
    Yield,
)
from fedmed.placement.machine import steps
from fedmed.placement.nodes import Live, Node, Tier
from fedmed.placement.rules import Rules
from fedmed.placement.state import State
from fedmed.placement.tasks import CPU, Amount, Kind, Needs, Precision, Task
from fedmed.wire.words import count

CENTER = "center:federation"
NOTHING_FOR_IT = "takes nothing that reads patients' data, and a hub has nothing else"
ARCHIVE = "archive"
"""The task, and in the hub's status what waits for it, and why."""
CUDA = "cuda"
LOOK = "look:"
"""Before the names of tasks that this hub starts by itself."""
LADDER = (Precision.INT8, Precision.FP16, Precision.FP32)
"""A device runs a package in one precision, which its own accuracy gate allowed."""


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
    due: tuple[Instruction, ...] = ()
    """What the last step has to say about looks."""

    @property
    def here(self) -> str:
        """The node of the clinic's own machine; no device has a ':' in its name."""
        return f"clinic:{self.clinic}"

    def isolated(self, device: str) -> str:
        """Why a device takes no work; empty where it does, or is not known."""
        found = self.state.nodes.get(device)
        return "" if found is None else found.isolated


def begun(clinic: str, beat_s: float, told: Mapping[str, Told], now: float, share: float = 1.0) -> Placed:
    """Before the first look. `told`: what devices told a hub that ended; each has the whole time to be heard again.

    `share`: of what a tier's nodes have together, that looks for others may take at most.
    """
    # nothing is remembered of tasks that are over: their names come again, and looks are fenced by a journal
    quotas = {(tier, Kind.COMPUTE): share for tier in (Tier.DEVICE, Tier.CLINIC)}
    rules = Rules(lost_after_s=silent_s(beat_s), most_ended=0, quotas=quotas)
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
    after = stepped(placed, events)
    return after, [*_changed(placed.state, after.state, told)]


def stepped(placed: Placed, events: Sequence[Event]) -> Placed:
    """After these events, with what is due about looks."""
    state, said = steps(placed.state, events)
    due = [each for each in said if isinstance(each, (Start, Yield, Stop)) and _named(each).startswith(LOOK)]
    return replace(placed, state=state, due=tuple(due))


def worked(placed: Placed, node: str, waits: int, now: float) -> Placed:
    """A node asked what it has to look at, and so many images of its own wait. All that it was given is told to it again."""
    told = placed.told.get(node)
    events: list[Event] = []
    if told is not None and (told.waits > 0) != (waits > 0):
        placed = replace(placed, told={**placed.told, node: replace(told, waits=waits)})
        events = [Withdrawn(f"images:{node}", now), *(Submitted(each, now) for each in _images(placed, node))]
    live = Live(told.busy if told else None)
    return stepped(placed, [*events, Heard(node, now, live, tuple(_claims(placed, node)))])


def look_task(placed: Placed, name: str, package: str, not_on: frozenset[str]) -> Task:
    """One image, for whoever has its package open, but who asks and whose answer was none."""
    needs = Needs(Amount(1000), (CUDA, CPU), LADDER, data=frozenset((_release(package),)))
    return Task(name, Kind.COMPUTE, placed.clinic, needs, priority=8, not_on=not_on)


def _named(said: Start | Yield | Stop) -> str:
    return said.task.name if isinstance(said, Start) else said.task


def _nodes(placed: Placed, seen: Sequence[Seen], own: Told, now: float) -> Iterator[Event]:
    """Who is there, as what."""
    nodes = placed.state.nodes
    wanted = {each.name: placed.told.get(each.name, Told()) for each in seen}
    for name in nodes.keys() - wanted.keys() - {placed.here, CENTER}:
        yield Left(name, now)
    yield Joined(_node(placed.here, Tier.CLINIC, placed.clinic, own, _open(own)), now)
    for name, told in wanted.items():
        node = _node(name, Tier.DEVICE, placed.clinic, told, frozenset((_scanner(name), _cases(name), *_open(told))))
        yield Joined(node, now)
        before = nodes[name].isolated if name in nodes and nodes[name].node == node else ""
        if told.isolated != before:
            yield Isolated(name, told.isolated, now) if told.isolated else Restored(name, now)


def _node(name: str, tier: Tier, clinic: str, told: Told, data: frozenset[str]) -> Node:
    cards = frozenset((CUDA,)) if told.cards else frozenset[str]()
    precisions = frozenset((Precision.FP32, told.precision))
    return Node(name, tier, clinic, told.capacity, cards, precisions, data, told.shares_memory)


def _open(told: Told) -> frozenset[str]:
    """What a node says that it looks at others' images with."""
    return frozenset((_release(told.package),)) if told.package and told.helps else frozenset()


def _beats(placed: Placed, fresh: Sequence[str], own: Told, now: float) -> Iterator[Event]:
    """The hub's own machine and the center are not listened to: the one is here, nothing hangs on the other."""
    yield Heard(placed.here, now, Live(own.busy), tuple(_claims(placed, placed.here)))
    yield Heard(CENTER, now)
    for name in fresh:
        yield Heard(name, placed.heard[name], Live(placed.told[name].busy), tuple(_claims(placed, name)))


def _claims(placed: Placed, node: str) -> Iterator[Claim]:
    """What was given to a node it does: its own facts made the task; a look is told to it again, and has its time."""
    for task in placed.state.on.get(node, ()):
        yield Claim(task, placed.state.running[task].held.attempt)


def _tasks(placed: Placed, seen: Sequence[Seen], archives: bool, now: float) -> Iterator[Event]:
    state = placed.state
    wanted = {task.name: task for each in seen for task in _wanted(placed, each)}
    if archives:
        wanted[ARCHIVE] = Task(ARCHIVE, Kind.STORAGE, placed.clinic, priority=1)
    held = {name: each.held.task for group in (state.running, state.waiting, state.parked) for name, each in group.items()}
    for name, task in held.items():
        if wanted.get(name) != task and not name.startswith(LOOK):
            yield Withdrawn(name, now)
    for name, task in wanted.items():
        if held.get(name) != task:
            yield Submitted(task, now)


def _wanted(placed: Placed, seen: Seen) -> Iterator[Task]:
    """What there is to do for one device."""
    name, told, clinic = seen.name, placed.told.get(seen.name, Told()), placed.clinic
    yield from _images(placed, name)
    for serial in seen.rounds:
        needs = Needs(Amount(), (CUDA, CPU), data=frozenset((_cases(name),)))
        yield Task(f"round:{name}:{serial}", Kind.COMPUTE, clinic, needs)
    if told.studies and seen.known is not None and seen.known.is_alive:
        yield Task(f"studies:{name}", Kind.STORAGE, clinic, priority=2)


def _images(placed: Placed, name: str) -> Iterator[Task]:
    """The whole device while an image waits, so that all else gives way; nothing of it while none does."""
    told = placed.told.get(name, Told())
    if told.model:
        amount = Amount(told.capacity.cores_milli if told.waits else 0)
        needs = Needs(amount, (CUDA, CPU), (told.precision,), data=frozenset((_scanner(name),)))
        yield Task(f"images:{name}", Kind.REAL_TIME, placed.clinic, needs)


def _release(package: str) -> str:
    return f"release:{package}"


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
        if name in told and standing.is_lost and was is not None and not was.is_lost and (studies := told[name].studies):
            yield f"{count(studies, 'study waits', 'studies wait')} at {name} until it is heard again"
    for name in sorted(after.waiting):
        if name not in before.waiting and not name.startswith(LOOK):
            yield f"{name} runs nowhere now: {after.waiting[name].why}"
    for name in sorted(before.waiting.keys() & after.running.keys()):
        if name.startswith(LOOK):
            continue
        yield f"{name} runs on {', '.join(after.running[name].nodes)} again"
