from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fedmed.releases.agreeing import Agreement, Anchor
from fedmed.releases.channel import Release, State
from fedmed.releases.slots import (
    SLOTS,
    Agreed,
    Booted,
    Content,
    Evidence,
    Examine,
    Examined,
    Fetch,
    Filled,
    Limits,
    Observed,
    Phase,
    Raise,
    Run,
    Slots,
    Stopped,
)
from fedmed.releases.stepping import apply

LIMITS = Limits(window_s=10, least_results=5)


def release(counter: int) -> Release:
    return Release(counter, "m", "1", "p" * 64, f"{counter:064d}", 10, State.ACTIVE, 0)


def agreement(active: int | None = None, shadow: int | None = None, ended: frozenset[int] = frozenset()) -> Agreement:
    standing = frozenset(range(1, (active or 0) + 1)) - ended
    return Agreement(release(active) if active else None, release(shadow) if shadow else None, standing, ended)


class Machine(RuleBasedStateMachine):
    """Authorities that release, roll back and let run beside; a device that is killed, cut off, and fails."""

    def __init__(self) -> None:
        super().__init__()
        self.slots, self.disk, self.anchor = Slots(clean=False), Slots(clean=False), Anchor()
        self.last, self.ended, self.signed = 0, frozenset[int](), set[int]()
        self.shadowed: int | None = None
        self.runs: int | None = None
        self.passed: set[int] = set()
        self.whole: set[int] = set()
        self.committed: set[int] = set()

    def happened(self, event) -> None:
        before = self.anchor.counter
        self.slots, todo = apply(self.slots, event, LIMITS)
        for each in todo:
            if isinstance(each, Raise):
                self.anchor = replace(self.anchor, counter=max(before, each.counter))
        self.committed |= {each.counter for each in todo if isinstance(each, Raise)}
        self.disk = replace(self.slots, evidence=Evidence(), beside=Evidence())
        for each in todo:
            if isinstance(each, Run):
                self.runs = each.slot
            if isinstance(each, Fetch):
                assert each.slot != self.slots.running
                assert each.content.counter in self.signed
                self.passed.discard(each.content.counter)
        assert self.anchor.counter >= before

    @rule()
    def the_center_releases(self) -> None:
        self.last += 1
        self.shadowed = None

    @rule()
    def the_center_lets_one_run_beside(self) -> None:
        self.shadowed = self.last + 1

    @precondition(lambda self: self.shadowed is not None)
    @rule()
    def the_center_promotes(self) -> None:
        self.last, self.shadowed = self.shadowed, None

    @rule(back=st.integers(0, 2))
    def one_is_rolled_back(self, back) -> None:
        if self.last - back > 0:
            self.ended |= {self.last - back}

    @rule(commits=st.booleans())
    def all_goes_well(self, commits) -> None:
        """What a device does in an hour in which nothing is wrong; drawn rule by rule it would hardly ever come so far."""
        for _ in range(3):
            self.heartbeat()
            for slot in SLOTS:
                self.filled(slot)
                self.examined(slot, "")
        for slot in {self.slots.trial, self.slots.shadow} - {None}:
            self.observed(slot, 0, 20 if commits else 1)

    @rule()
    def heartbeat(self) -> None:
        standing = [counter for counter in range(1, self.last + 1) if counter not in self.ended]
        said = agreement(max(standing, default=None), self.shadowed, self.ended)
        self.signed |= set(standing) | ({self.shadowed} if self.shadowed else set())
        self.happened(Agreed(replace(said, standing=frozenset(standing)), self.anchor))

    @rule(slot=st.sampled_from(SLOTS))
    def filled(self, slot) -> None:
        content = self.slots.contents[slot]
        if content is not None and content.phase is Phase.FILLING:
            self.whole.add(content.counter)
            self.happened(Filled(slot))

    @rule(slot=st.sampled_from(SLOTS), fault=st.sampled_from(["", "", "", "wrong"]))
    def examined(self, slot, fault) -> None:
        content = self.slots.contents[slot]
        if content is not None and content.phase is Phase.TESTING and not fault:
            self.passed.add(content.counter)
        self.happened(Examined(slot, fault))

    @rule(slot=st.sampled_from(SLOTS), bad=st.sampled_from([0, 0, 0, 6]), seconds=st.sampled_from([1, 20]))
    def observed(self, slot, bad, seconds) -> None:
        self.happened(Observed(slot, Evidence(seconds, 6, bad, 0, 6, 0)))

    @rule(damaged=st.sampled_from([(), (), (), (0,), (1,), (0, 1)]))
    def killed(self, damaged) -> None:
        self.slots = self.disk
        self.happened(Booted(frozenset(damaged)))

    @rule(slot=st.sampled_from(SLOTS))
    def an_answer_comes_too_late(self, slot) -> None:
        content = self.slots.contents[slot]
        if content is None or content.phase is not Phase.FILLING:
            self.happened(Filled(slot))
        if content is None or content.phase is not Phase.TESTING:
            self.happened(Examined(slot, ""))

    @rule()
    def stopped(self) -> None:
        self.happened(Stopped())
        self.killed(())

    @invariant()
    def one_runs_and_it_was_signed_and_tested(self) -> None:
        slots = self.slots
        assert self.runs == slots.running
        assert slots.shadow is None or slots.shadow not in (slots.active, slots.trial)
        assert slots.trial is None or slots.trial != slots.active
        for slot in {slots.active, slots.trial, slots.shadow} - {None}:
            content = slots.contents[slot]
            assert content is not None
            assert content.counter in self.signed & self.passed & self.whole
            assert content.phase in (Phase.TESTED, Phase.PROVEN)
        if slots.active is not None:
            assert slots.contents[slots.active].phase is Phase.PROVEN
            assert slots.contents[slots.active].counter in self.committed

    @invariant()
    def what_failed_here_is_nowhere(self) -> None:
        for counter, _ in self.slots.banned:
            assert self.slots.slot_of(counter) is None


