from __future__ import annotations

import socket

import pytest

from fedmed.errors import ConfigError, StoreError
from fedmed.operation.attending import Attendant
from fedmed.operation.metrics import CENTER, Reading
from tests.operation.clocks import Hand
from tests.operation.test_health import asked
from tests.operation.test_notifying import heard


@pytest.fixture
def listening(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(tmp_path / "notify"))
        channel.setblocking(False)
        yield channel


def test_a_service_is_attended(listening, tmp_path):
    clock, reasons = Hand(), ["no clinic is online"]
    environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "60000000"}
    read = lambda: Reading(ready=not reasons, sites_online=0)  # noqa: E731
    with Attendant(CENTER, "127.0.0.1:0", read, lambda: reasons, clock, environment) as attendant:
        assert attendant.server is not None
        attendant.ready()
        attendant.turned("waits for clinics")
        attendant.turned("waits for clinics")
        assert heard(listening) == ["WATCHDOG=1", "READY=1", "STATUS=waits for clinics"]
        port = attendant.server.port
        assert asked(port, "/readyz") == (503, "no clinic is online\n")
        reasons.clear()
        attendant.round_ended("committed", 2.0)
        attendant.moved(3, 4)
        attendant.failed(StoreError("full"))
        exposed = asked(port, "/metrics")[1].splitlines()
        assert {"fedmed_ready 1.0", 'fedmed_errors_total{kind="store"} 1.0', "fedmed_sites_online 0.0"} <= set(exposed)
        clock.sleep(61)
        assert asked(port, "/healthz")[0] == 503
        attendant.stopping("ends the round")
        assert asked(port, "/healthz")[0] == 200
        assert heard(listening) == ["STOPPING=1", "WATCHDOG=1", "STATUS=ends the round"]
    with pytest.raises(ConnectionRefusedError):
        asked(port, "/healthz")


def test_nobody_looks():
    with Attendant(CENTER, None, Reading, list, Hand(), {}) as attendant:
        attendant.ready()
        attendant.round_ended("odd", 1)
        attendant.moved(1, 1)
        attendant.failed(ValueError())
        assert attendant.server is None


def test_a_watchdog_that_is_no_number():
    with pytest.raises(ConfigError, match="WatchdogSec"):
        Attendant(CENTER, None, Reading, list, Hand(), {"WATCHDOG_USEC": "-1"})
