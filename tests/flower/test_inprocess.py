from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from flwr.app import ConfigRecord, Message, RecordDict

from fedmed.clock import SystemClock
from fedmed.errors import MissingPart
from fedmed.flower import arrays
from fedmed.flower.apps import AppRef
from fedmed.flower.inprocess import FIRST_NODE, InProcessGrid
from fedmed.flower.lanes import assign
from fedmed.flower.transport import Transport

NODES = list(range(FIRST_NODE, FIRST_NODE + 4))
BOTH = pytest.mark.parametrize("workers", [0, 2])


def pids(grid: InProcessGrid) -> list[int]:
    return [lane.process.pid for lane in grid._lanes]


def ask(grid: InProcessGrid, sent: list[Message], timeout: float = 60) -> dict[int, Message]:
    return {reply.metadata.src_node_id: reply for reply in grid.send_and_receive(sent, timeout=timeout)}


def gather(grid: InProcessGrid, ids: list[str], count: int, timeout: float = 30) -> list[Message]:
    replies, end = [], time.monotonic() + timeout
    while len(replies) < count and time.monotonic() < end:
        found = list(grid.pull_messages(ids))
        replies += found
        if not found:
            grid.wait(0.2)
    return replies


def reason(reply: Message) -> str:
    assert reply.has_error()
    return reply.error.reason


def number(reply: Message, name: str) -> float:
    return reply.content["metrics"][name]


@BOTH
def test_every_site_answers_for_itself(grids, messages, workers):
    grid = grids(workers=workers)
    sent = messages(NODES)
    replies = ask(grid, sent)
    assert sorted(replies) == NODES
    for i, node in enumerate(NODES):
        np.testing.assert_array_equal(
            arrays.views(replies[node].content["arrays"])["w"], np.arange(6, dtype=np.float32).reshape(2, 3) + i + 1
        )
        assert number(replies[node], "number") == i
        assert replies[node].metadata.reply_to_message_id in {m.metadata.message_id for m in sent}


@BOTH
def test_all_kinds_of_records_and_dtypes_pass(grids, messages, workers):
    model = {"w": np.ones((2, 2), np.float32), "n": np.array(3), "b": np.zeros((0, 2)), "h": np.ones(3, np.float16)}
    [reply] = ask(grids(1, workers), messages([FIRST_NODE], model)).values()
    got = arrays.views(reply.content["arrays"])
    assert {name: (v.dtype, v.shape) for name, v in got.items()} == {name: (v.dtype, v.shape) for name, v in model.items()}
    assert got["n"] == 4
    config = ConfigRecord({"bytes": b"\x00\xff", "list": [b"a", b"b"], "text": "é", "x": 0.5, "yes": True, "ints": [1, 2]})
    [reply] = ask(grids(1, workers), [Message(RecordDict({"config": config}), FIRST_NODE, "query.describe")]).values()
    assert dict(reply.content["config"]) == {**config, "fedmed.order": "site 0"}
    assert list(reply.content.array_records) == ["empty"]


@BOTH
def test_flowers_own_state_of_a_site_stays_with_it(grids, messages, workers):
    grid = grids(workers=workers)
    for call in (1, 2, 3):
        assert {number(reply, "calls") for reply in ask(grid, messages(NODES)).values()} == {call}


def test_processes_are_two_persistent_and_not_the_caller(grids, messages):
    grid = grids()
    first = {node: number(reply, "pid") for node, reply in ask(grid, messages(NODES)).items()}
    second = {node: number(reply, "pid") for node, reply in ask(grid, messages(NODES)).items()}
    assert first == second
    assert set(first.values()) == set(pids(grid))
    assert os.getpid() not in first.values()
    assert len(set(first.values())) == 2
    lanes = {node: grid.lane_of(node) for node in NODES}
    assert all((first[a] == first[b]) == (lanes[a] == lanes[b]) for a in NODES for b in NODES)


@BOTH
def test_what_a_site_raises_comes_back_by_name(grids, messages, workers):
    grid = grids(workers=workers)
    replies = ask(grid, messages(NODES, do="raise", who=[1]))
    assert reason(replies[NODES[1]]) == "ValueError: site 1 raises this"
    assert not any(replies[node].has_error() for node in NODES if node != NODES[1])
    assert len(reason(ask(grid, messages(NODES[:1], do="raise-much"))[NODES[0]])) == 2000
    assert not any(reply.has_error() for reply in ask(grid, messages(NODES)).values())


