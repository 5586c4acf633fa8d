from __future__ import annotations

import os
import socket

import pytest

from fedmed.errors import ConfigError
from fedmed.operation.notifying import Notifier
from tests.operation.clocks import Hand


@pytest.fixture
def listening(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(tmp_path / "notify"))
        channel.setblocking(False)
        yield channel


def heard(channel) -> list[str]:
    found = []
    while True:
        try:
            found.append(channel.recv(4096).decode())
        except BlockingIOError:
            return found


def test_what_systemd_hears(listening, tmp_path):
    notifier = Notifier.of({"NOTIFY_SOCKET": str(tmp_path / "notify")}, Hand(12.5))
    notifier.ready()
    notifier.status("round 3 of 10\nREADY=0")
    notifier.reloading()
    notifier.extend(90)
    notifier.stopping()
    notifier.turned()
    assert heard(listening) == [
        "READY=1",
        r"STATUS=round 3 of 10\nREADY=0",
        "RELOADING=1\nMONOTONIC_USEC=12500000",
        "EXTEND_TIMEOUT_USEC=90000000",
        "STOPPING=1",
    ]


def test_the_watchdog_is_fed_while_the_loop_turns_and_no_longer(listening, tmp_path):
    clock = Hand()
    environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}
    notifier = Notifier.of(environment, clock)
    assert notifier.watchdog_s == 30
    for _ in range(60):
        notifier.turned()
        clock.sleep(1)
    assert heard(listening) == ["WATCHDOG=1"] * 6
    clock.sleep(600)
    assert heard(listening) == []
    notifier.turned()
    assert heard(listening) == ["WATCHDOG=1"]


def test_an_abstract_socket():
    name = f"fedmed-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(f"\0{name}")
        channel.setblocking(False)
        Notifier(f"@{name}", Hand()).ready()
        assert heard(channel) == ["READY=1"]


def test_nobody_listens(tmp_path):
    for address in ("", str(tmp_path / "nobody"), "x" * 200):
        Notifier(address, Hand(), 1.0).turned()


def test_a_watchdog_of_another_process_is_none():
    assert Notifier.of({"WATCHDOG_USEC": "1", "WATCHDOG_PID": "1"}, Hand()).watchdog_s is None
    assert Notifier.of({}, Hand()).watchdog_s is None
    with pytest.raises(ConfigError, match="WATCHDOG_USEC"):
        Notifier.of({"WATCHDOG_USEC": "soon"}, Hand())
