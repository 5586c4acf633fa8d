"""The steps of a device's two slots: `apply` takes what they are and what happened, and says what they are next. Pure."""

from __future__ import annotations

from dataclasses import replace

from fedmed.releases.agreeing import Agreement, Anchor, may_install
from fedmed.releases.channel import Release
from fedmed.releases.slots import (
    MOST_BANNED,
    SLOTS,
    Agreed,
    Beside,
    Booted,
    Content,
    Event,
    Evidence,
    Examine,
    Examined,
    Failed,
    Fetch,
    Filled,
    Instruction,
    Limits,
    Observed,
    Phase,
    Raise,
    Run,
    Slots,
    Tell,
)

Step = tuple[Slots, tuple[Instruction, ...]]


def apply(slots: Slots, event: Event, limits: Limits) -> Step:
    """The next state, and what is to be done."""
    if isinstance(event, Booted):
        return _booted(slots, event.damaged, limits)
    if isinstance(event, Agreed):
        return _agreed(slots, event.agreement, event.anchor)
    if isinstance(event, Filled):
        return _filled(slots, event.slot)
    if isinstance(event, Examined):
        return _tested(slots, event.slot, event.fault)
    if isinstance(event, Observed):
        return _observed(slots, event.slot, event.seen, limits)
    if isinstance(event, Failed):
        return _failed(slots, event.slot, event.why)
    return replace(slots, clean=True), ()


def _booted(slots: Slots, damaged: frozenset[int], limits: Limits) -> Step:
    told: tuple[Instruction, ...] = ()
    crashed = not slots.clean
    slots = replace(slots, clean=False, evidence=Evidence(), beside=Evidence())
    for slot in sorted(damaged):
        slots, more = _lost(slots, slot)
        told += more
    for slot in SLOTS:
        content = slots.contents[slot]
        testing = content is not None and content.phase is Phase.TESTING
        if crashed and (testing or slot in (slots.trial, slots.shadow)):
            slots, more = _ended_with_process(slots, slot, limits)
            told += more
        elif content is not None and testing:
            slots = slots.with_content(slot, replace(content, phase=Phase.WHOLE))
    return slots, (*told, Run(slots.running), Beside(slots.shadow))


def _lost(slots: Slots, slot: int) -> Step:
    """A damaged slot runs nothing; the other one does, where it has run before."""
    lost, other = slots.contents[slot], slots.contents[1 - slot]
    was_active = slots.active == slot
    slots = _stop(slots.with_content(slot, None), slot)
    if was_active:
        returns = other is not None and other.phase is Phase.PROVEN
        slots = replace(_stop(slots, 1 - slot), active=1 - slot) if returns else replace(slots, active=None)
    return slots, (Tell(lost.counter, "failed", "its files are damaged on this device"),) if lost else ()


def _ended_with_process(slots: Slots, slot: int, limits: Limits) -> Step:
    content = slots.contents[slot]
    assert content is not None
    count = dict(slots.crashes).get(content.counter, 0) + 1
    slots = replace(slots, crashes=tuple(sorted({**dict(slots.crashes), content.counter: count}.items())))
    if count >= limits.crashes:
        return _ban(slots, slot, f"the process ended with it, {count} times")
    if content.phase is Phase.TESTING:
        slots = slots.with_content(slot, replace(content, phase=Phase.WHOLE))
    return _stop(slots, slot), (Tell(content.counter, "failed", "the process ended with it; the one before runs"),)


def _agreed(slots: Slots, agreement: Agreement, anchor: Anchor) -> Step:
    slots, told = _end(slots, agreement)
    if slots.trial is not None:
        return slots, told  # both slots are needed until it has ended
    goal, is_active = _goal(slots, agreement, anchor)
    idle = _idle(slots, goal)
    kept = slots.contents[idle]
    if slots.shadow is not None and (goal is None or kept is None or goal.counter != kept.counter):
        slots, told = _stop(slots, idle), (*told, Beside(None))
    if goal is None:
        return slots, told
    if kept is None or (kept.counter, kept.manifest) != (goal.counter, goal.manifest):
        content = Content(goal.counter, goal.manifest, goal.length, goal.package)
        return slots.with_content(idle, content), (*told, Fetch(idle, content))
    if kept.phase is Phase.FILLING:
        return slots, (*told, Fetch(idle, kept))
    if kept.phase is Phase.WHOLE:
        return _examine(slots, idle, kept, told)
    if kept.phase is Phase.TESTING:
        return slots, told
    slots, more = _begin(slots, idle, kept, is_active)
    return slots, (*told, *more)


def _idle(slots: Slots, goal: Release | None) -> int:
    """The slot that does not run; where neither does, the one that holds the goal already."""
    if slots.active is not None:
        return 1 - slots.active
    found = slots.slot_of(goal.counter) if goal is not None else None
    return found or 0


def _examine(slots: Slots, slot: int, content: Content, told: tuple[Instruction, ...] = ()) -> Step:
    return slots.with_content(slot, replace(content, phase=Phase.TESTING)), (*told, Examine(slot))


