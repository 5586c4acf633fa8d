"""Handshakes that fail at a real port: each has its reason, and a flood of them fills neither log nor memory."""

from __future__ import annotations

import datetime
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from hypothesis import given
from hypothesis import strategies as st

from fedmed.center.listening import Listener
from fedmed.center.service import CLINICS
from fedmed.clock import SystemClock
from fedmed.identity.authority import KEY_FILE
from fedmed.operation import accepting
from fedmed.operation.handshakes import MOST, Fault, Handshakes, advice, fault_of
from fedmed.operation.metrics import HANDSHAKES
from fedmed.store.audit.event import Event, faults_of
from fedmed.store.audit.floods import AGAIN_S
from fedmed.wire.asgi import Receive, Scope, Send, answer
from tests.center.federation import Brisk
from tests.center.pki import PEM, Authority, ask, context


@dataclass
class Port:
    listener: Listener
    authority: Authority
    handshakes: Handshakes
    told: list[Event]
    place: Path

    def shaking(self, name: str, authority: Authority | None = None) -> ssl.SSLContext:
        return context(self.authority, (authority or self.authority).client(name))

    def dated(self, begins_in_days: int, ends_in_days: int) -> ssl.SSLContext:
        """With a certificate of the right authority for another time."""
        client = self.authority.client("dated")
        found, now = x509.load_der_x509_certificate(client.der), datetime.datetime.now(datetime.timezone.utc)
        secret = serialization.load_pem_private_key((self.authority.folder / KEY_FILE).read_bytes(), None)
        made = x509.CertificateBuilder(found.issuer, found.subject, found.public_key(), found.serial_number)
        made = made.not_valid_before(now + datetime.timedelta(days=begins_in_days))
        made = made.not_valid_after(now + datetime.timedelta(days=ends_in_days))
        client.chain_pem.write_bytes(made.sign(secret, hashes.SHA384()).public_bytes(PEM))  # type: ignore[arg-type]
        return context(self.authority, client)

    def knocks(self, shaking: ssl.SSLContext) -> None:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            ask(self.listener.port, shaking, "GET", "/")

    def says(self, said: bytes) -> None:
        with socket.create_connection(("127.0.0.1", self.listener.port), 10) as made, suppress(ConnectionError):
            made.sendall(said)
            while made.recv(1000):
                pass


async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
    await answer(send, 200, b"")


@pytest.fixture
def port(tmp_path: Path) -> Iterator[Port]:
    authority, told = Authority(tmp_path / "ca"), list[Event]()
    handshakes = Handshakes(("study", "center"), CLINICS, SystemClock(), told.append)
    with Listener(nothing, authority.server(), "127.0.0.1", 0, failed=handshakes.note) as listener:
        yield Port(listener, authority, handshakes, told, tmp_path)


def older(port: Port) -> None:
    shaking = port.shaking("north")
    shaking.minimum_version = shaking.maximum_version = ssl.TLSVersion.TLSv1_2
    port.knocks(shaking)


def unlike(port: Port) -> None:
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port.listener.port}", "-tls1_3", "-sigalgs", "RSA-PSS+SHA256"]
    subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=30)


def misled(port: Port) -> None:
    other = Authority(port.place / "other")
    port.knocks(context(other, other.client("north")))


BAD: dict[Fault, Callable[[Port], None]] = {
    Fault.NO_CERTIFICATE: lambda port: port.knocks(context(port.authority)),
    Fault.UNKNOWN_AUTHORITY: lambda port: port.knocks(port.shaking("north", Authority(port.place / "other"))),
    Fault.EXPIRED: lambda port: port.knocks(port.dated(-3, -1)),
    Fault.NOT_YET_VALID: lambda port: port.knocks(port.dated(1, 3)),
    Fault.TOO_OLD: older,
    Fault.NOTHING_IN_COMMON: unlike,
    Fault.NOT_TLS: lambda port: port.says(b"GET / HTTP/1.1\r\nHost: center\r\n\r\n"),
    Fault.REFUSED_BY_PEER: misled,
}


