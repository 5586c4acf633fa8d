"""Training in the cell, by the product's own app on cases of a clinic, against the same training in this process."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from flwr.app import ConfigRecord, Context, Message, RecordDict

from fedmed.confinement.cell import Cell
from fedmed.errors import ConfigError
from fedmed.flower import arrays, identity, keys, packing
from fedmed.flower.apphost import AppHost
from fedmed.flower.checkpoints import NAME
from fedmed.flower.worker import guarded
from fedmed.learning import weights
from fedmed.learning.order import ModelSpec
from fedmed.simulate.engines import CLIENT
from fedmed.sites import prepared
from fedmed.wire.asides import Aside
from tests.flower.resting import REST
from tests.learning.parts import order, site

SPEC = ModelSpec(name="small-cnn", inputs=(1, 16, 16), classes=2, options={"widths": [8, 16]})


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """Here and in the cell: their number is in the last bits, and tests before may have set that of this process."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def sites(tmp_path) -> Path:
    folder = tmp_path / "sites"
    prepared.lay_out([site(shape=(1, 16, 16))], folder)
    return folder


def asked(kind: str, augment: str = "none", epochs: int = 3) -> Message:
    identity.assume(identity.SERVER_NODE)
    training = {"epochs": epochs, "momentum": 0.9}
    told = order(spec=SPEC, training=training, augment=augment, preparation={"normalise": "none"}).model_dump_json()
    content = RecordDict({"config": ConfigRecord({keys.CONFIG_KEY: told})})
    content["arrays"] = arrays.own(weights.fresh(SPEC, 0))
    message = Message(content, 2, kind)
    identity.set_message_id(message, f"message-{kind}")
    return message


@pytest.mark.parametrize("augment", ["none", "fused-scan"])  # the second one compiles its loops in there
def test_the_bits_are_those_of_training_without_a_cell(sites, tmp_path, augment):
    config = {"partition-id": 0, "sites-folder": str(sites)}
    heard: list[Aside] = []
    cell = Cell((sites,), policy="as-available")
    host = AppHost(CLIENT, config, cell, print, tmp_path / "states", REST, limit_s=200, aside=heard.append)
    here = guarded(CLIENT)
    try:
        for kind in ("train", "evaluate"):
            inside = host(asked(kind, augment), Context(1, 2, {}, RecordDict(), {}))
            outside = here(asked(kind, augment), Context(1, 2, config, RecordDict(), {}))
            assert not inside.has_error(), inside.error
            assert dict(inside.content["metrics"]) == dict(outside.content["metrics"])
            ours, theirs = (packing.flatten(reply.content) for reply in (inside, outside))
            assert {name: value.tobytes() for name, value in ours.items()} == {
                name: value.tobytes() for name, value in theirs.items()
            }
            assert bool(ours) is (kind == "train")
        assert [(each.round, each.cases, list(each.figures)) for each in heard] == [
            (0, 20, ["auc", "loss"]),  # of the model that the first round begins with
            (1, 20, ["auc", "loss"]),
        ]
        given = weights.fresh(SPEC, 0)
        trained = arrays.all_views(host(asked("train", augment), Context(1, 2, {}, RecordDict(), {})).content)
        assert any(not np.array_equal(trained[name], given[name]) for name in given)
    finally:
        host.close()


def test_a_data_set_that_is_not_there_is_an_error_before_anything_runs(tmp_path):
    with pytest.raises(ConfigError, match="which is not there"):
        AppHost(CLIENT, {}, Cell((tmp_path / "none",)), print, tmp_path / "states", REST)


def test_a_training_whose_process_is_killed_goes_on_at_its_last_checkpoint_with_the_same_bits(sites, tmp_path):
    config, told = {"partition-id": 0, "sites-folder": str(sites)}, list[str]()
    cell, kept = Cell((sites,), policy="as-available"), tmp_path / "states" / NAME
    message = asked("train", epochs=40)  # 200 steps

    def host() -> AppHost:
        return AppHost(CLIENT, config, cell, told.append, tmp_path / "states", REST, limit_s=200, checkpoint_s=0.0)

    def context() -> Context:
        return Context(1, 2, {}, RecordDict(), {})

    first, replies = host(), list[Message]()
    working = threading.Thread(target=lambda: replies.append(first(message, context())))
    working.start()
    while not kept.exists():
        working.join(0.005)  # the core is the training's
        assert working.is_alive()
    for each in psutil.Process().children(recursive=True):
        if "fedmed.confinement" in " ".join(each.cmdline()):
            os.kill(each.pid, signal.SIGKILL)
    working.join()
    first.close()
    assert "the app's process ended" in replies[0].error.reason
    assert kept.exists()

    second = host()
    try:
        reply = second(message, context())
    finally:
        second.close()
    assert [each for each in told if "goes on with a training that was broken off" in each]
    assert not kept.exists()
    undisturbed = guarded(CLIENT)(message, Context(1, 2, config, RecordDict(), {}))
    assert dict(reply.content["metrics"]) == dict(undisturbed.content["metrics"])
    ours, theirs = (packing.flatten(each.content) for each in (reply, undisturbed))
    assert {name: value.tobytes() for name, value in ours.items()} == {n: v.tobytes() for n, v in theirs.items()}
