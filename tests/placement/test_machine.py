from __future__ import annotations

import pytest

from fedmed.errors import ConfigError
from fedmed.placement.events import (
    Claim,
    Drop,
    Failed,
    Finished,
    Heard,
    Isolated,
    Joined,
    Left,
    Restored,
    Retried,
    Start,
    Stop,
    Submitted,
    Take,
    Tell,
    Ticked,
    Withdrawn,
    Yield,
    Yielded,
)
from fedmed.placement.machine import step, steps
from fedmed.placement.nodes import Live, Tier
from fedmed.placement.tasks import Amount, Kind, Precision
from tests.placement.worlds import heard, node, on_gpu, starts, submitted, task, where, world


def kinds(said):
    return [type(each) for each in said]


def test_what_nobody_waits_for_gives_way_and_keeps_its_progress():
    state, _ = submitted(world(node("d")), task("train", cores=4))
    state, _ = step(state, heard("d", 60, running=[Claim("train", 1, "step-100")]))
    state, said = step(state, Submitted(task("live", Kind.REAL_TIME), 61))
    assert kinds(said) == [Yield, Start]
    assert said[0] == Yield("d", "train", 1, 10.0)
    assert where(state) == {"live": ("d",)}
    state, said = step(state, Yielded("train", 1, "d", "step-103", 63))
    assert said == ()
    state, said = step(state, Finished("live", 1, "d", 64))
    assert said[0] == Take("d", "live", 1)
    assert isinstance(said[1], Start)
    assert (said[1].task.name, said[1].attempt, said[1].progress) == ("train", 2, "step-103")


def test_one_that_gave_way_is_not_started_again_while_it_may_still_write():
    state, _ = submitted(world(node("d"), node("e")), task("train", cores=4), task("busy", Kind.REAL_TIME, cores=4))
    state, _ = steps(state, [Withdrawn("busy", 5), Isolated(where(state)["train"][0], "too hot", 5)])
    assert not state.running
    state, said = step(state, Ticked(14.9))
    assert not starts(said)
    state, said = step(state, Ticked(15.0))
    assert starts(said).keys() == {"train"}


def test_the_work_of_a_node_that_dies_goes_on_elsewhere_within_three_minutes():
    state, _ = submitted(world(node("d"), node("e")), task("live", Kind.REAL_TIME), task("train"), at=1.0)
    victim = where(state)["live"][0]
    other = {"d": "e", "e": "d"}[victim]
    moved = None
    for now in range(10, 200, 10):
        state, said = steps(state, [heard(other, now, running=_claims(state, other)), Ticked(now)])
        if "live" in starts(said):
            moved = moved or now
    assert moved == 70
    assert where(state)["live"] == (other,)


def _claims(state, name):
    return [Claim(task, state.running[task].held.attempt) for task in state.on.get(name, ())]


def test_patients_data_waits_in_its_clinic_and_says_so():
    state = world(node("d"), node("w", clinic="west"), node("z", Tier.CENTER))
    state, _ = submitted(state, task("train"), task("other", reads_patients=False))
    assert where(state) == {"train": ("d",), "other": ("z",)}
    state, said = steps(state, [heard("w", 70), heard("z", 70, running=[Claim("other", 1)]), Ticked(70)])
    assert Tell("train", "waits with its progress kept: no node has room: 1 not heard of") in said
    assert not starts(said)
    assert "train" in state.waiting


def test_a_node_that_comes_back_in_time_goes_on():
    state, _ = submitted(world(node("d")), task("train"))
    state, _ = step(state, Ticked(100))
    assert "train" in state.waiting
    state, said = step(state, heard("d", 101, running=[Claim("train", 1, "step-9")]))
    assert said == (Tell("d", "is back"),)
    assert where(state) == {"train": ("d",)}
    assert state.running["train"].held.progress == "step-9"
    state, said = step(state, Finished("train", 1, "d", 102))
    assert said == (Take("d", "train", 1),)


