from __future__ import annotations

from fedmed.placement.events import Heard, Joined, Start, Submitted
from fedmed.placement.machine import steps
from fedmed.placement.nodes import Live, Node, Tier
from fedmed.placement.rules import Rules
from fedmed.placement.state import State
from fedmed.placement.tasks import Amount, Kind, Needs, Precision, Task

GB = 10**9


def node(name, tier=Tier.DEVICE, clinic="east", cores=4, memory=8, gpu=0, disk=100, **more):
    clinic = "" if tier is Tier.CENTER else clinic
    return Node(name, tier, clinic, Amount(cores * 1000, memory * GB, gpu * GB, disk * GB), **more)


def task(name, kind=Kind.BATCH, clinic="east", cores=1, memory=1, **more):
    needs = more.pop("needs", None) or Needs(Amount(cores * 1000, memory * GB))
    return Task(name, kind, clinic, needs, **more)


def on_gpu(batch=1, item=0, fixed=0, ladder=(Precision.FP32,), split=False, cores=1):
    return Needs(
        Amount(cores * 1000),
        ("cuda",),
        tuple(ladder),
        batch,
        can_split=split,
        fixed_bytes=int(fixed * GB),
        item_bytes=int(item * GB),
    )


def world(*nodes, at=0.0, **rules):
    state, _ = steps(State(Rules(**rules)), [Joined(each, at) for each in nodes])
    return state


def submitted(state, *tasks, at=0.0):
    return steps(state, [Submitted(each, at) for each in tasks])


def heard(name, at, busy=None, running=()):
    return Heard(name, at, Live(busy), tuple(running))


def starts(said):
    return {each.task.name: each.node for each in said if isinstance(each, Start)}


def where(state):
    return {name: grant.nodes for name, grant in state.running.items()}
