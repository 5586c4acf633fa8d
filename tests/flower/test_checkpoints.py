from __future__ import annotations

import stat
from pathlib import Path

import numpy as np
import pytest
from flwr.app import ConfigRecord, Message, RecordDict

from fedmed.errors import UpdateRefused
from fedmed.flower import arrays, identity, keys
from fedmed.flower.checkpoints import NAME, TRIES, Checkpoints
from fedmed.flower.hearsay import checkpoint_in
from fedmed.privacy.atrest import AtRest
from fedmed.wire.checkpoints import Checkpoint
from tests.flower.resting import REST

KEPT = Checkpoint('{"steps": 3}', {"model/w": np.arange(4, dtype=np.float32), "n": np.array(7)})


class Hands:
    def __init__(self) -> None:
        self.time = 50.0

    def now(self) -> float:
        return self.time

    unix = now

    def sleep(self, seconds: float) -> None:
        self.time += seconds


def message(order: str = "order", value: float = 1.0, kind: str = "train", name: str = "m1", **more: str) -> Message:
    identity.assume(identity.SERVER_NODE)
    content = RecordDict({"config": ConfigRecord({keys.CONFIG_KEY: order, **more})})
    content["arrays"] = arrays.own({"w": np.full(3, value, np.float32)})
    made = Message(content, 2, kind)
    identity.set_message_id(made, name)
    return made


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def kept(tmp_path, told):
    found = Checkpoints(tmp_path, REST, 0.0, Hands(), told.append)
    found.keep(message(), KEPT)
    return found


def again(tmp_path: Path) -> Checkpoints:
    return Checkpoints(tmp_path, REST, 0.0, Hands(), print)


def test_the_same_order_on_the_same_model_finds_it_in_another_process_as_well(kept, tmp_path):
    for each in (kept, again(tmp_path)):
        found = each.find(message(name="m2", header="of another masked round"))
        assert found is not None
        assert found.text == KEPT.text
        assert {n: v.tobytes() for n, v in found.tensors.items()} == {n: v.tobytes() for n, v in KEPT.tensors.items()}
    assert stat.S_IMODE((tmp_path / NAME).stat().st_mode) == 0o600


def test_it_is_sealed_on_the_disk(kept, tmp_path):
    found = (tmp_path / NAME).read_bytes()
    for value in KEPT.tensors.values():
        assert value.tobytes() not in found
    assert b"model/w" not in found
    told = list[str]()
    assert Checkpoints(tmp_path, AtRest(bytes(32), "tests"), 0.0, Hands(), told.append).find(message()) is None
    assert "the training begins anew" in told[0]


@pytest.mark.parametrize("other", [{"order": "another"}, {"value": 1.5}, {"kind": "evaluate"}])
def test_nothing_else_finds_it(kept, other):
    assert kept.find(message(**other)) is None
    assert kept.find(message()) is not None


def test_it_is_gone_once_the_order_is_answered(kept, tmp_path):
    for kind in ("evaluate", "query.describe"):  # as a center asks before it comes with the order again
        kept.answered(message(kind=kind))
    assert kept.find(message()) is not None
    kept.answered(message())
    assert kept.find(message()) is None
    assert list(tmp_path.iterdir()) == []
    kept.drop()


def test_one_that_leads_nowhere_is_given_up(kept):
    assert [kept.find(message()) is not None for _ in range(TRIES + 1)] == [True] * TRIES + [False]
    kept.keep(message(), KEPT)
    assert kept.find(message()) is not None


def test_one_that_leads_to_another_is_not(kept):
    for _ in range(2 * TRIES):
        assert kept.find(message()) is not None
        kept.keep(message(), KEPT)


@pytest.mark.parametrize(
    "spoil", [lambda c: c[:40], lambda c: b"", lambda c: b"\xff" * 64, lambda c: c[:-1] + bytes([c[-1] ^ 1])]
)
def test_one_that_was_damaged_is_told_and_nothing_is_gone_on_with(kept, told, tmp_path, spoil):
    path = tmp_path / NAME
    path.write_bytes(spoil(path.read_bytes()))
    assert kept.find(message()) is None
    assert "the training begins anew" in told[0]
    assert not path.exists()


def test_an_app_that_offers_all_the_time_wears_no_disk_out(tmp_path):
    clock = Hands()
    kept = Checkpoints(tmp_path, REST, 60.0, clock, print)
    kept.keep(message(), KEPT)
    assert not (tmp_path / NAME).exists()
    clock.sleep(30)
    kept.keep(message(), KEPT)
    assert (tmp_path / NAME).exists()


def test_a_disk_that_takes_nothing_is_told_and_the_training_goes_on(tmp_path, told):
    (tmp_path / "file").touch()
    kept = Checkpoints(tmp_path / "file" / "below", REST, 0.0, Hands(), told.append)
    kept.keep(message(), KEPT)
    assert "would begin anew" in told[0]


def test_an_offer_is_of_the_question_that_is_worked_on():
    assert checkpoint_in(b'{"number": 3, "text": "{}"}', {}, 3) == Checkpoint("{}", {})
    for head in (b'{"number": 2, "text": "{}"}', b'{"number": 3, "text": 5}', b"{}", b"[]", b"\xff", b"[" * 100_000):
        with pytest.raises(UpdateRefused):
            checkpoint_in(head, {}, 3)


def test_a_question_without_an_order_takes_nothing_away(kept):
    bare = Message(RecordDict(), 2, "query.describe")
    assert kept.find(bare) is None
    kept.keep(bare, KEPT)
    assert kept.find(message()) is not None
