"""What a node keeps on disk spares the line, and what is wrong there harms nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from flwr.app import Context, Message, RecordDict

from fedmed.errors import StoreError
from fedmed.flower import arrays
from fedmed.flower.calls import CHUNK
from fedmed.flower.direct import DirectGrid
from fedmed.flower.identity import set_message_id
from fedmed.flower.parcels import Parcel, pack
from fedmed.flower.resting import IN_CLEAR, AtRest
from fedmed.flower.spool import Shelf, Spool
from tests.flower.real import Federation, federation
from tests.flower.resting import REST
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


def parcel(values: np.ndarray) -> Parcel:
    asked = Message(RecordDict(), 1, "train")
    set_message_id(asked, "m1")
    return pack(Message(RecordDict({"arrays": arrays.own({"w": values})}), reply_to=asked))


def in_folder(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(("rest", "seen"), [(IN_CLEAR, True), (REST, False)])
def test_an_answer_and_a_model_lie_sealed_on_the_disk(tmp_path: Path, rest: AtRest, seen: bool):
    values = np.random.default_rng(0).standard_normal(50_000).astype(np.float32)
    answer = parcel(values)
    spool, shelf = Spool(tmp_path / "spool", rest), Shelf(tmp_path / "shelf", rest)
    spool.keep(answer)
    for name, content in answer.objects.items():
        shelf.put(name, content)
    for folder in ("spool", "shelf"):
        assert (values[1000:1100].tobytes() in in_folder(tmp_path / folder)) is seen
    assert Spool(tmp_path / "spool", rest).read(answer.id).objects == answer.objects
    assert {name: shelf.get(name) for name in answer.objects} == answer.objects


@pytest.mark.parametrize(
    "spoil",
    [lambda c: b"", lambda c: c[:-1], lambda c: c[:100], lambda c: c[:-1] + bytes([c[-1] ^ 1]), lambda c: b"no answer"],
)
def test_an_answer_that_was_damaged_is_refused_by_name(tmp_path: Path, spoil):
    spool, answer = Spool(tmp_path, REST), parcel(np.zeros(10, np.float32))
    spool.keep(answer)
    path = tmp_path / answer.id
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(StoreError, match=answer.id):
        spool.read(answer.id)


def test_a_damaged_answer_is_dropped_and_told_and_the_node_goes_on(fed: Federation):
    client, told = fed.admit("north"), list[str]()
    spool, answer = Spool(fed.folder / "spool", REST), parcel(np.zeros(10, np.float32))
    spool.keep(answer)
    (fed.folder / "spool" / answer.id).write_bytes(b"changed")
    node = fed.engine.link.register(client.keys.transport_public)
    grid = DirectGrid(fed.engine.link, fed.engine.link.start_run("app"))
    with running(fed, client, told=told):
        assert is_doubled(answers(grid, ask(grid, node)))
    assert spool.kept() == []
    assert [answer.id in text and "this answer is dropped" in text for text in told] == [True]
