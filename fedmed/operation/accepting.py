"""Takes connections, shakes hands, and hands over who got through; who did not is named.

asyncio's own server tells nobody of a handshake that fails.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable

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
        context: ssl.SSLContext,
        failed: Failed,
    ) -> None:
        """`failed` is called in a thread of its own, for it may write to the disk."""
        self._listening, self._protocol, self._context, self._failed = listening, protocol, context, failed
        self._shaking: set[asyncio.Task[None]] = set()

    async def serve(self) -> None:
        """Until it is cancelled; handshakes that are under way end with it, connections go on."""
        loop = asyncio.get_running_loop()
        self._listening.setblocking(False)
        try:
            while True:
                try:
                    connection, address = await loop.sock_accept(self._listening)
                except ConnectionError:  # the peer went before it was taken
                    continue
                except OSError:  # too many files are open
                    await asyncio.sleep(AGAIN_S)
                    continue
                task = loop.create_task(self._shake(connection, str(address[0])))
                self._shaking.add(task)
                task.add_done_callback(self._shaking.discard)
        finally:
            self._listening.close()
            for task in self._shaking:
                task.cancel()

    async def _shake(self, connection: socket.socket, address: str) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(self._protocol, connection, ssl=self._context, ssl_handshake_timeout=SHAKE_S)
        except OSError as error:  # ssl.SSLError, a reset and the end of the time are such
            await asyncio.to_thread(self._failed, address, error)
