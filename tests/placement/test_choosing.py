from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from fedmed.placement.choosing import Why, place
from fedmed.placement.events import Isolated, Ticked
from fedmed.placement.machine import step, steps
from fedmed.placement.nodes import Tier
from fedmed.placement.state import Held
from fedmed.placement.tasks import Kind, Needs, Precision, Rung
from tests.placement.worlds import heard, node, on_gpu, starts, submitted, task, where, world

CUDA = frozenset({"cuda"})
TIERS = (node("d"), node("c", Tier.CLINIC), node("z", Tier.CENTER))


def placed(state, one):
    return place(state, Held(one, 0.0))


def test_each_class_goes_to_its_tier_first():
    state = world(*TIERS)
    first = {kind: placed(state, task("x", kind, reads_patients=False)).seats[0].node for kind in Kind}
    assert first == {Kind.REAL_TIME: "d", Kind.COMPUTE: "c", Kind.STORAGE: "c", Kind.BATCH: "z"}


def test_a_full_tier_gives_to_the_next():
    state = world(*TIERS)
    _, said = submitted(state, *(task(f"x{i}", Kind.REAL_TIME, cores=4, reads_patients=False) for i in range(3)))
    assert starts(said) == {"x0": "d", "x1": "c", "x2": "z"}


def test_the_least_busy_of_a_tier_is_chosen_by_live_load_and_by_what_is_booked():
    state = world(node("a"), node("b"), node("c"))
    state, _ = steps(state, [heard("a", 1, 0.7), heard("b", 1, 0.2), heard("c", 1)])
    state, said = submitted(state, *(task(f"x{i}", Kind.REAL_TIME) for i in range(3)), at=1)
    assert starts(said) == {"x0": "b", "x1": "c", "x2": "b"} or starts(said) == {"x0": "c", "x1": "b", "x2": "c"}


def test_a_very_busy_node_is_chosen_after_other_tiers():
    state, _ = step(world(*TIERS), heard("d", 1, 0.97))
    assert placed(state, task("x", Kind.REAL_TIME)).seats[0].node == "c"
    state, _ = step(world(TIERS[0]), heard("d", 1, 0.97))
    assert placed(state, task("x", Kind.REAL_TIME)).seats[0].node == "d"


def test_a_task_never_runs_where_it_must_not_and_waits_rather():
    state = world(node("a"), node("b"))
    assert placed(state, task("x", not_on=frozenset({"a"}))).seats[0].node == "b"
    nowhere = placed(state, task("x", not_on=frozenset({"a", "b"})))
    assert nowhere.seats == ()
    assert {each.why for each in nowhere.passed.values()} == {Why.ASKER}
    state, said = submitted(state, task("x", not_on=frozenset({"a"})), task("y", not_on=frozenset({"b"})))
    assert starts(said) == {"x": "b", "y": "a"}  # each in a line of its own


def test_data_decides():
    state = world(node("a"), node("b", data=frozenset({"ct", "mr"})), node("c", data=frozenset({"mr"})))
    must, rather = Needs(data=frozenset({"ct"})), Needs(near=frozenset({"mr", "ct"}))
    assert placed(state, task("x", needs=must)).passed["a"].why is Why.DATA
    assert placed(state, task("x", needs=must)).seats[0].node == "b"
    assert placed(state, task("x", needs=rather)).seats[0].node == "b"


def test_every_node_that_was_passed_over_has_its_reason():
    state = world(
        node("small", memory=1),
        node("full", gpu=16, cores=1, accelerators=CUDA, data=frozenset({"ct"})),
        node("cpu"),
        node("int8", gpu=16, accelerators=CUDA, precisions=frozenset({Precision.INT8})),
        node("sick", gpu=16, accelerators=CUDA),
        node("gone", gpu=16, accelerators=CUDA),
        node("other", clinic="west", gpu=16, accelerators=CUDA),
        node("tiny", gpu=1, accelerators=CUDA),
        node("good", Tier.CLINIC, gpu=16, accelerators=CUDA),
        node("worse", Tier.DEVICE, gpu=16, accelerators=CUDA),
    )
    state, _ = submitted(state, task("first", Kind.REAL_TIME, needs=replace(on_gpu(fixed=9), data=frozenset({"ct"}))))
    alive = [name for name in state.nodes if name != "gone"]
    state, _ = steps(state, [Isolated("sick", "too hot", 70), *(heard(name, 70) for name in alive), Ticked(70)])
    found = placed(state, task("x", Kind.COMPUTE, needs=on_gpu(fixed=9)))
    assert [seat.node for seat in found.seats] == ["good"]
    assert {name: passed.why for name, passed in found.passed.items()} == {
        "small": Why.ACCELERATOR,
        "full": Why.FULL,
        "cpu": Why.ACCELERATOR,
        "int8": Why.PRECISION,
        "sick": Why.ISOLATED,
        "gone": Why.LOST,
        "other": Why.OUTSIDE,
        "tiny": Why.SMALL,
        "worse": Why.OTHER,
    }
    assert str(found.passed["sick"]) == "isolated: too hot"
    assert str(found.passed["full"]) == "full: 1 cores of 0"
    assert set(found.passed) | {"good"} == set(state.nodes)
    assert found.summary().startswith("clinic: the best with room; 2 without its accelerator")


