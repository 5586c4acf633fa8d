from __future__ import annotations

from fedmed.twin.planning.energy import joules
from fedmed.twin.profiles import built_in


def test_a_machine_that_waits_takes_what_it_takes_at_rest():
    t4 = built_in()["t4"]
    assert joules(t4, 10, 10) == 700
    assert joules(t4, 10, 110) == 700 + 100 * 11
    assert joules(t4, 10, 5) == 700
