"""A line that is cut in the middle of an upload: what arrived before is not sent again."""

from __future__ import annotations

import datetime
import socket
import sys
import threading
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Context, Message, RecordDict
from flwr.supercore import date

from fedmed.flower import arrays
from fedmed.flower.calls import CHUNK
from fedmed.flower.direct import DirectGrid
from tests.flower.real import federation
from tests.flower.test_node import answers, ask, running

CHUNKS, AWAY_S = 6, 600
OVERHEAD = 200_000  # handshakes, heads and trees


class Line:
    """A forwarder that counts what goes up, and can be cut in the middle of it."""

    def __init__(self, port: int, cut_after: int) -> None:
        self.sent, self._cut_after, self._port = 0, cut_after, port
        self.was_cut, self.is_up = threading.Event(), threading.Event()
        self.is_up.set()
        self._open: list[socket.socket] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"
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
                    if self.sent > self._cut_after and not self.was_cut.is_set():
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


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Set Flower's clock forward."""
    real = date.now
    for module in [each for name, each in sys.modules.items() if name.startswith("flwr.")]:
        if vars(module).get("now") is real:
            monkeypatch.setattr(module, "now", lambda: real() + datetime.timedelta(seconds=seconds))


@pytest.mark.parametrize("database", [None, "state.db"])
@pytest.mark.parametrize("chunk", [0.5, 2.5])
def test_a_cut_of_ten_minutes_costs_one_chunk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: str | None, chunk: float
):
    def large(message: Message, context: Context) -> Message:
        values = np.random.default_rng(1).standard_normal(CHUNKS * CHUNK // 4 - 100, dtype=np.float32)
        return Message(RecordDict({"arrays": arrays.borrow({"w": values})}), reply_to=message)

    with federation(tmp_path, database and tmp_path / database) as fed:
        client = fed.admit("north")
        node = fed.engine.link.register(client.keys.transport_public)
        line = Line(fed.engine.listener.port, int(chunk * CHUNK))
        with running(fed, client, large, address=line.address):
            grid = DirectGrid(fed.engine.link, fed.engine.link.start_run("app"))
            ids = ask(grid, node)
            assert line.was_cut.wait(20)
            assert answers(grid, ids, 0.5) == []
            later(monkeypatch, AWAY_S)
            line.is_up.set()
            (got,) = answers(grid, ids)
            assert arrays.all_views(got.content)["w"].nbytes == CHUNKS * CHUNK - 400
        line.close()
    assert CHUNKS * CHUNK < line.sent < (CHUNKS + 1) * CHUNK + OVERHEAD
