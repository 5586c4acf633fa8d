"""The way to a center with real handshakes; each fault ends in one finding, and what follows it is skipped."""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
import ssl
from dataclasses import replace
from pathlib import Path

import pytest

from fedmed.center.echo import Echo
from fedmed.center.listening import Listener, Tls
from fedmed.clinic.doctor import traffic
from fedmed.clinic.doctor.settings import Given
from fedmed.clock import SystemClock
from fedmed.operation.doctor.finding import Finding, Status, exit_code
from fedmed.wire.asgi import Receive, Scope, Send, length_in
from tests.center.pki import Authority
from tests.clinic.doctor.center import NETWORK, Off, Proxy, examined, expired, serving, silent, speaking_tls, tinyproxy


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    for name in ("https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> Authority:
    return Authority(tmp_path_factory.mktemp("doctor") / "ca")


@pytest.fixture(scope="module")
def files(authority: Authority) -> Tls:
    return authority.server()


@pytest.fixture(scope="module")
def listener(files: Tls):
    with Listener(Echo(lambda _: None, SystemClock()), files, "127.0.0.1", 0) as started:
        yield started


@pytest.fixture(scope="module")
def given(authority: Authority, listener: Listener, tmp_path_factory) -> Given:
    client = authority.client("north")
    folder = tmp_path_factory.mktemp("clinic")
    return Given(folder, "127.0.0.1", listener.port, None, authority.pem, client.chain_pem, client.key_pem)


def only_fault(found: dict[str, Finding], check: str, code: int) -> Finding:
    """One failure; every check that needs it skipped by its name; what was got, what is allowed, what to do."""
    [failed] = [each for each in found.values() if each.status is Status.FAIL]
    assert failed.check == check
    assert failed.got
    assert failed.allowed
    assert failed.todo
    assert exit_code(list(found.values())) == code
    later = [each for each in found.values() if each.status is Status.SKIPPED]
    assert all(each.got == f"the check {check!r} failed" for each in later)
    assert len(later) == len(NETWORK) - NETWORK.index(check) - 1 or check in ("answer", "clock")
    return failed


def test_all_is_well_on_a_line_that_is(given: Given):
    found = examined(given)
    assert [each.status for each in found.values()] == [Status.OK] * len(NETWORK)
    assert "issued by CN=fedmed development" in found["authority"].got
    assert "path MTU 65" in found["packets"].got
    assert "down" in found["speed"].got


def test_before_joining_what_needs_a_certificate_is_skipped(given: Given):
    found = examined(replace(given, certificate=None, key=None))
    assert {name for name, each in found.items() if each.status is Status.SKIPPED} == {"answer", "packets", "speed"}
    assert "join first" in found["packets"].got
    assert "the center told no time" in found["clock"].got
    assert exit_code(list(found.values())) == 0


def test_an_unknown_name(given: Given):
    failed = only_fault(examined(replace(given, host="center.invalid")), "name", 11)
    assert "center.invalid is not known here" in failed.got
    assert "DNS" in failed.todo


def test_a_refused_port(given: Given):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    failed = only_fault(examined(replace(given, port=port)), "connection", 11)
    assert "refused" in failed.got
    assert "where a proxy is the only way out, name it: --proxy http://HOST:PORT" in failed.todo
    assert "https_proxy" not in failed.todo


def test_a_proxy_of_the_environment_that_is_not_used_is_told_where_there_is_no_way_without(given: Given, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    failed = only_fault(examined(replace(given, port=port, proxy="none")), "connection", 11)
    assert "the one in https_proxy is not used" in failed.todo
    assert "name it" not in only_fault(examined(replace(given, port=port)), "connection", 11).todo


def test_a_port_that_takes_the_connection_and_says_nothing(given: Given, monkeypatch):
    monkeypatch.setattr("fedmed.operation.doctor.shaking.SHAKE_S", 0.5)
    with serving(silent) as port:
        failed = only_fault(examined(replace(given, port=port)), "tls", 12)
    assert "says nothing" in failed.got


def test_a_port_that_speaks_something_else(given: Given):
    with serving(lambda made: (made.sendall(b"SSH-2.0-OpenSSH_9.2\r\n"), made.close())[0]) as port:
        assert "no TLS there" in only_fault(examined(replace(given, port=port)), "tls", 12).got


def test_a_server_of_tls_1_2(given: Given, files: Tls):
    with serving(speaking_tls(files, ssl.TLSVersion.TLSv1_2)) as port:
        failed = only_fault(examined(replace(given, port=port)), "tls", 12)
    assert failed.got == "TLS 1.2 at most"
    assert failed.allowed == "TLS 1.3"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_an_intercepting_proxy_is_named_by_its_issuer(given: Given, tmp_path: Path, version: ssl.TLSVersion):
    from fedmed.identity.authority import DevelopmentAuthority

    made = Authority.__new__(Authority)
    made.folder, made.own = tmp_path, DevelopmentAuthority.generate(SystemClock(), name="St Elsewhere TLS Inspection")
    made.own.save(tmp_path)
    made.pem = tmp_path / "authority.crt"
    with serving(speaking_tls(made.server(), version)) as port:
        found = examined(replace(given, port=port))
    if version is ssl.TLSVersion.TLSv1_2:
        assert "something between ends TLS" in only_fault(found, "tls", 12).todo
    else:
        failed = only_fault(found, "authority", 12)
        assert "issued by CN=St Elsewhere TLS Inspection" in failed.got
        assert "exempt this host from inspection" in failed.todo


def test_an_expired_certificate_of_the_center(given: Given, authority: Authority):
    with serving(speaking_tls(expired(authority), ssl.TLSVersion.TLSv1_3)) as port:
        failed = only_fault(examined(replace(given, port=port)), "certificate", 12)
    assert failed.got.startswith("expired: valid ")
    assert "or the certificate is wrong" in failed.got
    assert "the center must renew" in failed.todo


def test_a_certificate_for_another_host(given: Given, files: Tls):
    with Listener(Echo(lambda _: None, SystemClock()), files, "0.0.0.0", 0) as up:
        failed = only_fault(examined(replace(given, host="127.0.0.2", port=up.port)), "certificate", 12)
    assert "does not name this host" in failed.got
    assert "127.0.0.2" in failed.got


@pytest.mark.parametrize("ahead", [420.0, -420.0])
def test_a_wrong_clock(given: Given, files: Tls, ahead: float):
    # The tests' certificates begin five minutes ago, so that a clock behind is made by a center ahead.
    here, there = (Off(ahead), SystemClock()) if ahead > 0 else (SystemClock(), Off(-ahead))
    with Listener(Echo(lambda _: None, there), files, "127.0.0.1", 0) as up:
        failed = only_fault(examined(replace(given, port=up.port), here), "clock", 12)
    assert re.search(r" (6 min 59|7 min [012]) s " + ("ahead of" if ahead > 0 else "behind"), failed.got)
    assert failed.allowed == "300 s"
    assert ("set it back" if ahead > 0 else "set it forward") in failed.todo


def test_a_clock_that_is_years_wrong_fails_at_the_certificate(given: Given):
    failed = only_fault(examined(given, Off(1e8)), "certificate", 12)
    assert "this machine's clock is 27777 h 46 min ahead of the center's" in failed.got
    assert failed.todo.startswith("set it back by 27777 h 46 min")


def test_before_joining_a_clock_that_is_years_wrong_is_wrong_by_so_much_or_more(given: Given):
    failed = only_fault(examined(replace(given, certificate=None, key=None), Off(-1e8)), "certificate", 12)
    assert "the clock is behind by 27777 h" in failed.got
    assert "or more" in failed.got
    assert "if it is behind" in failed.todo


def test_a_certificate_of_another_federation(given: Given, tmp_path: Path):
    client = Authority(tmp_path / "other").client("north")
    found = examined(replace(given, certificate=client.chain_pem, key=client.key_pem))
    [failed] = [each for each in found.values() if each.status is Status.FAIL]
    assert failed.check == "answer"
    assert "does not take this clinic's certificate" in failed.got
    assert found["clock"].status is Status.OK


def test_large_bodies_that_stall_where_small_ones_pass(given: Given, files: Tls, monkeypatch):
    monkeypatch.setattr(traffic, "STALL_S", 0.7)
    echo = Echo(lambda _: None, SystemClock())

    async def hole(scope: Scope, receive: Receive, send: Send) -> None:
        if (length_in(scope) or 0) >= 10**6:
            await asyncio.sleep(2)
            return
        await echo(scope, receive, send)

    with Listener(hole, files, "127.0.0.1", 0) as up:
        failed = only_fault(examined(replace(given, port=up.port)), "packets", 11)
    assert failed.got.startswith("200 B and 64 kB arrive, 1 MB do not")
    assert "MTU black hole" in failed.todo


def test_through_a_proxy(given: Given):
    proxy = Proxy()
    with serving(proxy) as port:
        found = examined(replace(given, proxy=f"http://us%40er:pass@127.0.0.1:{port}"))
    assert [each.status for each in found.values()] == [Status.OK] * len(NETWORK)
    assert f"through proxy 127.0.0.1:{port}" in found["connection"].got
    assert all(b"Basic dXNAZXI6cGFzcw==" in head for head in proxy.heads)
    assert not any("pass" in each.got for each in found.values())


def test_the_environments_proxy_counts_unless_no_proxy_names_the_host(given: Given, monkeypatch):
    with serving(Proxy(b"HTTP/1.1 403 Filtered\r\n\r\n")) as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        failed = only_fault(examined(given), "connection", 11)
        assert "403 Filtered" in failed.got
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        assert examined(given)["connection"].status is Status.OK


@pytest.mark.parametrize(
    ("answer", "todo"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "USER:PASSWORD"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "the center's name"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "no HTTP proxy"),
    ],
)
def test_a_proxy_that_does_not_connect(given: Given, answer: bytes, todo: str):
    with serving(Proxy(answer)) as port:
        failed = only_fault(examined(replace(given, proxy=f"http://127.0.0.1:{port}")), "connection", 11)
    assert todo in failed.todo


@pytest.mark.skipif(shutil.which("tinyproxy") is None, reason="tinyproxy is not installed")
def test_through_a_real_proxy(given: Given, listener: Listener, tmp_path: Path):
    with tinyproxy(tmp_path, listener.port) as port:
        asked = replace(given, proxy=f"http://127.0.0.1:{port}")
        assert [each.status for each in examined(asked).values()] == [Status.OK] * len(NETWORK)
        failed = only_fault(examined(replace(asked, port=1)), "connection", 11)
        assert "403" in failed.got
