"""The port for enrolled devices: TLS 1.3 with certificates on both sides, shaken here; what got through goes on to gRPC.

gRPC tells an application nothing of a handshake that fails, and its Python API has no lowest version of TLS. So handshakes
are Python's (`operation.accepting`, as at the center), and gRPC listens on a socket of this machine, in a folder that only
this user can enter. Each connection has a socket of its own there, bound to a name of its own: gRPC tells that name with
each call, and by it the certificate and the address are found that the device came with. Any other call has none.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import ssl
import tempfile
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote, unquote

from fedmed.errors import StoreError
from fedmed.operation.accepting import Failed, Porter

BACKLOG = 1024
MOST_PLACE = 92
"""Bytes of the folder's name: with a number of 14 digits behind it it is an address (unix(7), 108 bytes with their end)."""
PREFIX = "unix:"
"""How gRPC begins the name of a peer on this machine."""
ALPN = "h2"
HELD = 256 << 10
"""Bytes that wait for a side that does not take them, before no more are read from the other."""


@dataclass(frozen=True)
class Caller:
    """Who a connection was made by."""

    certificate: bytes
    """DER, verified against the authority when the connection was made; its dates are to be looked at with each call."""
    address: str


class Relay:
    """From `start` to `end`; `close`, between them, takes no more connections and leaves those that there are."""

    def __init__(self, context: ssl.SSLContext, failed: Failed) -> None:
        """`failed` is told of handshakes that fail, in a thread of its own. Raises StoreError where there is no folder."""
        context.set_alpn_protocols([ALPN])
        self._context, self._failed = context, failed
        try:
            self._place = Path(tempfile.mkdtemp(prefix="fedmed-hub-"))
        except OSError as error:
            raise StoreError(
                f"no folder can be made for gRPC to listen in ({error.strerror}); make room, or name another by TMPDIR"
            ) from error
        if len(os.fsencode(self._place)) > MOST_PLACE:
            self._place.rmdir()
            raise StoreError(f"{self._place}: too long a name for the sockets of this machine; name a shorter one by TMPDIR")
        self._callers: dict[str, Caller] = {}
        self._numbers = count()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relay", daemon=True)
        self._taking: asyncio.Task[None] | None = None
        self._begun: set[asyncio.Task[None]] = set()
        self.open: set[_End] = set()
        """Both sides of every connection."""

    @property
    def inner(self) -> str:
        """Where gRPC is to listen."""
        return f"{PREFIX}{quote(str(self._place / 'hub'))}"

    def caller(self, peer: str) -> Caller | None:
        """Who made the connection that gRPC calls `peer`; None for any that did not come by here."""
        return self._callers.get(unquote(peer))  # gRPC's names are URIs

    def start(self, listening: socket.socket) -> None:
        """Take connections, once gRPC listens."""
        self._thread.start()

        async def take() -> None:
            self._taking = asyncio.ensure_future(Porter(listening, self._made, self._context, self._failed).serve())

        self._do(take)

    def close(self) -> None:
        """Take no more connections."""

        async def close() -> None:
            if self._taking is not None:
                self._taking.cancel()
                await asyncio.gather(self._taking, return_exceptions=True)

        self._do(close)

    def end(self) -> None:
        """Cut what is left, and be done with the thread and the folder."""

        async def cut() -> None:
            for task in (others := asyncio.all_tasks() - {asyncio.current_task()}):
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            while self.open:
                for end in self.open:
                    end.own.abort()
                await asyncio.sleep(0)  # each is told in the loop that it is over

        if self._thread.is_alive():
            self._do(cut)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        if not self._loop.is_closed():
            self._loop.close()
        shutil.rmtree(self._place, ignore_errors=True)

    def renew(self, chain_pem: str, key_pem: str) -> None:
        """Show a newer certificate from now on. Raises OSError for files that do not go together."""

        async def load() -> None:
            self._context.load_cert_chain(chain_pem, key_pem)

        self._do(load)

    def _do(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """In the loop, once it runs and as long as it does."""
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(work(), self._loop).result()

    def _made(self) -> asyncio.Protocol:
        return _Outer(self)

    def begin(self, outer: _Outer) -> None:
        """A handshake is done: go on to gRPC."""
        task = self._loop.create_task(self._joined(outer))
        self._begun.add(task)
        task.add_done_callback(self._begun.discard)

    async def _joined(self, outer: _Outer) -> None:
        shaken, peername = outer.own.get_extra_info("ssl_object"), outer.own.get_extra_info("peername")
        if outer.own.is_closing() or shaken.selected_alpn_protocol() != ALPN:
            outer.own.close()
            return
        try:
            line = socket.socket(socket.AF_UNIX)
        except OSError:  # too many files are open: it is cut, for nobody would see its end
            outer.own.close()
            return
        place = self._place / str(next(self._numbers))
        outer.name = f"{PREFIX}{place}"
        self._callers[outer.name] = Caller(shaken.getpeercert(binary_form=True), str(peername[0]) if peername else "unknown")
        try:
            line.setblocking(False)
            line.bind(str(place))
            place.unlink()  # the name stays the socket's
            await self._loop.sock_connect(line, str(self._place / "hub"))
            await self._loop.create_unix_connection(lambda: _Inner(self, outer), sock=line)
        except OSError:  # gRPC takes no more
            line.close()
            outer.own.close()

    def gone(self, name: str) -> None:
        """A connection is over."""
        self._callers.pop(name, None)


class _End(asyncio.Protocol):
    """One side of a connection; what comes in goes to the other one."""

    own: asyncio.Transport
    other: asyncio.Transport | None = None

    def __init__(self, relay: Relay) -> None:
        self._relay = relay

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.own = cast("asyncio.Transport", transport)
        self._relay.open.add(self)
        self.own.set_write_buffer_limits(HELD)

    def data_received(self, data: bytes) -> None:
        if self.other is not None and not self.other.is_closing():
            self.other.write(data)

    def pause_writing(self) -> None:
        if self.other is not None and not self.other.is_closing():
            self.other.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and not self.other.is_closing():
            self.other.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        self._relay.open.discard(self)
        if self.other is not None:
            self.other.close()


class _Outer(_End):
    """The device's side."""

    def __init__(self, relay: Relay) -> None:
        super().__init__(relay)
        self.name, self.early = "", b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.own.pause_reading()  # until there is somebody to hear it
        self._relay.begin(self)

    def data_received(self, data: bytes) -> None:
        if self.other is None:
            self.early += data  # came with the end of the handshake
        super().data_received(data)

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self._relay.gone(self.name)


class _Inner(_End):
    """gRPC's side."""

    def __init__(self, relay: Relay, outer: _Outer) -> None:
        super().__init__(relay)
        self._outer = outer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.other, self._outer.other = self._outer.own, self.own
        if self._outer.own.is_closing():
            self.own.close()
        else:
            self.own.write(self._outer.early)
            self._outer.own.resume_reading()