@pytest.mark.parametrize("fault", BAD, ids=lambda fault: fault.value)
def test_a_bad_handshake_is_in_the_log_with_its_reason_and_who_knocked(port: Port, fault: Fault):
    BAD[fault](port)
    port.listener.stop()
    (entry,) = port.told
    assert (entry.action, entry.outcome, entry.reason) == ("refuse.handshake", "refused", advice(fault, CLINICS))
    assert entry.details == {"peer": "127.0.0.1", "code": fault.value, "number": 1}
    assert not list(faults_of(entry))
    assert port.handshakes.standing()["counts"] == {fault.value: 1}


def test_a_server_certificate_does_not_make_a_client(port: Port):
    files = port.authority.server("other")
    shaking = context(port.authority)
    shaking.load_cert_chain(files.chain_pem, files.key_pem)
    assert ask(port.listener.port, shaking, "GET", "/") == (200, b"")  # whom it names is looked at by the fence


@pytest.mark.parametrize("said", [b"SSH-2.0-OpenSSH_9.2\r\n", bytes(200), b"\x16\x03\x01\x00\x05hello", b"\x80" * 64])
def test_bytes_that_are_no_handshake_have_a_reason_too(port: Port, said: bytes):
    port.says(said)
    port.listener.stop()
    (entry,) = port.told
    assert entry.details["code"] in ("not-tls", "other")


def test_who_only_looks_whether_the_port_is_open_is_counted_and_not_logged(port: Port):
    for _ in range(3):
        socket.create_connection(("127.0.0.1", port.listener.port)).close()
    BAD[Fault.NO_CERTIFICATE](port)
    port.listener.stop()
    assert [each.details["code"] for each in port.told] == ["no-certificate"]
    assert port.handshakes.standing()["counts"] == {"gone": 3, "no-certificate": 1}


def test_who_says_nothing_is_let_go_in_the_end(port: Port, monkeypatch):
    monkeypatch.setattr(accepting, "SHAKE_S", 0.3)
    with socket.create_connection(("127.0.0.1", port.listener.port), 10) as silent:
        assert silent.recv(1) == b""
    port.listener.stop()
    assert port.told == []
    assert port.handshakes.standing()["counts"] == {"gone": 1}


def test_members_are_served_beside_a_flood_which_is_one_entry_and_a_number(port: Port):
    shaking, bad = port.shaking("north"), context(port.authority)
    for _ in range(30):
        port.knocks(bad)
    assert ask(port.listener.port, shaking, "GET", "/") == (200, b"")
    port.listener.stop()
    assert len(port.told) == 1
    port.handshakes.floods.settle(is_end=True)
    assert [each.details["number"] for each in port.told] == [1, 29]


class Moved(Brisk):
    at = 0.0

    def now(self) -> float:
        return self.at


@given(st.lists(st.tuples(st.integers(0, 2 * MOST), st.floats(0, AGAIN_S)), max_size=300))
def test_every_failure_is_counted_once_and_no_minute_has_more_entries_than_are_allowed(knocks: list[tuple[int, float]]):
    told, clock, error = list[Event](), Moved(), ssl.SSLError(1, "x")
    error.reason = "BAD"
    handshakes = Handshakes(("study", "center"), CLINICS, clock, told.append)
    at, entries = [], 0
    for peer, seconds in knocks:
        clock.at += seconds
        handshakes.note(f"10.0.0.{peer}", error)
        at += [clock.at] * (len([each for each in told if each.reason != "as before"]) - entries)
        entries = len(at)
    handshakes.floods.settle(is_end=True)
    assert sum(int(each.details["number"] or 0) for each in told) == len(knocks)
    assert all(sum(start <= each < start + AGAIN_S for each in at) <= 2 * (MOST + 1) for start in at)


@given(st.integers(0, 200))
def test_every_reason_of_a_certificate_is_one_of_ours(code: int):
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code = code
    assert fault_of(error) in (Fault.UNFIT, Fault.EXPIRED, Fault.NOT_YET_VALID, Fault.UNKNOWN_AUTHORITY)


def test_the_metrics_have_every_fault():
    assert set(HANDSHAKES) == {fault.value for fault in Fault}
