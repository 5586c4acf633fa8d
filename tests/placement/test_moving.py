from __future__ import annotations

from dataclasses import replace

import pytest

from fedmed.errors import FederationError
from fedmed.placement.events import Ticked
from fedmed.placement.machine import step, steps
from fedmed.placement.moving import Work
from tests.placement.worlds import node, starts, submitted, task, where, world


def test_no_booking_outside_the_clinic_whoever_chose_it():
    state, _ = submitted(world(node("d"), node("w", clinic="west")), task("x"))
    work = Work(state.copied())
    grant = work.state.running["x"]
    work.free(grant)
    with pytest.raises(FederationError, match="its clinic east alone"):
        work.seat(replace(grant, nodes=("w",)))
    assert work.state.nodes["w"].used == state.nodes["w"].used


def test_a_step_leaves_the_state_before_it_as_it_was():
    before, _ = submitted(world(node("d")), task("x"), task("y", cores=4))
    shown = repr(before)
    step(before, Ticked(500))
    assert repr(before) == shown


def test_several_events_at_once_are_as_one_by_one():
    world_ = world(node("d"), node("e"))
    tasks = [task(f"x{n}", cores=1 + n % 3, priority=n % 4) for n in range(8)]
    together, said = submitted(world_, *tasks)
    one_by_one, heard = world_, []
    for each in tasks:
        one_by_one, more = submitted(one_by_one, each)
        heard += more
    assert tuple(heard) == said
    assert (where(together), together.queues) == (where(one_by_one), one_by_one.queues)
    assert starts(steps(together, [])[1]) == {}
