from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from fedmed.edge.machine import (
    BEAT_S,
    LONGEST_REST_S,
    SETTLED_S,
    SOON_FOR_S,
    SOON_S,
    Beat,
    Defer,
    Done,
    Event,
    Failed,
    Found,
    Halt,
    Heard,
    Kept,
    Lane,
    Look,
    Say,
    State,
    Task,
    Ticked,
    Told,
    Train,
    Trained,
    Unheard,
    Work,
    rest,
    step,
)


@dataclass
class Agent:
    """The machine, its clock, and what it said last."""

    state: State = field(default_factory=State)
    now: float = 0.0

    def hears(self, event: Event, later: float = 0.0) -> list:
        self.now += later
        self.state, instructions = step(self.state, event, self.now)
        return list(instructions)


def begun(heard: bool = True) -> Agent:
    """Up, the hub heard, all lanes found nothing."""
    agent = Agent()
    assert agent.hears(Ticked()) == [Beat(), Look(Lane.WORK), Look(Lane.PACS), Look(Lane.SERIES)]
    if heard:
        assert agent.hears(Heard()) == [Say("the hub answers"), Look(Lane.HUB), Look(Lane.BESIDE)]
    for lane in Lane if heard else (Lane.WORK, Lane.PACS, Lane.SERIES):
        assert agent.hears(Found(lane, None)) == []
    return agent


def test_an_image_is_worked_on_and_its_result_sent_while_the_next_is_looked_at():
    agent = begun()
    assert agent.hears(Kept("instance")) == [Look(Lane.WORK)]
    assert agent.hears(Found(Lane.WORK, 1)) == [Work(Lane.WORK, 1)]
    assert agent.hears(Kept("instance")) == []  # one at a time
    assert agent.hears(Kept("result")) == [Look(Lane.PACS)]
    assert agent.hears(Done(Lane.WORK)) == [Look(Lane.WORK)]
    assert agent.hears(Found(Lane.PACS, 2)) == [Work(Lane.PACS, 2)]
    assert agent.hears(Found(Lane.WORK, 3)) == [Work(Lane.WORK, 3)]


def test_without_the_hub_results_go_and_studies_wait_until_it_is_back():
    agent = begun(heard=False)
    assert agent.hears(Unheard("no route")) == [Say("the hub is not heard: no route")]
    assert agent.hears(Kept("study")) == []
    assert agent.hears(Kept("result")) == [Look(Lane.PACS)]
    assert agent.hears(Ticked(), later=rest(1)) == [Beat()]
    assert agent.hears(Unheard("no route")) == []  # said once
    assert agent.hears(Ticked(), later=rest(2)) == [Beat()]
    assert agent.hears(Heard()) == [Say("the hub answers"), Look(Lane.HUB), Look(Lane.BESIDE)]
    assert agent.hears(Ticked(), later=BEAT_S) == [Beat()]


def test_a_hub_that_is_away_for_a_week_is_called_each_minute():
    agent = begun(heard=False)
    agent.hears(Unheard("gone"))
    calls = 0
    for _ in range(7 * 24 * 60):
        if Beat() in agent.hears(Ticked(), later=LONGEST_REST_S):
            calls += 1
            agent.hears(Unheard("gone"))
    assert calls == 7 * 24 * 60


def test_what_fails_for_now_is_put_off_and_its_lane_rests_ever_longer():
    agent = begun()
    agent.hears(Kept("result"))
    for attempt in (1, 2, 3):
        agent.hears(Found(Lane.PACS, 5))
        said = agent.hears(Failed(Lane.PACS, 5, "refused", is_lasting=False))
        assert said[0] == Defer(5, agent.now + rest(attempt), "refused")
        assert (Say("refused") in said) == (attempt == 1)
        assert Look(Lane.PACS) not in agent.hears(Ticked(), later=rest(attempt) / 2)
        assert Look(Lane.PACS) in agent.hears(Ticked(), later=rest(attempt))
    agent.hears(Found(Lane.PACS, 5))
    assert agent.hears(Done(Lane.PACS)) == [Look(Lane.PACS)]
    assert agent.state.places[Lane.PACS].failures == 0


def test_what_can_never_work_is_set_aside_and_the_lane_goes_on():
    agent = begun()
    agent.hears(Kept("instance"))
    agent.hears(Found(Lane.WORK, 7))
    said = agent.hears(Failed(Lane.WORK, 7, "no image", is_lasting=True))
    assert said == [Say("no image"), Look(Lane.WORK)]