@BOTH
def test_a_message_that_the_app_has_no_function_for_is_an_error_reply(grids, workers):
    [reply] = ask(grids(1, workers), [Message(RecordDict(), FIRST_NODE, "query.unheard_of")]).values()
    assert "unheard_of" in reason(reply)


@pytest.mark.parametrize(("do", "why"), [("nothing", "NoneType"), ("complex", "complex64")])
def test_an_answer_that_cannot_be_sent_is_an_error_reply_and_ends_nothing(grids, messages, do, why):
    grid = grids(2, 1)
    before = pids(grid)
    replies = ask(grid, messages(NODES[:2], do=do, who=[0]))
    assert why in reason(replies[NODES[0]])
    assert not replies[NODES[1]].has_error()
    assert pids(grid) == before


@pytest.mark.parametrize(("do", "why"), [("die", "exit code 7"), ("exit", "exit code 3")])
def test_a_process_that_ends_is_an_error_reply_and_is_replaced(grids, messages, do, why):
    grid = grids(4, 2)
    ask(grid, messages(NODES))
    before = pids(grid)
    replies = ask(grid, messages(NODES, do=do, who=[2]))
    assert sorted(replies) == NODES
    assert why in reason(replies[NODES[2]])
    assert [node for node in NODES if replies[node].has_error()] == [NODES[2]]
    lane = grid.lane_of(NODES[2])
    assert [a == b for a, b in zip(before, pids(grid), strict=True)] == [lane != 0, lane != 1]
    assert not any(reply.has_error() for reply in ask(grid, messages(NODES)).values())


def test_a_process_killed_from_outside_while_it_works(grids, messages):
    grid = grids(2, 1)
    ask(grid, messages(NODES[:2]))
    ids = list(grid.push_messages(messages(NODES[:2], do="sleep", seconds=30.0, who=[0])))
    os.kill(pids(grid)[0], signal.SIGKILL)
    replies = {reply.metadata.src_node_id: reply for reply in gather(grid, ids, 2)}
    assert "by signal 9" in reason(replies[NODES[0]])
    assert not replies[NODES[1]].has_error()


def test_a_process_killed_while_idle_costs_one_answer_at_most(grids, messages):
    grid = grids(2, 1)
    ask(grid, messages(NODES[:2]))
    os.kill(pids(grid)[0], signal.SIGKILL)
    psutil.wait_procs([psutil.Process(pids(grid)[0])], timeout=5)
    replies = ask(grid, messages(NODES[:2]))
    assert sorted(replies) == NODES[:2]
    assert sum(reply.has_error() for reply in replies.values()) <= 1
    assert not any(reply.has_error() for reply in ask(grid, messages(NODES[:2])).values())


def test_answers_read_before_a_death_stay_whole(grids, messages):
    """One process: the first site's answer waits unread while the second site's work ends the process."""
    grid = grids(3, 1)
    sent = messages(NODES[:3], do="die", who=[1])
    ids = list(grid.push_messages(sent))
    end = time.monotonic() + 20
    while grid._lanes[0].process.is_alive() and time.monotonic() < end:
        grid._lanes[0].collect()
        time.sleep(0.05)
    seen = {reply.metadata.src_node_id: reply for reply in gather(grid, ids, 3)}
    assert "exit code 7" in reason(seen[NODES[1]])
    for node in (NODES[0], NODES[2]):
        got = seen[node].content["arrays"]["w"].numpy()
        np.testing.assert_array_equal(got, np.arange(6, dtype=np.float32).reshape(2, 3) + node - 1)


def test_a_hanging_site_is_given_up_and_its_process_replaced(grids, messages):
    grid = grids(4, 2)
    ask(grid, messages(NODES))
    before = pids(grid)
    began = time.monotonic()
    replies = ask(grid, messages(NODES, do="hang", who=[0]), timeout=1.0)
    assert time.monotonic() - began < 5
    lane = grid.lane_of(NODES[0])
    others = [node for node in NODES if grid.lane_of(node) != lane]
    assert set(others) <= set(replies)
    assert NODES[0] not in replies
    assert pids(grid)[lane] != before[lane]
    assert not psutil.pid_exists(before[lane])
    replies = ask(grid, messages(NODES))
    assert sorted(replies) == NODES
    assert not any(reply.has_error() for reply in replies.values())