def test_a_node_that_comes_back_late_is_stopped_and_its_result_is_dropped():
    state, _ = submitted(world(node("d"), node("e")), task("train"))
    first = where(state)["train"][0]
    other = {"d": "e", "e": "d"}[first]
    state, said = steps(state, [heard(other, 70), Ticked(70)])
    assert starts(said) == {"train": other}
    state, said = step(state, Finished("train", 1, first, 71))
    assert kinds(said) == [Drop]
    state, said = step(state, heard(first, 72, running=[Claim("train", 1)]))
    assert said == (Tell(first, "is back"), Stop(first, "train", 1, "it was given to another, or is over"))
    state, said = step(state, Finished("train", 2, other, 73))
    assert kinds(said) == [Take]
    state, said = steps(state, [Finished("train", 2, other, 74), Finished("train", 1, first, 75)])
    assert kinds(said) == [Drop, Drop]


@pytest.mark.parametrize("meanwhile", ["isolated", "filled", "started again", "quota"])
def test_a_node_that_comes_back_goes_on_only_where_its_task_may_still_run(meanwhile):
    state = world(node("d"), node("e"), quotas={(Tier.DEVICE, Kind.BATCH): 0.5})
    state, _ = submitted(state, task("train", cores=4), task("live", Kind.REAL_TIME, cores=4))
    first, other = where(state)["train"][0], where(state)["live"][0]
    state, _ = steps(state, [heard(other, 70, running=[Claim("live", 1)]), Ticked(70)])
    assert state.waiting["train"].last is not None
    if meanwhile == "isolated":
        state, _ = step(state, Isolated(first, "too hot", 71))
    elif meanwhile == "started again":
        state, _ = step(state, heard(first, 71))
        state, _ = steps(state, [Submitted(task("more", Kind.REAL_TIME, cores=2), 71)])
        assert where(state)["more"] == (first,)
    elif meanwhile == "quota":
        state, said = steps(state, [Finished("live", 1, other, 71)])
        assert starts(said) == {"train": other}
    others = Amount(2000 if meanwhile == "filled" else 0)
    state, said = step(state, Heard(first, 72, Live(None, others), (Claim("train", 1),)))
    assert [each for each in said if isinstance(each, Stop)] == [
        Stop(first, "train", 1, "it was given to another, or is over")
    ]


def test_a_result_from_a_lost_node_counts_while_nobody_else_has_the_task():
    state, _ = submitted(world(node("d")), task("train"))
    state, said = steps(state, [Ticked(100), Finished("train", 1, "d", 101), Finished("train", 1, "d", 102)])
    assert [each for each in kinds(said) if each is not Tell] == [Take, Drop]
    assert not state.waiting
    assert state.ended == {"train": 1}


def test_a_result_from_an_isolated_node_does_not_count():
    state, _ = submitted(world(node("d")), task("train"))
    state, said = steps(state, [Isolated("d", "ECC errors", 5), Finished("train", 1, "d", 6)])
    assert kinds(said) == [Tell, Yield, Drop]
    state, said = steps(state, [Restored("d", 7), Ticked(20)])
    assert starts(said) == {"train": "d"}


def test_what_a_node_no_longer_runs_is_started_again_and_a_person_asked_at_last():
    state, _ = submitted(world(node("d")), task("train"))
    state, said = step(state, heard("d", 20))
    assert said == ()  # the start may still be on its way
    state, said = step(state, heard("d", 31))
    assert starts(said) == {"train": "d"}
    state, _ = step(state, heard("d", 62))
    state, said = step(state, heard("d", 93))
    assert said == (
        Tell("train", "is not tried again before a person says so: failed 3 times, last on d: d no longer runs it"),
    )
    assert state.parked.keys() == {"train"}
    state, said = step(state, Retried("train", 100))
    assert starts(said) == {"train": "d"}


def test_progress_forgives_failures():
    state, _ = submitted(world(node("d")), task("train"))
    for attempt in range(1, 8):
        now = 100.0 * attempt
        claim = Claim("train", attempt, f"step-{attempt}")
        state, _ = steps(state, [heard("d", now, running=[claim]), Failed("train", attempt, "d", "lost its data", now)])
    assert where(state) == {"train": ("d",)}
    assert state.running["train"].held.progress == "step-7"


