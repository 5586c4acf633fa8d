"""The placement as a pure state machine: `step(state, event)` is the new state and what is to be done about it.

The rules it keeps, each against a way in which a cluster has gone wrong:
- a task is waiting, running, parked or ended, and never two of them: nothing is lost when nodes die, nothing is done twice;
- every attempt has a number, and only the newest one's result is taken, once (a fencing token: a node that comes back late
  with work that was given to another is told to stop, and what it sends is dropped);
- a node that comes back before its work was given to another goes on with it;
- nodes for a task are looked up by its clinic (`State.members`), so that there is no path to a node outside;
- what runs is pushed aside only by what outranked it when it started, and waiting counts as rank: nobody waits for ever.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

from fedmed.placement.events import (
    MOST_WORDS,
    Claim,
    Drop,
    Event,
    Failed,
    Finished,
    Heard,
    Instruction,
    Isolated,
    Joined,
    Left,
    Restored,
    Retried,
    Stop,
    Submitted,
    Take,
    Tell,
    Ticked,
    Withdrawn,
    Yielded,
)
from fedmed.placement.moving import Work
from fedmed.placement.nodes import Standing
from fedmed.placement.state import Grant, Held, State, Waiting


def step(state: State, event: Event) -> tuple[State, tuple[Instruction, ...]]:
    """The state after `event`, and what is to be done about it."""
    return steps(state, (event,))


def steps(state: State, events: Iterable[Event]) -> tuple[State, tuple[Instruction, ...]]:
    """The state after several events, with one copy of the state for all of them."""
    work = Work(state.copied())
    for event in events:
        work.state = replace(work.state, now=max(work.state.now, event.at))
        before = set(work.state.running) if isinstance(event, Ticked) else set()
        _apply(work, event)
        work.fill()
        if isinstance(event, Ticked):
            _tell_stranded(work, before)
    return work.state, tuple(work.said)


def _apply(work: Work, event: Event) -> None:
    match event:
        case Joined():
            _join(work, event)
        case Left():
            _leave(work, event.node)
        case Heard():
            _hear(work, event)
        case Isolated() | Restored():
            _isolate(work, event)
        case Submitted():
            _submit(work, event)
        case Withdrawn():
            _withdraw(work, event.task)
        case Retried():
            _retry(work, event.task)
        case Finished():
            _finish(work, event)
        case Failed():
            _fail(work, event)
        case Yielded():
            _yielded(work, event)
        case Ticked():
            _tick(work)


# Nodes.


def _join(work: Work, event: Joined) -> None:
    before = work.state.nodes.get(event.node.name)
    if before is not None and before.node == event.node:
        return
    if before is not None:
        _leave(work, event.node.name)
    work.count_in(Standing(event.node, event.at))


def _leave(work: Work, name: str) -> None:
    if name in work.state.nodes:
        _clear(work, name, f"{name} left")
        work.count_out(name)


def _clear(work: Work, name: str, why: str) -> None:
    """Whatever runs on a node goes elsewhere."""
    if (keeper := work.state.keeps.get(name)) is not None:
        work.keep_no_more(keeper)
    for task in work.state.on.get(name, ()):
        work.give_way(work.state.running[task], why)


def _isolate(work: Work, event: Isolated | Restored) -> None:
    standing = work.state.nodes.get(event.node)
    if standing is None:
        return
    why = event.why[:MOST_WORDS] if isinstance(event, Isolated) else ""
    work.amend(event.node, replace(standing, isolated=why))
    work.stirred.add(event.node)
    if why and not standing.isolated:
        work.say(Tell(event.node, f"is isolated: {why}"))
        _clear(work, event.node, f"{event.node} was isolated")


def _hear(work: Work, event: Heard) -> None:
    standing = work.state.nodes.get(event.node)
    if standing is None:
        work.say(Tell(event.node[:MOST_WORDS], "sends heartbeats and is not enrolled; enrol it, or take it off the network"))
        return
    if standing.is_lost:
        work.say(Tell(event.node, "is back"))
    if standing.is_lost or standing.live.other != event.live.other:
        work.stirred.add(event.node)
    work.amend(event.node, replace(standing, heard=event.at, live=event.live, is_lost=False))
    for claim in event.running:
        _reconcile(work, event.node, claim)
    claimed = {claim.task for claim in event.running}
    for task in work.state.on.get(event.node, ()):
        grant = work.state.running[task]
        if task not in claimed and event.node not in grant.done and grant.started <= event.at - work.state.rules.settle_s:
            _failed(work, grant, event.node, f"{event.node} no longer runs it")


def _reconcile(work: Work, node: str, claim: Claim) -> None:
    """What a node says it runs, against what it was given."""
    state = work.state
    grant = state.running.get(claim.task)
    if grant is not None and grant.held.attempt == claim.attempt and node in grant.nodes:
        if claim.progress and claim.progress != grant.held.progress:
            held = replace(grant.held, progress=claim.progress[:MOST_WORDS], failures=0)
            state.running[claim.task] = replace(grant, held=held)
        return
    waiting = state.waiting.get(claim.task)
    if waiting is not None and waiting.not_before > state.now and waiting.held.attempt == claim.attempt:
        return  # it is giving way, and has its time for it
    if waiting is not None and (last := _newest(waiting, node, claim.attempt)) and not waiting.is_told:
        held = replace(waiting.held, progress=claim.progress[:MOST_WORDS] or waiting.held.progress)
        if work.take_up(replace(waiting, held=held), last):
            return
    work.say(Stop(node, claim.task[:MOST_WORDS], claim.attempt, "it was given to another, or is over"))


def _newest(waiting: Waiting, node: str, attempt: int) -> Grant | None:
    """Where a waiting task ran last, if that was this attempt on this node."""
    last = waiting.last
    return last if last is not None and last.nodes == (node,) and waiting.held.attempt == attempt else None


def _tick(work: Work) -> None:
    state = work.state
    for name, standing in list(state.nodes.items()):
        silent = state.now - standing.heard
        if not standing.is_lost and silent > state.rules.lost_after_s:
            work.amend(name, replace(standing, is_lost=True))
            work.say(Tell(name, f"was not heard of for {silent:.0f} s: its tasks move where they may"))
            _clear(work, name, f"{name} was lost")
    work.cool()
    work.is_all = True  # one that has waited long enough may have nodes kept for it
    for waiting in [each for each in state.waiting.values() if _is_due(each.held, state.now)]:
        state.waiting[waiting.held.task.name] = replace(waiting, held=_told_late(work, waiting.held))
    for grant in [each for each in state.running.values() if _is_due(each.held, state.now)]:
        state.running[grant.held.task.name] = replace(grant, held=_told_late(work, grant.held))


def _tell_stranded(work: Work, ran: set[str]) -> None:
    """What ran before nodes were lost and can go nowhere now is told, with why."""
    for name in sorted(ran & work.state.waiting.keys()):
        waiting = work.state.waiting[name]
        if waiting.not_before <= work.state.now:
            work.say(Tell(name, f"waits with its progress kept: {waiting.why}"))


def _is_due(held: Held, now: float) -> bool:
    return held.task.deadline is not None and not held.is_late and now > held.task.deadline


def _told_late(work: Work, held: Held) -> Held:
    work.say(Tell(held.task.name, "has missed its deadline; it goes on"))
    return replace(held, is_late=True)


# Tasks.


def _submit(work: Work, event: Submitted) -> None:
    state, task = work.state, event.task
    if state.knows(task.name):
        work.say(Drop("", task.name, 0, "a task of this name is, or was, here; give another name"))
        return
    if len(state.waiting) + len(state.running) + len(state.parked) >= state.rules.most_tasks:
        work.say(Drop("", task.name, 0, f"there are {state.rules.most_tasks} tasks; send it again when some are over"))
        return
    held = Held(task, state.now, event.attempt)
    work.queue(Waiting(held))
    if state.queues[held.shape][0] != held.key(state.rules.ageing_s):
        work.fresh.discard(held.shape)  # one like it waits already


def _withdraw(work: Work, name: str) -> None:
    state = work.state
    if name in state.running:
        grant = state.running[name]
        work.stop(grant, "it was withdrawn")
        work.end(grant.held)
    elif name in state.waiting:
        work.end(work.unqueue(name).held)
    elif name in state.parked:
        work.end(state.parked.pop(name).held)


def _retry(work: Work, name: str) -> None:
    if (parked := work.state.parked.pop(name, None)) is not None:
        work.queue(Waiting(replace(parked.held, failures=0, first_rung=0, avoid=frozenset())))


def _running(work: Work, event: Finished | Failed | Yielded) -> Grant | None:
    """The grant that an event speaks of, if it is the newest attempt and this node has not answered yet."""
    grant = work.state.running.get(event.task)
    if grant is None or grant.held.attempt != event.attempt or event.node not in grant.nodes or event.node in grant.done:
        return None
    return grant


def _drop(work: Work, event: Finished | Failed | Yielded) -> None:
    why = "another attempt was given out, or it is over"
    work.say(Drop(event.node[:MOST_WORDS], event.task[:MOST_WORDS], event.attempt, why))


def _finish(work: Work, event: Finished) -> None:
    taken = Take(event.node, event.task, event.attempt)
    if (grant := _running(work, event)) is not None:
        grant = replace(grant, done=grant.done | {event.node})
        work.state.running[event.task] = grant
        if grant.done == set(grant.nodes):
            work.say(*(replace(taken, node=node) for node in grant.nodes))
            work.free(grant)
            work.end(grant.held)
        return
    waiting = work.state.waiting.get(event.task)
    standing = work.state.nodes.get(event.node)
    sound = standing is not None and not standing.isolated
    if waiting is not None and sound and _newest(waiting, event.node, event.attempt):
        work.say(taken)
        work.end(work.unqueue(event.task).held)
    else:
        _drop(work, event)


def _fail(work: Work, event: Failed) -> None:
    grant = _running(work, event)
    if grant is None:
        _drop(work, event)
    else:
        _failed(work, grant, event.node, event.why[:MOST_WORDS], event.lacked_memory)


def _failed(work: Work, grant: Grant, node: str, why: str, lacked_memory: bool = False) -> None:
    """Back to the queue a rung lower where memory was short, else with one failure more; a person is asked at last."""
    held = grant.held
    rungs = len(list(held.task.needs.rungs()))
    if lacked_memory and held.first_rung + 1 < rungs:
        at = list(held.task.needs.rungs()).index(grant.rung)
        held = replace(held, first_rung=min(at + 1, rungs - 1))
    else:
        held = replace(held, failures=held.failures + 1, avoid=held.avoid | {node})
    work.stop(grant, f"it failed on {node}", but=node)
    if held.failures >= work.state.rules.most_failures:
        work.park(held, f"failed {held.failures} times, last on {node}: {why}")
    else:
        work.queue(Waiting(held, f"failed on {node}: {why}"))


def _yielded(work: Work, event: Yielded) -> None:
    progress = event.progress[:MOST_WORDS]
    if (grant := _running(work, event)) is not None:
        held = replace(grant.held, progress=progress or grant.held.progress)
        work.stop(grant, f"{event.node} gave it back", but=event.node)
        work.queue(Waiting(held, f"{event.node} gave it back"))
        return
    waiting = work.state.waiting.get(event.task)
    if (
        waiting is None
        or waiting.held.attempt != event.attempt
        or waiting.last is None
        or event.node not in waiting.last.nodes
    ):
        _drop(work, event)
        return
    held = replace(waiting.held, progress=progress or waiting.held.progress)
    if waiting.not_before > work.state.now:
        work.queue(replace(waiting, held=held, not_before=-math.inf))
    else:
        work.state.waiting[event.task] = replace(waiting, held=held)