@given(st.sets(st.sampled_from(["a", "b", "c", "d", "e"]), max_size=5), st.integers(1, 4), st.booleans())
def test_a_reason_or_a_seat_for_every_node(isolated, members, patients):
    names = {"a": "east", "b": "east", "c": "west", "d": "east"}
    nodes = [node(name, clinic=clinic) for name, clinic in names.items()]
    state = world(*nodes, node("e", Tier.CENTER))
    state, _ = steps(state, [Isolated(name, "tried", 0) for name in sorted(isolated)])
    found = placed(state, task("x", members=members, reads_patients=patients))
    chosen = {seat.node for seat in found.seats}
    assert chosen | set(found.passed) == set(state.nodes)
    assert not chosen & set(found.passed)
    assert len(chosen) in (0, members)
    assert len(chosen) == members or len({"a", "b", "d"} - isolated) + (not patients and "e" not in isolated) < members


def test_a_step_is_split_before_precision_falls_and_neither_where_there_is_room():
    one = task("x", Kind.COMPUTE, needs=on_gpu(batch=8, item=1, fixed=2, ladder=tuple(Precision), split=True))
    rung = {size: placed(world(node("g", gpu=size, accelerators=CUDA)), one).rung for size in (10, 6, 3, 2)}
    assert rung == {
        10: Rung(Precision.FP32, 8, 1),
        6: Rung(Precision.FP32, 4, 2),
        3: Rung(Precision.FP32, 1, 8),
        2: Rung(Precision.FP16, 2, 4),
    }
    assert not placed(world(node("g", gpu=0, accelerators=CUDA)), one).seats


def test_nobody_is_degraded_for_work_that_ranks_below():
    state = world(node("g", gpu=10, accelerators=CUDA))
    state, _ = submitted(state, task("train", Kind.BATCH, needs=on_gpu(fixed=6)))
    quick = on_gpu(fixed=8, ladder=(Precision.FP32, Precision.FP16))
    assert placed(state, task("live", Kind.REAL_TIME, needs=quick)).yields == ("train",)
    assert placed(state, task("live", Kind.REAL_TIME, needs=quick)).rung.precision is Precision.FP32
    later = placed(state, task("later", Kind.COMPUTE, needs=quick))
    assert later.yields == ()
    assert later.rung.precision is Precision.FP16


def test_as_few_give_way_as_will_do():
    state = world(node("d", cores=8))
    sizes = {"a": 1, "b": 3, "c": 1, "e": 3}
    state, _ = submitted(state, *(task(name, cores=size, priority=2) for name, size in sizes.items()))
    assert where(state).keys() == sizes.keys()
    assert placed(state, task("x", Kind.REAL_TIME, cores=3)).yields in (("b",), ("e",))
    assert len(placed(state, task("x", Kind.REAL_TIME, cores=4)).yields) == 2
    assert placed(state, task("x", priority=2, cores=3)).yields == ()
    assert len(placed(state, task("x", priority=3, cores=3)).yields) == 1


def test_a_gang_has_all_its_nodes_or_none():
    state = world(*(node(f"d{i}") for i in range(3)))
    found = placed(state, task("x", members=3, cores=2))
    assert sorted(seat.node for seat in found.seats) == ["d0", "d1", "d2"]
    assert placed(state, task("x", members=4)).seats == ()
    assert {passed.why for passed in placed(state, task("x", members=4)).passed.values()} == {Why.FEW}
    state, _ = submitted(state, task("busy", Kind.REAL_TIME, cores=3))
    assert placed(state, task("x", members=3, cores=2)).seats == ()


def test_a_quota_leaves_the_rest_to_others():
    state = world(node("c", Tier.CLINIC, cores=10), quotas={(Tier.CLINIC, Kind.BATCH): 0.5, (Tier.CLINIC, Kind.STORAGE): 0})
    state, said = submitted(state, *(task(f"x{i}", cores=2) for i in range(3)))
    assert starts(said).keys() == {"x0", "x1"}
    assert placed(state, task("more")).seats  # 5 cores: one more of one core is within
    assert placed(state, task("more", cores=2)).passed["c"].why is Why.QUOTA
    assert not placed(state, task("files", Kind.STORAGE)).seats
    assert placed(state, task("train", Kind.COMPUTE, cores=6)).seats