def _end(slots: Slots, agreement: Agreement) -> Step:
    """Stop what was rolled back, or is not signed by both any more."""
    told: tuple[Instruction, ...] = ()
    trial, active = slots.content(slots.trial), slots.content(slots.active)
    if trial is not None and trial.counter not in agreement.standing:
        assert slots.trial is not None
        slots = _stop(slots, slots.trial)
        told += (Tell(trial.counter, "done", "rolled back while on trial"), Run(slots.running))
    if active is None or active.counter not in agreement.ended or slots.trial is not None:
        return slots, told
    assert slots.active is not None
    other = slots.contents[1 - slots.active]
    if other is not None and other.phase is Phase.PROVEN and other.counter in agreement.standing:
        slots = replace(_stop(slots, 1 - slots.active), active=1 - slots.active)
        return slots, (*told, Tell(active.counter, "done", f"rolled back; {other.counter} runs again"), Run(slots.active))
    return slots, (*told, Tell(active.counter, "failed", "rolled back, and runs on until there is one to return to"))


def _goal(slots: Slots, agreement: Agreement, anchor: Anchor) -> tuple[Release | None, bool]:
    """The release to bring onto this device next, and whether as the active one."""
    failed, active = {counter for counter, _ in slots.banned}, slots.content(slots.active)
    for one, is_active in ((agreement.active, True), (agreement.shadow, False)):
        if one is None or one.counter in failed or not may_install(anchor, agreement, one.counter):
            continue
        if active is not None and active.counter not in agreement.ended and one.counter <= active.counter:
            continue  # what runs is as new
        if not is_active and active is None:
            continue  # there is nothing that it could run beside
        return one, is_active
    return None, False


def _begin(slots: Slots, slot: int, content: Content, is_active: bool) -> Step:
    """On the disk before it runs: should the process end with it, the next one reads so there."""
    if is_active:
        ends = (Beside(None),) if slots.shadow is not None else ()
        slots = replace(slots, trial=slot, shadow=None, evidence=Evidence())
        return slots, (*ends, Tell(content.counter, "done", "on trial"), Run(slot))
    if slots.shadow == slot:
        return slots, ()
    told = Tell(content.counter, "done", "runs beside the active one")
    return replace(slots, shadow=slot, beside=Evidence()), (told, Beside(slot))


def _filled(slots: Slots, slot: int) -> Step:
    content = slots.contents[slot]
    if content is None or content.phase is not Phase.FILLING:
        return slots, ()
    return _examine(slots, slot, content)


def _tested(slots: Slots, slot: int, fault: str) -> Step:
    content = slots.contents[slot]
    if content is None or content.phase is not Phase.TESTING:
        return slots, ()
    if fault:
        return _ban(slots, slot, f"its self-test failed: {fault}")
    return slots.with_content(slot, replace(content, phase=Phase.TESTED)), ()


def _observed(slots: Slots, slot: int, seen: Evidence, limits: Limits) -> Step:
    if slot == slots.shadow:
        slots = replace(slots, beside=slots.beside.plus(seen))
        fault = limits.fault(slots.beside)
        return _failed(slots, slot, fault) if fault else (slots, ())
    if slot != slots.trial:
        return slots, ()
    slots = replace(slots, evidence=slots.evidence.plus(seen))
    if fault := limits.fault(slots.evidence):
        return _failed(slots, slot, fault)
    return _committed(slots, slot) if limits.is_over(slots.evidence) else (slots, ())


def _failed(slots: Slots, slot: int, why: str) -> Step:
    if slot == slots.shadow:
        slots, told = _ban(slots, slot, f"beside the active one: {why}")
        return slots, (*told, Beside(None))
    if slot != slots.trial:
        return slots, ()
    slots, told = _ban(slots, slot, f"on trial: {why}")
    return slots, (*told, Run(slots.running))


def _committed(slots: Slots, slot: int) -> Step:
    content = slots.contents[slot]
    assert content is not None
    slots = slots.with_content(slot, replace(content, phase=Phase.PROVEN))
    crashes = tuple(one for one in slots.crashes if one[0] > content.counter)
    slots = replace(slots, active=slot, trial=None, crashes=crashes)
    return slots, (Raise(content.counter), Tell(content.counter, "done", "committed"))


def _ban(slots: Slots, slot: int, why: str) -> Step:
    content = slots.contents[slot]
    assert content is not None
    banned = (*slots.banned, (content.counter, why))[-MOST_BANNED:]
    slots = replace(_stop(slots.with_content(slot, None), slot), banned=banned)
    return slots, (Tell(content.counter, "failed", why),)


def _stop(slots: Slots, slot: int) -> Slots:
    """Neither on trial nor beside the active one."""
    trial, shadow = None if slots.trial == slot else slots.trial, None if slots.shadow == slot else slots.shadow
    return replace(slots, trial=trial, shadow=shadow)
