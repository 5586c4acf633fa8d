"""Takes connections, shakes hands, and hands over who got through; who did not is named.

asyncio's own server tells nobody of a handshake that fails.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress

SHAKE_S = 20.0
"""For a handshake; three small flights, which the slowest line carries in less."""
AGAIN_S = 0.5
"""Until the next is taken, where this machine had no room for one."""
Failed = Callable[[str, OSError], None]
"""Told the peer's address and what ended the handshake."""


class Porter:
    """Serves one listening socket, which it closes in the end."""

    def __init__(
        self,
        listening: socket.socket,
        protocol: Callable[[], asyncio.Protocol],
        context: Callable[[], ssl.SSLContext],
        failed: Failed,
    ) -> None:
        """`context` is asked for each handshake; `failed` is called in a thread of its own, for it may write to the disk."""
        self._listening, self._protocol, self._context, self._failed = listening, protocol, context, failed
        self._shaking: dict[asyncio.Task[None], socket.socket] = {}
        self._is_over = False

    async def serve(self) -> None:
        """Until it is cancelled; handshakes that are under way are cut then, and over when it ends. Connections go on."""
        loop = asyncio.get_running_loop()
        self._listening.setblocking(False)
        try:
            while True:
                await self._knocked()
                try:
                    connection, address = self._listening.accept()
                except (BlockingIOError, ConnectionError):  # the peer went before it was taken
                    continue
                except OSError:  # too many files are open
                    await asyncio.sleep(AGAIN_S)
                    continue
                task = loop.create_task(self._shake(connection, str(address[0])))
                self._shaking[task] = connection
                task.add_done_callback(self._shaking.pop)
        finally:
            self._listening.close()
            await self._cut()

    async def _knocked(self) -> None:
        """Until somebody is there, who is not taken yet: nobody is lost where the wait is cancelled."""
        loop, knocked = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._listening, knocked.set)
        try:
            await knocked.wait()
        finally:
            loop.remove_reader(self._listening)

    async def _cut(self) -> None:
        """End handshakes as their peers' going would: wherever they stand, they are over when it returns."""
        self._is_over = True
        for connection in self._shaking.values():
            with suppress(OSError):  # it is over
                connection.shutdown(socket.SHUT_RDWR)
        await asyncio.gather(*self._shaking, return_exceptions=True)

    async def _shake(self, connection: socket.socket, address: str) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(
                self._protocol, connection, ssl=self._context(), ssl_handshake_timeout=SHAKE_S
            )
        except OSError as error:  # ssl.SSLError, a reset and the end of the time are such
            connection.close()  # where there was no handshake yet
            if not self._is_over:
                await asyncio.to_thread(self._failed, address, error)
