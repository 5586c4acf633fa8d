"""What a node keeps on disk spares the line, and what is wrong there harms nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from flwr.app import Context, Message, RecordDict

from fedmed.flower import arrays
from fedmed.flower.calls import CHUNK
from fedmed.flower.direct import DirectGrid
from tests.flower.real import Federation, federation
from tests.flower.test_node import COUNT, answers, ask, is_doubled, running


@pytest.fixture
def fed(tmp_path: Path):
    with federation(tmp_path) as started:
        yield started


def test_a_model_that_comes_again_is_not_fetched_again(fed: Federation):
    client = fed.admit("north")
    node, traffic = fed.engine.link.register(client.keys.transport_public), fed.engine.link.traffic
    grid, down = DirectGrid(fed.engine.link, fed.engine.link.start_run("app")), []

    def small(message: Message, context: Context) -> Message:
        (array,) = arrays.all_views(message.content).values()
        return Message(RecordDict({"arrays": arrays.own({"w": 2 * array[:3]})}), reply_to=message)

    with running(fed, client, small):
        for shift in (0, 0, 1):
            before = traffic.bytes_out
            values = np.arange(COUNT, dtype=np.float32) + np.float32(shift)
            (message_id,) = grid.push_messages(
                [Message(RecordDict({"arrays": arrays.own({"w": values})}), node, "evaluate")]
            )
            (got,) = answers(grid, [message_id])
            assert np.array_equal(arrays.all_views(got.content)["w"], 2 * values[:3])
            down.append(traffic.bytes_out - before)
    assert down[0] > 4 * COUNT
    assert down[1] < CHUNK
    assert down[2] > CHUNK


def test_a_kept_object_that_was_changed_on_the_disk_is_fetched_again(fed: Federation):
    client = fed.admit("north")
    node = fed.engine.link.register(client.keys.transport_public)
    grid = DirectGrid(fed.engine.link, fed.engine.link.start_run("app"))
    with running(fed, client):
        assert is_doubled(answers(grid, ask(grid, node)))
        kept = list((fed.folder / "shelf").iterdir())
        assert kept
        for file in kept:
            file.write_bytes(b"changed")
        assert is_doubled(answers(grid, ask(grid, node)))


def test_an_answer_that_is_too_large_is_an_error_at_once(fed: Federation, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("fedmed.flower.allowance.FREE_BYTES", 0)
    monkeypatch.setattr("fedmed.flower.allowance.TIMES", 1)
    monkeypatch.setattr("fedmed.flower.allowance.FREE_OBJECTS", 5)
    client, told = fed.admit("north"), list[str]()

    def larger(message: Message, context: Context) -> Message:
        return Message(RecordDict({"arrays": arrays.own({"w": np.ones(COUNT + 1000, np.float32)})}), reply_to=message)

    with running(fed, client, larger, told):
        grid = DirectGrid(fed.engine.link, fed.engine.link.start_run("app"))
        (got,) = answers(grid, ask(grid, fed.engine.link.register(client.keys.transport_public)))
    assert "bytes in 6 objects; allowed are" in got.error.reason
    assert list((fed.folder / "spool").iterdir()) == []
