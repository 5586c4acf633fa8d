"""Where things run and why: plain rows for `fedmed edge status`, its table and its JSON, and for Prometheus."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

from fedmed.placement.choosing import place
from fedmed.placement.nodes import Standing, Tier
from fedmed.placement.state import Grant, Held, Parked, State, Waiting
from fedmed.placement.tasks import Amount, Kind

Measure = tuple[str, str, str, Mapping[str, str], float]
"""Name, help, unit (empty for a number of things), labels, value."""


@dataclass(frozen=True)
class NodeRow:
    """One node, as shown."""

    name: str
    tier: str
    clinic: str
    standing: str
    """"ready", "lost" or "isolated: why"."""
    heard_ago_s: float
    busy: float | None
    """Share; None where it cannot be read."""
    booked: float
    """Largest share of what it has that its tasks take."""
    tasks: tuple[str, ...]


@dataclass(frozen=True)
class TaskRow:
    """One task, as shown."""

    name: str
    kind: str
    clinic: str
    priority: int
    status: str
    """"running", "waiting" or "parked"."""
    where: tuple[str, ...]
    how: str
    """Accelerator, precision, batch; empty where it does not run."""
    age_s: float
    attempt: int
    progress: str
    why: str


def node_rows(state: State) -> list[NodeRow]:
    """Every node, by tier, clinic and name."""
    order = {tier: number for number, tier in enumerate(Tier)}
    standings = sorted(state.nodes.values(), key=lambda each: (order[each.node.tier], each.node.clinic, each.node.name))
    return [_node_row(state, each) for each in standings]


def _node_row(state: State, standing: Standing) -> NodeRow:
    node = standing.node
    words = "lost" if standing.is_lost else f"isolated: {standing.isolated}" if standing.isolated else "ready"
    booked = min(1.0, standing.used.share(node.capacity))
    ago = max(0.0, state.now - standing.heard)
    return NodeRow(
        node.name, node.tier.value, node.clinic, words, ago, standing.live.busy, booked, state.on.get(node.name, ())
    )


def task_rows(state: State) -> list[TaskRow]:
    """Every task that is not over: what runs, what waits (in the order in which it is tried), what waits for a person."""
    ageing_s = state.rules.ageing_s
    running = sorted(state.running.values(), key=lambda each: (each.nodes, each.held.task.name))
    waiting = sorted(state.waiting.values(), key=lambda each: each.held.key(ageing_s))
    parked = sorted(state.parked.values(), key=lambda each: each.held.task.name)
    return [_task_row(state, each) for group in (running, waiting, parked) for each in group]


def _task_row(state: State, entry: Grant | Waiting | Parked) -> TaskRow:
    held = entry.held
    where: tuple[str, ...] = ()
    how, status = "", "parked" if isinstance(entry, Parked) else "waiting"
    if isinstance(entry, Grant):
        rung = entry.rung
        steps = f" x {rung.accumulate}" if rung.accumulate > 1 else ""
        where, status = entry.nodes, "running"
        how = f"{'/'.join(dict.fromkeys(entry.engines))} {rung.precision.value} batch {rung.batch}{steps}"
    task = held.task
    age = max(0.0, state.now - held.since)
    return TaskRow(
        task.name,
        task.kind.value,
        task.clinic,
        task.priority,
        status,
        where,
        how,
        age,
        held.attempt,
        held.progress,
        entry.why,
    )


def reasons(state: State, name: str) -> dict[str, str]:
    """For each node why a task is not there; empty for a task that is over or was never here."""
    entry = state.running.get(name) or state.waiting.get(name) or state.parked.get(name)
    if entry is None:
        return {}
    held: Held = entry.held
    here = entry.nodes if isinstance(entry, Grant) else ()
    decision = place(state, held)
    told = {node: str(passed) for node, passed in decision.passed.items()}
    told |= {seat.node: "it may go there now" for seat in decision.seats}
    return {node: words for node, words in sorted(told.items()) if node not in here}


def as_json(state: State) -> dict[str, object]:
    """All of it in what JSON knows; times are seconds."""
    return {
        "now": state.now,
        "nodes": [_plain(row) for row in node_rows(state)],
        "tasks": [_plain(row) for row in task_rows(state)],
    }


def _plain(row: NodeRow | TaskRow) -> dict[str, object]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(row).items()}


def as_table(state: State) -> str:
    """All of it for people: nodes, then tasks."""
    nodes = [
        (row.name, row.tier, row.clinic or "center", row.standing, _share(row.busy), _share(row.booked), str(len(row.tasks)))
        for row in node_rows(state)
    ]
    tasks = [
        (row.name, row.kind, str(row.priority), row.status, " ".join(row.where) or "-", row.how or "-", row.why)
        for row in task_rows(state)
    ]
    return "\n".join(
        (
            *_columns(("NODE", "TIER", "CLINIC", "STANDING", "BUSY", "BOOKED", "TASKS"), nodes),
            "",
            *_columns(("TASK", "CLASS", "PRIORITY", "STATUS", "WHERE", "HOW", "WHY"), tasks),
        )
    )


def _share(value: float | None) -> str:
    return "unsupported" if value is None else f"{value:.0%}"


def _columns(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    listed = [head, *rows]
    widths = [max(len(row[at]) for row in listed) for at in range(len(head))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in listed]


def measures(state: State) -> list[Measure]:
    """What Prometheus shows of the placement: numbers by tier and class, no names of tasks."""
    rows: list[Measure] = []
    for tier in Tier:
        standings = [each for each in state.nodes.values() if each.node.tier is tier]
        told = {"ready": 0, "lost": 0, "isolated": 0}
        for each in standings:
            told["lost" if each.is_lost else "isolated" if each.isolated else "ready"] += 1
        for word, number in told.items():
            labels = {"tier": tier.value, "standing": word}
            rows.append(("fedmed_placement_nodes", "Enrolled nodes, by tier and standing.", "", labels, float(number)))
        used = Amount()
        for each in standings:
            used = used.plus(each.used)
        share = min(1.0, used.share(state.totals.get(tier, Amount())))
        about = "Largest share of what a tier's nodes have together that is given to tasks."
        rows.append(("fedmed_placement_booked_ratio", about, "ratio", {"tier": tier.value}, share))
    for kind in Kind:
        for word, entries in (("running", state.running), ("waiting", state.waiting), ("parked", state.parked)):
            number = sum(each.held.task.kind is kind for each in entries.values())
            labels = {"class": kind.value, "status": word}
            rows.append(
                ("fedmed_placement_tasks", "Tasks that are not over, by class and status.", "", labels, float(number))
            )
        waits = [state.now - each.held.since for each in state.waiting.values() if each.held.task.kind is kind]
        about = "Age of the oldest task that waits, by class; 0 where none does."
        labels = {"class": kind.value}
        rows.append(("fedmed_placement_oldest_wait_seconds", about, "seconds", labels, max(waits, default=0.0)))
    return rows