def test_a_look_that_the_disk_refuses_is_told_once_and_made_again_ever_later():
    agent = begun()
    agent.hears(Kept("instance"))
    for attempt in (1, 2, 3):
        said = agent.hears(Failed(Lane.WORK, None, "the disk is full"))
        assert said == ([Say("the disk is full")] if attempt == 1 else [])
        assert agent.hears(Kept("instance")) == []
        assert Look(Lane.WORK) not in agent.hears(Ticked(), later=rest(attempt) / 2)
        assert Look(Lane.WORK) in agent.hears(Ticked(), later=rest(attempt) / 2)
    assert agent.hears(Found(Lane.WORK, None)) == []
    agent.hears(Kept("instance"))
    assert agent.hears(Failed(Lane.WORK, None, "the disk is full")) == [Say("the disk is full")]  # another time


def test_what_may_not_go_yet_is_looked_for_when_it_may():
    agent = begun()
    agent.hears(Kept("study"))
    agent.hears(Found(Lane.HUB, None, again_at=500.0))
    assert Look(Lane.HUB) not in agent.hears(Ticked(), later=499.0)
    assert Look(Lane.HUB) in agent.hears(Ticked(), later=1.0)


def test_other_studies_leave_beside_the_first_and_a_line_that_fails_is_tried_by_one():
    agent = begun()
    assert agent.hears(Kept("study")) == [Look(Lane.HUB), Look(Lane.BESIDE)]
    assert agent.hears(Found(Lane.HUB, 1)) == [Work(Lane.HUB, 1)]
    assert agent.hears(Found(Lane.BESIDE, 2)) == [Work(Lane.BESIDE, 2)]
    assert agent.hears(Kept("update")) == []  # for one of them, which has its hands full
    assert agent.hears(Failed(Lane.HUB, 1, "cut", is_lasting=False)) == [Defer(1, agent.now + rest(1), "cut"), Say("cut")]
    assert agent.hears(Failed(Lane.BESIDE, 2, "cut", is_lasting=False)) == [
        Defer(2, agent.now + rest(1), "cut")
    ]  # said once
    assert agent.hears(Ticked(), later=rest(1)) == [Look(Lane.HUB)]
    assert agent.hears(Found(Lane.HUB, 1)) == [Work(Lane.HUB, 1)]
    assert agent.hears(Done(Lane.HUB)) == [Look(Lane.HUB), Look(Lane.BESIDE)]


def test_both_go_on_at_once_when_the_hub_is_back():
    agent = begun()
    for lane in (Lane.HUB, Lane.BESIDE):
        agent.hears(Kept("study"))
        agent.hears(Found(lane, 1))
    for lane in (Lane.HUB, Lane.BESIDE):
        agent.hears(Failed(lane, 1, "cut", is_lasting=False))
    agent.hears(Unheard("cut"))
    assert agent.hears(Heard()) == [Say("the hub answers"), Look(Lane.HUB), Look(Lane.BESIDE)]


def test_training_has_what_images_leave():
    agent = begun()
    assert agent.hears(Task("round-3"), later=1.0) == [Train("round-3")]
    said = agent.hears(Kept("instance"), later=1.0)
    assert said == [Look(Lane.WORK), Halt()]
    assert agent.hears(Trained(is_over=False)) == []
    agent.hears(Found(Lane.WORK, 1))
    agent.hears(Done(Lane.WORK))
    agent.hears(Found(Lane.WORK, None))
    assert Train("round-3") not in agent.hears(Ticked(), later=SETTLED_S / 2)
    assert Train("round-3") in agent.hears(Ticked(), later=SETTLED_S)
    agent.hears(Trained(is_over=True))
    assert agent.state.task is None


def test_after_an_answer_the_hub_is_asked_soon_and_again_until_the_round_must_be_over():
    """The next message of a round waits for the other devices: asking once more is not enough."""
    agent = begun()
    agent.hears(Task("round-3"), later=1.0)
    assert Beat() in agent.hears(Trained(is_over=True, follows=True))
    for _ in range(int(SOON_FOR_S / SOON_S) - 1):
        agent.hears(Heard(BEAT_S))
        assert Beat() not in agent.hears(Ticked(), later=SOON_S / 2)
        assert Beat() in agent.hears(Ticked(), later=SOON_S / 2)
    agent.hears(Heard(BEAT_S), later=SOON_S)
    assert Beat() not in agent.hears(Ticked(), later=BEAT_S / 2)
    assert Beat() in agent.hears(Ticked(), later=BEAT_S / 2)


