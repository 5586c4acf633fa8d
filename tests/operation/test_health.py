from __future__ import annotations

import http.client
import socket
import time

import pytest

from fedmed.config.health import parsed
from fedmed.config.roles import Center, load_role, written
from fedmed.errors import ConfigError, StoreError
from fedmed.operation.health import AT_ONCE, EXPOSITION, HealthServer, Probes, Pulse, answered
from tests.operation.clocks import Hand

WELL = Probes(lambda: "", list, lambda: b"fedmed_ready 1.0\n")


def asked(port: int, path: str, method: str = "GET", headers: dict[str, str] | None = None) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_over_http():
    reasons = ["no center is reached"]
    with HealthServer("127.0.0.1:0", Probes(lambda: "", lambda: list(reasons), lambda: b"fedmed_ready 1.0\n")) as server:
        assert asked(server.port, "/healthz") == (200, "ok\n")
        assert asked(server.port, "/readyz") == (503, "no center is reached\n")
        reasons.clear()
        assert asked(server.port, "/readyz") == (200, "ready\n")
        assert asked(server.port, "/metrics") == (200, "fedmed_ready 1.0\n")
        assert asked(server.port, "/metrics?x=1")[0] == 404
        assert asked(server.port, "/", "POST")[0] == 405
        assert asked(server.port, "/healthz", "HEAD")[0] == 405
        assert asked(server.port, "/healthz", headers={"Host": "clinic.example.org"})[0] == 403
        assert asked(server.port, "/" + "x" * 70_000)[0] == 414
    with pytest.raises(ConnectionRefusedError):
        asked(server.port, "/healthz")


def test_a_main_loop_that_stands_still_is_not_healthy():
    clock = Hand()
    pulse = Pulse(clock, 60)
    probes = Probes(pulse.fault, list, lambda: b"")
    clock.sleep(59)
    assert answered("GET", "/healthz", "localhost:9464", probes).status == 200
    clock.sleep(2)
    for path in ("/healthz", "/readyz"):
        found = answered("GET", path, "localhost:9464", probes)
        assert (found.status, found.body) == (503, b"the main loop has not turned for 61 s\n")
    pulse.turned()
    assert answered("GET", "/readyz", "[::1]:9464", probes).status == 200
    assert answered("GET", "/metrics", None, probes).kind == EXPOSITION


def test_a_probe_that_fails_tells_its_kind_alone():
    def fails() -> bytes:
        raise StoreError("/data/patient-4711 is damaged")

    found = answered("GET", "/metrics", None, Probes(lambda: "", list, fails))
    assert (found.status, found.body) == (503, b"it cannot be known (StoreError)\n")


def test_an_address_that_is_taken_is_named_as_it_is_written():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"health: 127.0.0.1:{port} cannot"), HealthServer(f"127.0.0.1:{port}", WELL):
            pass


def test_a_unix_socket_and_one_left_behind(tmp_path):
    path = tmp_path / "health.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    with HealthServer(str(path), WELL), socket.socket(socket.AF_UNIX) as channel:
        assert path.stat().st_mode & 0o777 == 0o660
        channel.connect(str(path))
        channel.sendall(b"GET /readyz HTTP/1.0\r\n\r\n")
        assert channel.makefile("rb").read().endswith(b"\r\n\r\nready\n")
        with pytest.raises(ConfigError, match="cannot be listened at"), HealthServer(str(path), WELL):
            pass
    assert not path.exists()


def test_many_callers_take_no_more_than_their_room():
    with HealthServer("127.0.0.1:0", WELL) as server:
        idle = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(AT_ONCE)]
        refused = 0
        for _ in range(50):  # the last of them may not be accepted yet
            try:
                refused += asked(server.port, "/healthz")[0] != 200
            except (ConnectionError, http.client.HTTPException):
                refused += 1
        assert refused
        for each in idle:
            each.close()
        for _ in range(200):  # each idle one's thread has to see that its caller went
            try:
                if asked(server.port, "/healthz") == (200, "ok\n"):
                    break
            except (ConnectionError, http.client.HTTPException):
                time.sleep(0.05)
        else:
            pytest.fail("it did not recover")


@pytest.mark.parametrize(
    "address", ["0.0.0.0:9464", "192.168.0.1:80", "localhost:1", "127.0.0.1:65536", "run/x", "/" + "x" * 200]
)
def test_nowhere_but_on_this_machine(tmp_path, address):
    with pytest.raises(ValueError, match="allowed"):
        parsed(address)
    text = written(Center(federation="study", host="center")).replace(b"health: null", f"health: '{address}'".encode())
    (tmp_path / "center.yaml").write_bytes(text)
    with pytest.raises(ConfigError, match="health"):
        load_role(tmp_path / "center.yaml", Center)


def test_a_port_that_is_taken():
    with HealthServer("127.0.0.1:0", WELL) as server, pytest.raises(ConfigError, match="name another address"):
        HealthServer(f"127.0.0.1:{server.port}", WELL).__enter__()
