from __future__ import annotations

from fedmed.health.readings import read
from fedmed.health.sizes import sizes


def test_what_cannot_be_read_is_left_out():
    found = sizes([read("memory_total", None, why="no /proc/meminfo")])
    assert found.keys() == {"cores", "cards"}
    assert found["cores"] >= 1
    assert found["cards"] == 0


def test_a_card_without_memory_of_its_own_shares_the_machines():
    found = sizes([read("gpu_busy", 0.5, "gpu0"), read("memory_total", 8e9), read("disk_total", 6e10)])
    assert (found["cards"], found["memory"], found["disk"]) == (1, 8 * 10**9, 6 * 10**10)
    assert "gpu" not in found


def test_a_card_that_is_lost_is_none():
    card = [read("gpu_reachable", 0.0, "gpu0"), read("gpu_memory_used", 1e9, "gpu0"), read("gpu_memory_free", 1e9, "gpu0")]
    assert sizes(card)["cards"] == 0
    assert "gpu" not in sizes(card)