def test_a_task_goes_where_it_has_not_failed():
    state, _ = submitted(world(node("d"), node("e")), task("train"))
    first = where(state)["train"][0]
    state, said = step(state, Failed("train", 1, first, "no such device", 5))
    assert starts(said) == {"train": {"d": "e", "e": "d"}[first]}


def test_out_of_memory_takes_the_next_rung():
    state = world(node("g", gpu=16, accelerators=frozenset({"cuda"})))
    state, _ = submitted(state, task("x", needs=on_gpu(batch=2, fixed=1, split=True, ladder=tuple(Precision))))
    rungs = [state.running["x"].rung]
    for attempt in range(1, 6):
        state, _ = step(state, Failed("x", attempt, "g", "out of memory", attempt, lacked_memory=True))
        rungs.append(state.running["x"].rung)
    assert [(rung.precision.value, rung.batch) for rung in rungs] == [
        ("fp32", 2), ("fp32", 1), ("fp16", 2), ("fp16", 1), ("int8", 2), ("int8", 1),
    ]  # fmt: skip
    assert state.running["x"].held.failures == 0
    for attempt in range(6, 9):
        state, _ = step(state, Failed("x", attempt, "g", "out of memory", attempt, lacked_memory=True))
    assert state.parked.keys() == {"x"}


def test_a_gang_falls_and_rises_together():
    state, _ = submitted(world(*(node(f"d{i}") for i in range(3))), task("train", members=2, cores=3))
    nodes = where(state)["train"]
    state, said = step(state, Finished("train", 1, nodes[0], 5))
    assert said == ()
    assert where(state) == {"train": nodes}
    state, said = step(state, Finished("train", 1, nodes[0], 6))
    assert kinds(said) == [Drop]
    [spare] = {"d0", "d1", "d2"} - set(nodes)
    alive = [heard(nodes[0], 70), heard(spare, 70)]
    state, said = steps(state, [*alive, Ticked(70)])
    assert not [each for each in said if isinstance(each, Yield)]  # that one was done
    assert [(each.node, each.attempt) for each in said if isinstance(each, Drop)] == [(nodes[0], 1)]
    assert set(where(state)["train"]) == {nodes[0], spare}
    state, said = steps(state, [Finished("train", 2, name, 80) for name in (spare, nodes[0])])
    assert {each.node for each in said if isinstance(each, Take)} == {nodes[0], spare}
    assert state.ended == {"train": 2}


def test_waiting_counts_as_rank_so_that_small_tasks_do_not_starve_a_large_one():
    state, _ = submitted(world(node("d")), task("small-0", cores=3), task("large", cores=4, priority=0))
    number, ran, now = 0, "small-0", 0.0
    while "large" in state.waiting and now < 30_000:
        now += 100
        number += 1
        new = f"small-{number}"
        state, _ = steps(
            state, [Submitted(task(new, cores=3, priority=4), now), heard("d", now, running=_claims(state, "d"))]
        )
        state, _ = steps(state, [Finished(ran, state.running[ran].held.attempt, "d", now + 50), Ticked(now + 50)])
        ran = next(iter(state.running))
    assert where(state) == {"large": ("d",)}
    assert now < 4 * 600 + 1800 + 200


def test_a_node_is_kept_for_one_that_needs_it_empty():
    state, _ = submitted(world(node("d")), task("a", cores=2), task("b", cores=2), task("large", cores=4, priority=9))
    state, _ = steps(state, [heard("d", 1801, running=_claims(state, "d")), Ticked(1801)])
    assert state.keeps == {"d": "large"} or where(state) == {"large": ("d",)}


def test_an_aged_task_is_not_pushed_aside_by_what_came_later():
    state, _ = submitted(world(node("d")), task("first", Kind.REAL_TIME, cores=4), task("old", cores=4, priority=1))
    state, _ = steps(state, [heard("d", 3000, running=_claims(state, "d")), Finished("first", 1, "d", 3000)])
    assert where(state) == {"old": ("d",)}
    state, said = step(state, Submitted(task("young", cores=4, priority=5), 3001))
    assert said == ()
    assert "young" in state.waiting


