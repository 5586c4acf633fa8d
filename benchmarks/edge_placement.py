"""Placement: how many decisions a second, and how long until a dead node's work goes on elsewhere (virtual time).

    python -m benchmarks.edge_placement [--json]

Every event that is timed is told by itself, as a hub tells them: one event in, its decisions and instructions out. No peer
runs here that decides alike: a Kubernetes scheduler needs its API server, and Volcano needs Kubernetes.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.form import Row, make_row, show
from fedmed.placement.events import Claim, Finished, Heard, Joined, Start, Submitted, Ticked
from fedmed.placement.machine import step, steps
from fedmed.placement.nodes import Live, Node, Tier
from fedmed.placement.rules import DEADLINE_S, Rules
from fedmed.placement.state import State
from fedmed.placement.tasks import Amount, Kind, Needs, Task

GB = 10**9
CLINICS = ("north", "east", "south")
BLOCKS = 5
BEAT_S = 10.0


def nodes(number: int, slots: int) -> list[Node]:
    """One of ten is the center's, two of ten are a clinic's own, the rest are devices; each has room for `slots` tasks."""
    found = []
    for at in range(number):
        tier = Tier.CENTER if at % 10 == 9 else Tier.CLINIC if at % 10 > 6 else Tier.DEVICE
        clinic = "" if tier is Tier.CENTER else CLINICS[at % len(CLINICS)]
        capacity = Amount(1000 * slots, GB * slots, GB * slots, GB * slots)
        found.append(Node(f"node-{at:03}", tier, clinic, capacity, frozenset({"cuda"})))
    return found


def tasks(number: int) -> list[Task]:
    """Of all classes, priorities and clinics; two of three read patients' data."""
    needs = (
        Needs(Amount(1000, GB // 2)),
        Needs(Amount(1000), ("cuda", "cpu"), fixed_bytes=GB // 4, batch=4, can_split=True),
    )
    kinds = tuple(Kind)
    return [
        Task(
            f"task-{at:05}",
            kinds[at % 4],
            CLINICS[at % 3],
            needs[at % 2],
            reads_patients=at % 3 > 0 or at % 4 == 0,
            priority=at % 5,
        )
        for at in range(number)
    ]


def world(number: int, slots: int) -> State:
    """Nodes alone."""
    return steps(State(Rules()), [Joined(each, 0.0) for each in nodes(number, slots)])[0]


def submitting(number_nodes: int, number_tasks: int, slots: int) -> tuple[list[float], float, State]:
    """Decisions a second for each block of the last fifth of the tasks, while the others are there; the 99th percentile of
    one in ms; and the state."""
    coming = tasks(number_tasks)
    timed = number_tasks // 5
    state, _ = steps(world(number_nodes, slots), [Submitted(each, 1.0) for each in coming[:-timed]])
    taken = []
    for each in coming[-timed:]:
        began = time.perf_counter()
        state, _ = step(state, Submitted(each, 1.0))
        taken.append(time.perf_counter() - began)
    size = len(taken) // BLOCKS
    rates = [size / sum(taken[at * size : (at + 1) * size]) for at in range(BLOCKS)]
    return rates, 1000 * statistics.quantiles(taken, n=100)[98], state


def finishing(state: State, number: int) -> list[float]:
    """Results a second for each block while running tasks end one by one and waiting ones take their places."""
    running = [(name, grant.held.attempt, grant.nodes[0]) for name, grant in list(state.running.items())[:number]]
    size, rates = len(running) // BLOCKS, []
    for at in range(BLOCKS):
        began = time.perf_counter()
        for name, attempt, node in running[at * size : (at + 1) * size]:
            state, _ = step(state, Finished(name, attempt, node, 2.0))
        rates.append(size / (time.perf_counter() - began))
    return rates


def losing(number_nodes: int, number_tasks: int, slots: int, dead: int) -> tuple[float, int, int]:
    """Virtual seconds from the last sign of `dead` nodes to the last of their movable tasks running elsewhere; how many
    moved, and how many had to wait because no node that may have them had room."""
    state = world(number_nodes, slots)
    state, _ = steps(state, [Submitted(each, 0.0) for each in tasks(number_tasks)])
    gone = sorted(state.nodes)[:dead]
    lost = {name for node in gone for name in state.on.get(node, ())}
    now, moved_at, moved = 0.0, 0.0, set[str]()
    while now < 2 * DEADLINE_S:
        now += BEAT_S
        beats = [
            Heard(node, now, Live(0.5), tuple(Claim(one, state.running[one].held.attempt) for one in state.on.get(node, ())))
            for node in state.nodes
            if node not in gone
        ]
        state, said = steps(state, [*beats, Ticked(now)])
        fresh = {one.task.name for one in said if isinstance(one, Start)} & lost
        if fresh - moved:
            moved, moved_at = moved | fresh, now
    return moved_at, len(moved), len(lost & state.waiting.keys())


def rows(number_nodes: int = 100, number_tasks: int = 10_000) -> list[Row]:
    """All figures; rates are of the best and of the middle of five blocks."""
    roomy, slowest, all_run = submitting(number_nodes, number_tasks, 4 * number_tasks // number_nodes)
    crowded, slowest_crowded, full = submitting(number_nodes, number_tasks, 10)
    ended = finishing(full, 500)
    seconds, moved, waiting = losing(number_nodes, number_tasks // 10, 40, 5)
    started = len(all_run.running)
    return [
        *_rates(f"decisions, all of {number_tasks} tasks fit on {number_nodes} nodes", roomy),
        make_row("  one decision, 99th percentile", slowest, "ms"),
        make_row("  tasks that run", started, "tasks", f"= {number_tasks}", started == number_tasks),
        *_rates("decisions, nine of ten tasks wait", crowded),
        make_row("  one decision, 99th percentile", slowest_crowded, "ms"),
        *_rates("results taken and the next started, nine of ten wait", ended),
        make_row("5 nodes die: their work runs elsewhere after", seconds, "s, virtual", "<= 180", seconds <= DEADLINE_S),
        make_row("  tasks moved", moved, "tasks", ">= 1", moved > 0),
        make_row("  tasks that had to wait", waiting, "tasks", "= 0", waiting == 0),
    ]


def _rates(name: str, rates: list[float]) -> list[Row]:
    return [
        make_row(name, max(rates), "1/s, best block"),
        make_row("  the same, median block", statistics.median(rates), "1/s"),
    ]


if __name__ == "__main__":
    show("edge_placement", rows(), "--json" in sys.argv)
