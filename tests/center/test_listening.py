"""The listener of the center's one port, with real handshakes."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from fedmed.center.listening import MOST_HEAD, Listener
from fedmed.errors import ConfigError
from fedmed.wire.asgi import Receive, Scope, Send, answer, body_of, certificate_in
from tests.center.pki import Authority, ask, connect, context

MOST = 1000


async def tells(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["path"] == "/slow":
        await asyncio.sleep(0.5)
    body = await body_of(receive)
    await answer(send, 200, (certificate_in(scope) or b"") if scope["path"] == "/who" else body or b"")


@pytest.fixture
def authority(tmp_path: Path):
    return Authority(tmp_path / "ca")


@pytest.fixture
def listener(authority: Authority):
    with Listener(tells, authority.server(), "127.0.0.1", 0, MOST, 5) as started:
        yield started


def test_the_application_sees_the_peers_certificate(listener: Listener, authority: Authority):
    client = authority.client("north")
    assert ask(listener.port, context(authority, client), "GET", "/who") == (200, client.der)


def test_a_body_at_the_limit_passes_and_one_byte_more_does_not(listener: Listener, authority: Authority):
    shaking = context(authority, authority.client("north"))
    assert ask(listener.port, shaking, "POST", "/", b"x" * MOST) == (200, b"x" * MOST)
    status, why = ask(listener.port, shaking, "POST", "/", b"x" * (MOST + 1))
    assert status == 413
    assert b"1001 bytes; allowed are 1000" in why


def test_a_body_of_unknown_length_is_refused(listener: Listener, authority: Authority):
    connection = connect(listener.port, context(authority, authority.client("north")))
    connection.putrequest("POST", "/")
    connection.putheader("Transfer-Encoding", "chunked")
    connection.endheaders()  # it is refused by its head, and closed: a body would be on its way then
    assert connection.getresponse().status == 411
    connection.close()


@pytest.mark.parametrize("size", [MOST_HEAD, 20 * MOST_HEAD])
def test_a_large_head_is_refused_before_it_ends(listener: Listener, authority: Authority, size: int):
    shaking = context(authority, authority.client("north"))
    with (
        socket.create_connection(("127.0.0.1", listener.port), 10) as plain,
        shaking.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
    ):
        said = b""
        with suppress(OSError):  # it is closed while more is sent
            connection.sendall(b"GET / HTTP/1.1\r\nx: " + b"y" * size)
            said = connection.recv(100)
        assert said.startswith(b"HTTP/1.1 400") or size > MOST_HEAD
        with suppress(OSError):
            assert not connection.recv(1000).startswith(b"HTTP/1.1 2")


def test_no_certificate_no_answer(listener: Listener, authority: Authority):
    with pytest.raises((ssl.SSLError, ConnectionError)):
        ask(listener.port, context(authority), "GET", "/who")


def test_a_running_request_is_let_finish_and_no_new_one_begins(authority: Authority):
    shaking, told = context(authority, authority.client("north")), []
    listener = Listener(tells, authority.server(), "127.0.0.1", 0)
    listener.start()
    asking = threading.Thread(target=lambda: told.append(ask(listener.port, shaking, "POST", "/slow", b"late")))
    asking.start()
    threading.Event().wait(0.2)
    listener.stop()
    asking.join()
    assert told == [(200, b"late")]
    with pytest.raises(OSError):  # noqa: PT011
        ask(listener.port, shaking, "GET", "/who")


def test_a_new_server_certificate_is_shown_without_a_restart(listener: Listener, authority: Authority):
    shaking = context(authority, authority.client("north"))
    before = _shown(listener, shaking)
    authority.server()
    listener.renew()
    assert _shown(listener, shaking) != before


def test_files_that_do_not_go_together_are_refused_and_the_old_ones_serve_on(listener: Listener, authority: Authority):
    shaking, files = context(authority, authority.client("north")), authority.server()
    before = _shown(listener, shaking)
    files.key_pem.write_bytes(authority.client("south").keys.transport_pem())
    with pytest.raises(ConfigError, match="make the server's certificate anew"):
        listener.renew()
    assert _shown(listener, shaking) == before


def test_a_port_that_is_taken_is_named(listener: Listener, authority: Authority):
    with pytest.raises(ConfigError, match=f"port {listener.port}"):
        Listener(tells, authority.server("other"), "127.0.0.1", listener.port).start()


def _shown(listener: Listener, shaking: ssl.SSLContext) -> bytes | None:
    connection = connect(listener.port, shaking)
    connection.connect()
    shown = connection.sock.getpeercert(binary_form=True)  # type: ignore[union-attr]
    connection.close()
    return shown