def test_a_missed_deadline_is_told_once():
    state, _ = submitted(world(node("d")), task("x", deadline=50.0), task("y", cores=9, deadline=40.0))
    state, said = steps(state, [heard("d", 45, running=_claims(state, "d")), Ticked(45), Ticked(55), Ticked(56)])
    late = [each.about for each in said if isinstance(each, Tell) and "deadline" in each.words]
    assert late == ["y", "x"]


def test_names_are_used_once_and_the_list_has_an_end():
    state, said = submitted(world(node("d"), most_tasks=2), task("x"), task("x"), task("y"), task("z"))
    assert [each.task for each in said if isinstance(each, Drop)] == ["x", "z"]
    state, said = steps(state, [Finished("x", 1, "d", 1), Submitted(task("x"), 2)])
    assert kinds(said) == [Take, Drop]


def test_ended_tasks_are_forgotten_the_oldest_first():
    state = world(node("d"), most_ended=2)
    for name in "abc":
        state, _ = steps(state, [Submitted(task(name), 1), Finished(name, 1, "d", 2)])
    assert list(state.ended) == ["b", "c"]
    state, said = step(state, Finished("a", 1, "d", 3))
    assert kinds(said) == [Drop]


def test_what_is_withdrawn_stops():
    state, _ = submitted(world(node("d")), task("x"), task("y", cores=9))
    state, said = steps(state, [Withdrawn("x", 1), Withdrawn("y", 1), Withdrawn("never", 1)])
    assert said == (Stop("d", "x", 1, "it was withdrawn"),)
    assert state.ended == {"x": 1, "y": 0}


def test_a_node_that_changes_or_leaves_gives_its_tasks_back():
    state, _ = submitted(world(node("d")), task("x", cores=4))
    state, said = steps(state, [Joined(node("d"), 1), Joined(node("d", cores=2), 2), Ticked(20)])
    assert kinds(said) == [Yield]
    assert state.waiting["x"].why == "no node has room: 1 too small even when empty"
    state, _ = step(state, Left("d", 21))
    assert (state.nodes, state.members) == ({}, {})
    state, said = step(state, Joined(node("e"), 22))
    assert starts(said) == {"x": "e"}


def test_a_stranger_changes_nothing():
    state, _ = submitted(world(node("d")), task("x"))
    before = state
    events = [Finished("x", 1, "ghost", 1), Failed("x", 2, "d", "?", 1), Yielded("x" * 9999, 1, "d", "", 1)]
    state, said = steps(state, [*events, heard("ghost", 1), Left("ghost", 1), Isolated("ghost", "?", 1), Retried("x", 1)])
    assert kinds(said) == [Drop, Drop, Drop, Tell]
    assert max(len(each.task) for each in said if isinstance(each, Drop)) <= 400
    assert (state.running, state.waiting, state.nodes) == (before.running, before.waiting, before.nodes)
    with pytest.raises(ConfigError, match="allowed are 1000"):
        Heard("d", 1, running=(Claim("x", 1),) * 1001)


def test_a_node_that_drains_gives_back_what_it_has_done():
    state, _ = submitted(world(node("d"), node("e")), task("train"))
    first = where(state)["train"][0]
    state, said = step(state, Yielded("train", 1, first, "step-7", 5))
    [start] = said
    assert (start.attempt, start.progress) == (2, "step-7")


def test_time_never_goes_back():
    state, _ = steps(world(node("d")), [Ticked(50), Submitted(task("x"), 10)])
    assert state.now == 50
    assert state.running["x"].started == 50


def test_a_task_that_a_journal_knows_goes_on_from_its_newest_attempt():
    state, said = step(world(node("d")), Submitted(task("look"), 0.0, attempt=4))
    assert [(each.task.name, each.attempt) for each in said if isinstance(each, Start)] == [("look", 5)]
    state, said = step(state, Finished("look", 4, "d", 1.0))
    assert kinds(said) == [Drop]
    _, said = step(state, Finished("look", 5, "d", 2.0))
    assert kinds(said) == [Take]
    for attempt in (-1, 1 << 41, True):
        with pytest.raises(ConfigError, match="attempt"):
            Submitted(task("look"), 0.0, attempt)
