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
from collections.abc import Callable, Collection, Coroutine
from contextlib import suppress
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
MOST_LINES = 4
"""Connections by one certificate; an agent has one, and one more for a moment when it dials again."""
CUT_S = 5.0
"""For all connections to be over once they are cut; it takes a few turns of the loop."""


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
        self.context, self._failed = context, failed
        """What handshakes from now on are made with; it is to speak `ALPN`."""
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
        self._open: set[_End] = set()
        """Both sides of every connection."""
        self._over = asyncio.Event()
        """Whether there is none of them, since there was one."""

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
            porter = Porter(listening, lambda: _Outer(self), lambda: self.context, self._failed)
            self._taking = asyncio.ensure_future(porter.serve())

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
        self.close()

        async def cut() -> None:
            for task in (others := asyncio.all_tasks() - {asyncio.current_task()}):
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            if self._open:
                for end in self._open:
                    end.own.abort()
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._over.wait(), CUT_S)

        if self._thread.is_alive():
            self._do(cut)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        if not self._loop.is_closed():
            self._loop.close()
        shutil.rmtree(self._place, ignore_errors=True)

    def cut(self, lets_in: Callable[[bytes], bool]) -> int:
        """Cut connections whose certificates (DER) are not let in any more, also in the midst of a call; how many.

        Raises what `lets_in` does; nothing is cut then.
        """
        gone = {name for name, each in self._callers.copy().items() if not lets_in(each.certificate)}

        async def cut() -> None:
            self._abort(gone)

        if gone:
            self._do(cut)
        return len(gone)

    def _abort(self, names: Collection[str]) -> None:
        for end in self._open:
            if end.name in names:
                end.own.abort()

    def _do(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """In the loop, once it runs and as long as it does."""
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(work(), self._loop).result()

    def begin(self, outer: _Outer) -> None:
        """A handshake is done: go on to gRPC."""
        task = self._loop.create_task(self._joined(outer))
        self._begun.add(task)
        task.add_done_callback(self._begun.discard)

    async def _joined(self, outer: _Outer) -> None:
        shaken, peername = outer.own.get_extra_info("ssl_object"), outer.own.get_extra_info("peername")
        if outer.own.is_closing() or shaken.selected_alpn_protocol() != ALPN:
            _close(outer.own)
            return
        caller = Caller(shaken.getpeercert(binary_form=True), str(peername[0]) if peername else "unknown")
        older = [name for name, each in self._callers.items() if each.certificate == caller.certificate]
        self._abort(older[: 1 - MOST_LINES])  # the oldest: its device may have forgotten it
        place = self._place / str(next(self._numbers))
        outer.name = f"{PREFIX}{place}"
        self._callers[outer.name] = caller
        try:
            line = self._line(place)
        except OSError:  # nobody would see its end
            _close(outer.own)
        else:
            await self._loop.create_unix_connection(lambda: _Inner(self, outer), sock=line)

    def _line(self, place: Path) -> socket.socket:
        """A socket of this name, connected to gRPC: on one machine nobody waits for that.

        Raises OSError where too many files are open, or gRPC takes no more.
        """
        line = socket.socket(socket.AF_UNIX)
        try:
            line.setblocking(False)
            line.bind(str(place))
            place.unlink()  # the name stays the socket's
            line.connect(str(self._place / "hub"))
        except OSError:
            line.close()
            raise
        return line

    def opened(self, end: _End) -> None:
        """One side of a connection is there."""
        self._open.add(end)
        self._over.clear()

    def ended(self, end: _End) -> None:
        """One side of a connection is over."""
        self._callers.pop(end.name, None)
        self._open.discard(end)
        if not self._open:
            self._over.set()


class _End(asyncio.Protocol):
    """One side of a connection; what comes in goes to the other one."""

    own: asyncio.Transport
    other: asyncio.Transport | None = None
    name = ""
    """That of the connection at gRPC; the device's side has it."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.own = cast("asyncio.Transport", transport)
        self._relay.opened(self)
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
        self._relay.ended(self)
        if self.other is not None:
            _close(self.other)


class _Outer(_End):
    """The device's side."""

    early = b""
    """What came with the end of the handshake."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.own.pause_reading()  # until there is somebody to hear it
        self._relay.begin(self)

    def data_received(self, data: bytes) -> None:
        if self.other is None:
            self.early += data
        super().data_received(data)


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


def _close(transport: asyncio.Transport) -> None:
    """Once alone: asyncio's TLS, closed a second time, forgets its connection, and neither closes nor aborts it any more."""
    if not transport.is_closing():
        transport.close()
