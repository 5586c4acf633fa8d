"""A line that is cut in the middle of an upload: what arrived before is not sent again."""

from __future__ import annotations

import datetime
import sys
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
from tests.system.cable import Cable

CHUNKS, AWAY_S = 6, 600
OVERHEAD = 200_000  # handshakes, heads and trees


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
        line = Cable(fed.engine.listener.port, int(chunk * CHUNK))
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
