from __future__ import annotations

from fedmed.clock import SystemClock
from fedmed.flower.rule import Roster
from fedmed.flower.server import clock_of
from fedmed.flower.virtual import VirtualGrid
from tests.flower.times import Instant, VirtualClock


def test_a_grid_of_ours_tells_what_time_it_is(grids):
    grid, clock = grids(1, 0), VirtualClock()
    assert isinstance(clock_of(grid), SystemClock)
    assert clock_of(VirtualGrid(grid, Instant(), clock, lambda node, kind: 0.0)) is clock


def test_any_other_grid_goes_by_the_machines_clock():
    assert isinstance(clock_of(Roster([2])), SystemClock)