@BOTH
def test_what_is_cancelled_is_never_answered(grids, messages, workers):
    grid = grids(workers=workers)
    ids = list(grid.push_messages(messages(NODES)))
    grid.cancel(ids[1:])
    assert [reply.metadata.reply_to_message_id for reply in gather(grid, ids, 2, timeout=1.5)] == ids[:1]
    assert sorted(ask(grid, messages(NODES))) == NODES


def test_cancelling_an_answer_that_is_ready_does_not_block_its_process(grids, messages):
    grid = grids(2, 1)
    ids = list(grid.push_messages(messages(NODES[:2])))
    time.sleep(1)
    assert not list(grid.pull_messages([]))
    grid.cancel(ids[:1])
    assert [reply.metadata.reply_to_message_id for reply in gather(grid, ids, 1)] == ids[1:]


def test_an_unread_answer_is_whole_though_the_process_has_gone_on(grids, messages):
    """More sites than slots: no answer may be overwritten before it is read."""
    grid = grids(4, 1)
    ids = list(grid.push_messages(messages(NODES)))
    seen, end = {}, time.monotonic() + 30
    while len(seen) < 4 and time.monotonic() < end:
        for reply in grid.borrow_messages(ids):
            time.sleep(0.2)  # a slow reader
            seen[reply.metadata.src_node_id] = arrays.views(reply.content["arrays"])["w"][0, 0]
    assert seen == {node: i + 1 for i, node in enumerate(NODES)}


def test_borrowed_answers_change_and_pulled_answers_stay(grids, messages):
    grid = grids(1, 1)

    def once(model: float) -> tuple[np.ndarray, np.ndarray]:
        sent = messages(NODES[:1], {"w": np.full(3, model, np.float32)})
        ids = list(grid.push_messages(sent))
        while True:
            for reply in grid.borrow_messages(ids):
                view = arrays.views(reply.content["arrays"])["w"]
                assert not view.flags.writeable
                return view, view.copy()
            grid.wait(0.2)

    borrowed, copied = once(1.0)
    [pulled] = ask(grid, messages(NODES[:1], {"w": np.full(3, 5.0, np.float32)})).values()
    ask(grid, messages(NODES[:1], {"w": np.full(3, 9.0, np.float32)}))
    assert copied.tolist() == [2, 2, 2]
    assert borrowed.tolist() != [2, 2, 2]  # its memory has been used again
    assert pulled.content["arrays"]["w"].numpy().tolist() == [6, 6, 6]


def test_a_record_changed_in_place_between_two_pushes_is_sent_anew(grids, messages):
    grid = grids(2, 1)
    model = {"w": np.zeros(2, np.float32)}
    sent = messages(NODES[:2], model)
    assert ask(grid, sent)[NODES[0]].content["arrays"]["w"].numpy().tolist() == [1, 1]
    model["w"][:] = 10
    again = [Message(sent[0].content, node, "train") for node in NODES[:2]]
    assert ask(grid, again)[NODES[1]].content["arrays"]["w"].numpy().tolist() == [12, 12]


def test_messages_with_models_of_their_own_do_not_mix(grids, messages):
    grid = grids(4, 2)
    sent = [messages([node], {"w": np.full(2, 100.0 * node, np.float32)})[0] for node in NODES]
    replies = ask(grid, sent)
    got = {node: replies[node].content["arrays"]["w"].numpy().tolist() for node in NODES}
    assert got == {node: [100.0 * node + i + 1] * 2 for i, node in enumerate(NODES)}


def test_a_second_push_while_the_first_is_at_work_does_not_disturb_it(grids, messages):
    grid = grids(4, 2)
    first = list(grid.push_messages(messages(NODES, {"w": np.full(2, 100.0, np.float32)}, do="sleep", seconds=0.3)))
    second = list(grid.push_messages(messages(NODES, {"w": np.full(2, 500.0, np.float32)})))
    replies = gather(grid, [*first, *second], 8)
    got = {reply.metadata.reply_to_message_id: reply.content["arrays"]["w"].numpy()[0] for reply in replies}
    assert [got[i] for i in first] == [101, 102, 103, 104]
    assert [got[i] for i in second] == [501, 502, 503, 504]


