from __future__ import annotations

import os
from pathlib import Path

import pytest

from fedmed.clock import SystemClock
from fedmed.health.host import Host, storage_latency
from tests.health.trees import X86, laid_out, values


def test_the_machine_that_this_runs_on():
    found = values(Host(data=Path.cwd()).read())
    assert Host().is_available()
    assert 0 < found["", "memory_free"] < found["", "memory_total"]
    assert found["", "memory_total"] == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 0 < found["", "disk_free"] <= found["", "disk_total"]
    assert 0 <= found["", "disk_used"] <= 1
    assert found["", "uptime"] > 0
    assert found["", "cpu_busy"] >= 0


def test_a_recorded_machine(tmp_path):
    found = values(Host(laid_out(tmp_path, X86), tmp_path).read())
    assert found["", "memory_total"] == 16_000_000 * 1024
    assert found["", "memory_used"] == pytest.approx(0.75)
    assert found["", "network_loss"] == pytest.approx(0.0025)
    assert found["", "uptime"] == 10.5


def test_what_is_not_there_is_unsupported(tmp_path):
    readings = Host(tmp_path, tmp_path / "gone").read()
    assert {each.value for each in readings} == {None}
    assert all(each.why for each in readings)
    assert not Host(tmp_path).is_available()


@pytest.mark.parametrize("snmp", ["", "Tcp: OutSegs\n", "Tcp: OutSegs RetransSegs\nTcp: 1\n", "Tcp: A B\nTcp: x y\n"])
def test_strange_network_counters_are_unsupported(tmp_path, snmp):
    laid_out(tmp_path, X86 | {"proc/net/snmp": snmp})
    assert values(Host(tmp_path, tmp_path).read())["", "network_loss"] is None


def test_no_traffic_is_no_loss_that_is_known(tmp_path):
    laid_out(tmp_path, X86 | {"proc/net/snmp": "Tcp: OutSegs RetransSegs\nTcp: 0 0\n"})
    assert values(Host(tmp_path, tmp_path).read())["", "network_loss"] is None


def test_one_durable_write_is_timed(tmp_path):
    assert 0 < storage_latency(tmp_path, SystemClock()).value < 60
    assert list(tmp_path.iterdir()) == []
    assert storage_latency(tmp_path / "gone", SystemClock()).value is None