def test_a_task_that_is_taken_back_is_halted():
    agent = begun()
    agent.hears(Task("round-3"), later=1.0)
    assert agent.hears(Task(None)) == [Halt()]
    assert agent.hears(Task(None)) == []
    assert agent.hears(Trained(is_over=False)) == []


def test_a_paused_agent_looks_at_no_image_and_still_sends_results():
    agent = begun()
    agent.hears(Told(is_paused=True))
    assert agent.hears(Kept("instance")) == []
    assert agent.hears(Kept("result")) == [Look(Lane.PACS)]
    assert agent.hears(Told(is_paused=False)) == [Look(Lane.WORK)]


def test_an_agent_that_takes_no_work_has_others_look_while_the_hub_is_there():
    agent = begun()
    assert agent.hears(Told(is_paused=True, asks_others=True)) == [Look(Lane.ELSEWHERE)]
    assert agent.hears(Found(Lane.ELSEWHERE, None)) == []
    assert agent.hears(Kept("instance")) == [Look(Lane.ELSEWHERE)]
    assert agent.hears(Found(Lane.ELSEWHERE, 4)) == [Work(Lane.ELSEWHERE, 4)]
    said = agent.hears(Failed(Lane.ELSEWHERE, 4, "no place", is_lasting=False))
    assert said == [Defer(4, agent.now + rest(1), "no place"), Say("no place")]
    agent.hears(Unheard("gone"))
    assert Look(Lane.ELSEWHERE) not in agent.hears(Ticked(), later=LONGEST_REST_S)
    agent.hears(Heard())
    assert agent.hears(Told(is_paused=False)) == [Look(Lane.WORK)]  # it is well again: what came back is looked at here


def test_with_too_many_images_others_look_at_studies_that_are_not_worked_on():
    agent = begun()
    agent.hears(Told(is_paused=False, asks_others=True))
    assert agent.hears(Kept("instance")) == [Look(Lane.WORK)]
    assert agent.hears(Found(Lane.WORK, 1)) == [Work(Lane.WORK, 1), Look(Lane.ELSEWHERE)]
    assert agent.hears(Found(Lane.ELSEWHERE, 9)) == [Work(Lane.ELSEWHERE, 9)]
    assert agent.hears(Done(Lane.ELSEWHERE)) == [Look(Lane.ELSEWHERE)]
    assert agent.hears(Found(Lane.ELSEWHERE, None)) == []
    assert agent.hears(Done(Lane.WORK)) == [Look(Lane.WORK)]
    assert agent.hears(Found(Lane.WORK, None)) == []


def test_an_image_of_a_series_has_it_looked_at_sooner_than_was_thought_and_training_waits_for_it():
    agent = begun()
    assert agent.hears(Kept("series")) == [Look(Lane.SERIES)]
    assert agent.hears(Found(Lane.SERIES, None, again_at=3600.0)) == []
    assert agent.hears(Ticked(), later=1.0) == []
    assert agent.hears(Kept("series")) == [Look(Lane.SERIES)]
    assert agent.hears(Kept("series")) == []  # while the spool is asked
    assert agent.hears(Found(Lane.SERIES, None, again_at=3600.0)) == [Look(Lane.SERIES)]
    assert agent.hears(Found(Lane.SERIES, 4)) == [Work(Lane.SERIES, 4)]
    assert Train("round-3") not in agent.hears(Task("round-3"), later=SETTLED_S)
    said = agent.hears(Failed(Lane.SERIES, 4, "no answer", is_lasting=False))
    assert said[:2] == [Defer(4, agent.now + rest(1), "no answer"), Say("no answer")]
    assert Look(Lane.SERIES) not in agent.hears(Kept("series"))


POOL = {Lane.ELSEWHERE: Lane.WORK, Lane.BESIDE: Lane.HUB}
"""Lanes that take from another's."""


