"""The center's one public port: TLS 1.3 and nothing older, and nobody without a certificate of our own authority.

An application behind it finds the peer's certificate (DER) in `scope["extensions"]["fedmed"]["certificate"]`.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import TYPE_CHECKING, Any, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from fedmed.center.tls import Tls
from fedmed.operation.accepting import Failed, Porter
from fedmed.wire import ports
from fedmed.wire.asgi import CERTIFICATE, EXTENSION, App, Receive, Scope, Send, length_in, refuse

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application

MOST_BODY = 64 * 2**20
MOST_HEAD = 32 * 2**10
"""Bytes of a request's target and headers together."""
DRAIN_S = 10.0
IDLE_S = 75
"""A connection without a request is closed after this; longer than clients keep one, so that theirs is the first word."""
STARTING_S = 10.0
BACKLOG = 1024


class Listener:
    """Serves an application from a thread of its own, from `start` to `stop`."""

    def __init__(
        self,
        app: App,
        tls: Tls,
        host: str,
        port: int,
        most_body: int = MOST_BODY,
        drain_s: float = DRAIN_S,
        failed: Failed = lambda address, error: None,
    ) -> None:
        """`port` 0 takes a free one. A body of more than `most_body` bytes, or of a length not told, is refused unread.
        `failed` is told of handshakes that fail, in a thread of its own.

        Raises ConfigError as `Tls.context` does.
        """
        self._failed = failed
        self._tls, self._context = tls, tls.context()
        self._address, self._port = (host, port), port
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None
        config = uvicorn.Config(
            cast("ASGI3Application", _capped(app, most_body)),
            http=_Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            timeout_keep_alive=IDLE_S,
            timeout_graceful_shutdown=int(drain_s),
        )
        self._server = _Server(config)

    @property
    def port(self) -> int:
        """The port that is listened on; the wanted one before `start`."""
        return self._port

    def start(self) -> None:
        """Listen, and return once connections are taken. Raises ConfigError where the address is not to be had."""
        self._socket = ports.listening(*self._address, BACKLOG)
        self._port = self._socket.getsockname()[1]
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready)), name="listener", daemon=True)
        self._thread.start()
        ready.wait(STARTING_S)

    async def _serve(self, ready: threading.Event) -> None:
        serving = asyncio.ensure_future(self._server.serve([]))
        while not (self._server.started or serving.done()):
            await asyncio.sleep(0.01)
        assert self._socket is not None
        self._server.take(Porter(self._socket, self._server.protocol, lambda: self._context, self._failed))
        ready.set()
        await serving

    def renew(self) -> None:
        """Read the server's certificate and key again, for connections from now on; open ones stay.

        Raises ConfigError for files that do not go together; the old certificate is served on.
        """
        self._context = self._tls.context()

    def stop(self) -> None:
        """Take no more requests, let those that run come to their end within the drain time, then close."""
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def __enter__(self) -> Listener:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class _Server(uvicorn.Server):
    """uvicorn's, for connections that a porter takes until the drain begins."""

    _taking: asyncio.Task[None] | None = None

    def take(self, porter: Porter) -> None:
        """Take connections from now on."""
        self._taking = asyncio.ensure_future(porter.serve())

    def protocol(self) -> _Protocol:
        """For one more connection."""
        return _Protocol(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """See `uvicorn.Server`."""
        if self._taking is not None:
            self._taking.cancel()
            await asyncio.gather(self._taking, return_exceptions=True)
        await super().shutdown(sockets)


def _capped(app: App, most: int) -> App:
    async def capped(scope: Scope, receive: Receive, send: Send) -> None:
        said = length_in(scope)
        if said is None:
            await refuse(send, 411, "the length of the body is not told; send Content-Length")
        elif said > most:
            await refuse(send, 413, f"a body of {said} bytes; allowed are {most}")
        else:
            await app(scope, receive, send)

    return capped


class _HeadTooLarge(Exception):
    """Makes the parser answer 400 and close."""


class _Protocol(HttpToolsProtocol):
    """One connection; uvicorn tells an application nothing of a client's certificate and bounds no head."""

    _head = 0
    _in_head = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        app, shaken = self.app, transport.get_extra_info("ssl_object")
        known = {CERTIFICATE: shaken.getpeercert(binary_form=True)}

        async def with_peer(scope: Any, receive: Any, send: Any) -> None:
            scope.setdefault("extensions", {})[EXTENSION] = known
            await app(scope, receive, send)

        self.app = with_peer

    def data_received(self, data: bytes) -> None:
        room = MOST_HEAD - self._head
        if self._in_head and len(data) > room and b"\r\n\r\n" not in data[: max(0, room) + 4]:
            self.send_400_response("Request head too large.")
            return
        super().data_received(data)
        if self._in_head:
            self._head += len(data)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._head = True, 0

    def on_headers_complete(self) -> None:
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > MOST_HEAD:
            raise _HeadTooLarge
        self._in_head, self._head = False, 0
        super().on_headers_complete()