def test_models_may_grow_and_shrink_from_push_to_push(grids, messages):
    grid = grids(2, 2)
    for size in (10, 300_000, 1, 50_000):
        replies = ask(grid, messages(NODES[:2], {"w": np.arange(size, dtype=np.float32)}))
        for i, node in enumerate(NODES[:2]):
            np.testing.assert_array_equal(replies[node].content["arrays"]["w"].numpy(), np.arange(size) + i + 1)


def test_lanes_follow_loads_and_nothing_else():
    loads = [(2, 1.0), (3, 8.0), (4, 3.0), (5, 8.0), (6, 2.0)]
    groups = assign(loads, 2)
    assert groups == assign(reversed(loads), 2)
    assert groups == [[3, 4], [5, 6, 2]]
    assert assign([(node, 1.0) for node in range(6)], 3) == [[0, 3], [1, 4], [2, 5]]


def test_no_more_processes_than_sites(grids):
    assert len(pids(grids(2, 8))) == 2


def test_the_longest_deadline_of_a_scenario_can_be_waited_for(grids, messages):
    grid = grids(1, 1)
    assert len(ask(grid, messages(NODES[:1]), timeout=30 * 86_400.0)) == 1
    ids = list(grid.push_messages(messages(NODES[:1], do="sleep", seconds=0.3)))
    while not list(Transport(grid, SystemClock()).receive(ids, 30 * 86_400.0)):
        pass


@BOTH
def test_an_app_that_cannot_be_loaded_fails_and_does_not_hang(workers, messages, tmp_path):
    (tmp_path / "broken.py").write_text("import a_package_that_is_not_there\n")
    ref = AppRef(tmp_path, "broken:app")
    if workers == 0:
        with pytest.raises(MissingPart, match="a_package_that_is_not_there"):
            InProcessGrid(ref, [{}], [1.0], 0)
        return
    with InProcessGrid(ref, [{"partition-id": i} for i in range(2)], [1.0, 1.0], workers) as grid:
        replies = ask(grid, messages(NODES[:2]), timeout=60)
    assert len(replies) == 2
    assert all("a_package_that_is_not_there" in reason(reply) for reply in replies.values())


def test_close_leaves_no_process_and_no_memory_behind(grids, messages):
    grid = grids(4, 2)
    ask(grid, messages(NODES))
    grid.push_messages(messages(NODES, do="hang", who=[1]))
    folder, processes = grid._folder, [psutil.Process(pid) for pid in pids(grid)]
    assert folder.is_dir()
    began = time.monotonic()
    grid.close()
    grid.close()
    assert time.monotonic() - began < 8
    assert not folder.exists()
    assert not any(process.is_running() for process in processes)


OWNER = """
import sys, os, time
sys.path.insert(0, sys.argv[2])
from conftest import OBEDIENT
import numpy as np
from flwr.app import ConfigRecord, Message, RecordDict
from fedmed.flower import arrays
from fedmed.flower.inprocess import InProcessGrid
if __name__ == "__main__":
    grid = InProcessGrid(OBEDIENT, [{"partition-id": i} for i in range(2)], [1.0, 1.0], 2)
    def sent(**order):
        content = RecordDict({"arrays": arrays.borrow({"w": np.ones(4, np.float32)}), "config": ConfigRecord(order)})
        return [Message(content, node, "train") for node in (2, 3)]
    list(grid.send_and_receive(sent()))
    if sys.argv[1] == "working":
        grid.push_messages(sent(do="sleep", seconds=2.0))
    print(grid._folder, *[lane.process.pid for lane in grid._lanes], flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("when", ["idle", "working"])
def test_a_killed_owner_leaves_no_process_and_no_memory_behind(when, tmp_path):
    program = tmp_path / "owner.py"
    program.write_text(OWNER)
    with subprocess.Popen(
        [sys.executable, program, when, Path(__file__).parent],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    ) as owner:
        folder, *workers = owner.stdout.readline().split()
        processes = [psutil.Process(int(pid)) for pid in workers]
        owner.kill()
        _, alive = psutil.wait_procs(processes, timeout=10)
        left = Path(folder).exists()
    assert not alive
    assert not left