Machine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestSlots = Machine.TestCase


def test_nothing_is_taken_below_the_anchor():
    slots, todo = apply(Slots(clean=False), Agreed(agreement(active=3), Anchor(counter=4)), LIMITS)
    assert (slots.contents, todo) == ((None, None), ())
    slots, todo = apply(Slots(clean=False), Agreed(agreement(active=3, ended=frozenset({4})), Anchor(counter=4)), LIMITS)
    assert [type(each) for each in todo] == [Fetch]


def test_a_release_that_is_no_longer_signed_before_it_was_tested_is_not_begun():
    content = Content(2, f"{2:064d}", 10, "p" * 64, Phase.TESTING)
    proven = Content(1, f"{1:064d}", 10, "p" * 64, Phase.PROVEN)
    slots, _ = apply(Slots((proven, content), 0, clean=False), Examined(1), LIMITS)
    assert slots.contents[1].phase is Phase.TESTED
    slots, todo = apply(slots, Agreed(agreement(active=1), Anchor(1)), LIMITS)
    assert (slots.running, todo) == (0, ())


def test_a_self_test_that_kills_the_process_is_not_run_for_ever():
    content = Content(2, f"{2:064d}", 10, "p" * 64, Phase.TESTING)
    slots, _ = apply(Slots((None, content), clean=False), Booted(), LIMITS)
    assert (slots.contents[1].phase, slots.crashes) == (Phase.WHOLE, ((2, 1),))
    slots, todo = apply(slots, Agreed(agreement(active=2), Anchor()), LIMITS)
    assert todo == (Examine(1),)
    slots, _ = apply(slots, Booted(), LIMITS)
    assert (slots.contents, [counter for counter, _ in slots.banned]) == ((None, None), [2])


@pytest.mark.parametrize(
    ("seen", "fault"),
    [
        (Evidence(results=5, errors=1), "1 errors in 5"),
        (Evidence(results=1000, errors=50), ""),
        (Evidence(results=1000, errors=51), "51 errors in 1000; allowed are 5%"),
        (Evidence(results=100, slow=6), "6 slow results in 100"),
        (Evidence(results=10, compared=10, disagreed=3), "3 disagreements in 10; allowed are 20%"),
        (Evidence(), ""),
    ],
)
def test_what_is_too_much(seen, fault):
    assert LIMITS.fault(seen).startswith(fault)
    assert bool(LIMITS.fault(seen)) == bool(fault)


def test_a_quiet_device_waits_for_results():
    assert not LIMITS.is_over(Evidence(seconds=1e6, results=4))
    assert not LIMITS.is_over(Evidence(seconds=9.9, results=500))
    assert LIMITS.is_over(Evidence(seconds=10, results=5))


def test_a_damaged_slot_hands_over_to_none_that_never_ran_here():
    proven = Content(1, f"{1:064d}", 10, "p" * 64, Phase.PROVEN)
    for phase in (Phase.FILLING, Phase.WHOLE, Phase.TESTED):
        other = Content(2, f"{2:064d}", 10, "p" * 64, phase)
        slots, todo = apply(Slots((proven, other), 0), Booted(frozenset({0})), LIMITS)
        assert (slots.running, slots.contents) == (None, (None, other))
        assert Run(None) in todo
    slots, todo = apply(Slots((proven, replace(proven, counter=2)), 0), Booted(frozenset({0})), LIMITS)
    assert slots.running == 1
