from __future__ import annotations

import json
import re

from fedmed.placement.events import Claim, Isolated, Retried, Ticked, Withdrawn
from fedmed.placement.machine import step, steps
from fedmed.placement.nodes import Tier
from fedmed.placement.tasks import Kind, Precision
from fedmed.placement.told import as_json, as_table, measures, node_rows, reasons, task_rows
from tests.placement.worlds import heard, node, on_gpu, submitted, task, world


def hospital():
    state = world(
        node("scanner-1"),
        node("scanner-2"),
        node("t4", Tier.CLINIC, gpu=16, accelerators=frozenset({"cuda"})),
        node("west-1", clinic="west"),
        node("big", Tier.CENTER),
    )
    needs = on_gpu(batch=8, item=3, split=True, ladder=(Precision.FP32, Precision.FP16))
    state, _ = submitted(
        state,
        task("live", Kind.REAL_TIME, cores=3),
        task("train", Kind.COMPUTE, needs=needs),
        task("report", cores=9, reads_patients=False),
    )
    alive = [heard(name, 30, 0.25, [Claim(one, 1) for one in state.on.get(name, ())]) for name in ("scanner-1", "t4", "big")]
    state, _ = steps(state, [*alive, Isolated("big", "too hot", 50), heard("t4", 61, None, [Claim("train", 1)]), Ticked(61)])
    return state


def test_a_row_for_each_node_and_what_it_runs():
    rows = {row.name: row for row in node_rows(hospital())}
    assert list(rows) == ["scanner-1", "scanner-2", "west-1", "t4", "big"]
    assert [row.standing for row in rows.values()] == ["ready", "lost", "lost", "ready", "isolated: too hot"]
    assert rows["scanner-1"].tasks == ("live",)
    assert rows["scanner-1"].busy == 0.25
    assert rows["scanner-1"].booked == 0.75
    assert rows["t4"].busy is None


def test_a_row_for_each_task_where_it_runs_and_why():
    rows = {row.name: row for row in task_rows(hospital())}
    assert rows["live"].where == ("scanner-1",)
    assert rows["live"].how == "cpu fp32 batch 1"
    assert rows["live"].why.startswith("device: the best with room")
    assert rows["train"].how == "cuda fp32 batch 4 x 2"
    assert rows["report"].status == "waiting"
    assert rows["report"].why.startswith("no node has room: ")


def test_reasons_for_each_other_node():
    told = reasons(hospital(), "report")
    assert told["big"] == "isolated: too hot"
    assert told["west-1"] == "outside its clinic"
    assert told["t4"] == "too small even when empty: 9 cores of 4"
    assert set(reasons(hospital(), "live")) == {"scanner-2", "t4", "west-1", "big"}
    assert reasons(hospital(), "never") == {}


def test_the_json_is_plain_and_whole():
    told = json.loads(json.dumps(as_json(hospital()), allow_nan=False))
    assert [one["name"] for one in told["nodes"]] == ["scanner-1", "scanner-2", "west-1", "t4", "big"]
    assert {one["name"]: one["status"] for one in told["tasks"]} == {
        "live": "running",
        "train": "running",
        "report": "waiting",
    }


def test_the_table_says_unsupported_and_not_0():
    lines = as_table(hospital()).splitlines()
    [t4] = [line for line in lines if line.startswith("t4 ")]
    assert re.split(r"  +", t4) == ["t4", "clinic", "east", "ready", "unsupported", "75%", "1"]
    assert lines[0].split() == ["NODE", "TIER", "CLINIC", "STANDING", "BUSY", "BOOKED", "TASKS"]
    assert len(lines) == 1 + 5 + 1 + 1 + 3


def test_numbers_for_prometheus_by_tier_and_class():
    state = hospital()
    told = {(name, *labels.values()): value for name, _, _, labels, value in measures(state)}
    assert told["fedmed_placement_nodes", "device", "lost"] == 2
    assert told["fedmed_placement_nodes", "center", "isolated"] == 1
    assert told["fedmed_placement_tasks", "real-time", "running"] == 1
    assert told["fedmed_placement_tasks", "batch", "waiting"] == 1
    assert told["fedmed_placement_oldest_wait_seconds", "batch"] == 61
    assert told["fedmed_placement_booked_ratio", "clinic"] == 0.75
    for name, about, unit, labels, _ in measures(state):
        assert about.endswith(".")
        assert name.endswith(unit)
        assert not any(one in labels.values() for one in ("live", "train", "report"))


def test_nothing_is_told_of_what_is_over():
    state, _ = steps(hospital(), [Withdrawn("live", 62), Withdrawn("train", 62), Withdrawn("report", 62), Retried("x", 62)])
    assert task_rows(state) == []
    state, _ = step(world(), Ticked(1))
    assert as_json(state) == {"now": 1, "nodes": [], "tasks": []}
    assert len(as_table(state).splitlines()) == 3
