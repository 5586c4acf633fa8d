"""A line on this machine that carries bytes to a port, counts those that go up, and is cut."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class Cable:
    """Cut by itself, once, after `cut_after` bytes up where that is given; whole again when `is_up` is set."""

    def __init__(self, port: int, cut_after: int | None = None) -> None:
        self.sent, self._cut_after, self._port = 0, cut_after, port
        self.was_cut, self.is_up = threading.Event(), threading.Event()
        self.is_up.set()
        self._open: list[socket.socket] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        self.address = f"127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            if not self.is_up.is_set():
                near.close()
                continue
            far = socket.create_connection(("127.0.0.1", self._port))
            self._open += [near, far]
            for pair, counts in (((near, far), True), ((far, near), False)):
                threading.Thread(target=self._carry, args=(*pair, counts), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, counts: bool) -> None:
        try:
            while data := source.recv(65_536):
                target.sendall(data)
                if counts:
                    self.sent += len(data)
                    if self._cut_after is not None and self.sent > self._cut_after and not self.was_cut.is_set():
                        self.cut()
                        break
        except OSError:
            pass
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)  # wakes the thread of the other direction
            each.close()

    def cut(self) -> None:
        self.is_up.clear()
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self.was_cut.set()

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