class Anything(RuleBasedStateMachine):
    """A shell that answers instructions in any order, at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.agent, self.waiting, self.taken = Agent(), dict.fromkeys(Lane, 0), dict.fromkeys(Lane, 0)
        self.looking, self.working = dict[Lane, bool | None](), dict[Lane, int]()
        self.training = self.halting = self.beating = False
        self.next = 1

    def hear(self, event: Event, later: float = 0.0) -> None:
        for said in self.agent.hears(event, later):
            match said:
                case Look(lane):
                    assert lane not in self.looking
                    assert lane not in self.working
                    self.looking[lane] = None
                case Work(lane, number):
                    assert lane not in self.working
                    self.working[lane] = number
                case Train():
                    assert not self.training
                    self.training = True
                case Halt():
                    assert self.training
                    assert not self.halting
                    self.halting = True
                case Beat():
                    assert not self.beating
                    self.beating = True

    @rule(kind=st.sampled_from(["instance", "series", "result", "study", "update", "else"]))
    def kept(self, kind: str) -> None:
        lanes = {"instance": Lane.WORK, "series": Lane.SERIES, "result": Lane.PACS, "study": Lane.HUB, "update": Lane.HUB}
        if kind in lanes:
            self.waiting[lanes[kind]] += 1
        self.hear(Kept(kind))

    @rule(lane=st.sampled_from(Lane))
    def looked(self, lane: Lane) -> None:
        """The spool has looked; that is told later, and something else may come before."""
        if lane in self.looking and self.looking[lane] is None:
            pool = POOL.get(lane, lane)
            self.looking[lane] = self.waiting[pool] > self.taken[pool]
            self.taken[pool] += self.looking[lane] or 0

    @rule(lane=st.sampled_from(Lane))
    def answered(self, lane: Lane) -> None:
        if (has := self.looking.get(lane)) is not None:
            del self.looking[lane]
            self.next += has
            is_others = POOL.get(lane, lane) is Lane.HUB and self.waiting[Lane.HUB] > 0
            self.hear(Found(lane, self.next) if has else Found(lane, None, self.agent.now + 1.0 if is_others else None))

    @rule(lane=st.sampled_from(Lane))
    def refused(self, lane: Lane) -> None:
        """The disk does not let the spool be read: nothing is taken."""
        if lane in self.looking and self.looking[lane] is None:
            del self.looking[lane]
            self.hear(Failed(lane, None, "the disk is full"))

    @rule(lane=st.sampled_from(Lane), how=st.sampled_from(["done", "later", "never"]))
    def worked(self, lane: Lane, how: str) -> None:
        if lane in self.working:
            number = self.working.pop(lane)
            self.waiting[POOL.get(lane, lane)] -= how != "later"
            self.taken[POOL.get(lane, lane)] -= 1
            self.hear(Done(lane) if how == "done" else Failed(lane, number, "it failed", how == "never"))

    @rule(is_heard=st.booleans())
    def beaten(self, is_heard: bool) -> None:
        if self.beating:
            self.beating = False
            self.hear(Heard() if is_heard else Unheard("it failed"))

    @rule(name=st.sampled_from([None, "a", "b"]))
    def task(self, name: str | None) -> None:
        self.hear(Task(name))

    @rule(is_over=st.booleans())
    def trained(self, is_over: bool) -> None:
        if self.training:
            self.training = self.halting = False
            self.hear(Trained(is_over))

    @rule(later=st.sampled_from([0.1, 1.0, 30.0, 100.0]), is_paused=st.booleans(), asks_others=st.booleans())
    def time(self, later: float, is_paused: bool, asks_others: bool = False) -> None:
        self.hear(Told(is_paused, asks_others))
        self.hear(Ticked(), later)

    @invariant()
    def nothing_that_waits_is_forgotten(self) -> None:
        """A lane that has something to do is at it, rests for a time that ends, or waits for the hub or for staff."""
        for lane, place in self.agent.state.places.items():
            pool = POOL.get(lane, lane)
            if self.waiting[pool] > self.taken[pool] and lane not in self.looking and lane not in self.working:
                assert not place.quiet
                assert place.rests_until <= self.agent.now + LONGEST_REST_S

    def teardown(self) -> None:
        """Whatever happened before: with the hub there and staff content, all that waits is done in the end."""
        self.trained(True)
        for _ in range(400):
            self.beaten(True)
            self.time(LONGEST_REST_S, False)
            for lane in Lane:
                self.looked(lane)
                self.answered(lane)
                self.worked(lane, "done")
        assert not any(self.waiting.values())


Anything.TestCase.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
TestAnything = Anything.TestCase
