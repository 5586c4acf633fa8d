from __future__ import annotations

import json
import math
import re
import subprocess
import sys

import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict

from fedmed.errors import DataError
from fedmed.flower import arrays, packing
from fedmed.flower.packing import Slot


def test_what_one_side_writes_the_other_sees(tmp_path):
    writer, reader = Slot(tmp_path / "slot"), Slot(tmp_path / "slot")
    sent = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "n": np.array(3), "m": np.array([True])}
    used = writer.put(sent)
    seen = reader.view()
    assert used == (tmp_path / "slot").stat().st_size
    assert {name: (v.dtype, v.shape, v.tolist()) for name, v in seen.items()} == {
        name: (v.dtype, v.shape, v.tolist()) for name, v in sent.items()
    }


def test_a_view_cannot_be_written(tmp_path):
    writer = Slot(tmp_path / "slot")
    writer.put({"w": np.zeros(3, np.float32)})
    with pytest.raises(ValueError, match="read-only"):
        Slot(tmp_path / "slot").view()["w"][0] = 1


@pytest.mark.parametrize("sizes", [(1, 1000, 3, 100_000), (100_000, 1, 1000), (5, 5, 5)])
def test_a_slot_grows_and_carries_smaller_things_again(tmp_path, sizes):
    writer, reader = Slot(tmp_path / "slot"), Slot(tmp_path / "slot")
    for size in sizes:
        writer.put({"w": np.full(size, size, np.float32)})
        assert reader.view()["w"].tolist() == [size] * size


def test_a_new_pair_of_slots_takes_over_the_file_of_a_process_that_is_gone(tmp_path):
    Slot(tmp_path / "slot").put({"w": np.zeros(100_000, np.float32)})
    Slot(tmp_path / "slot").put({"w": np.ones(2, np.float32)})
    assert Slot(tmp_path / "slot").view()["w"].tolist() == [1, 1]


def test_shared_memory_without_room_is_an_error_and_no_bus_error(tmp_path):
    program = (
        "import resource, sys, numpy as np\n"
        "from pathlib import Path\n"
        "from fedmed.flower.packing import Slot\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "Slot(Path(sys.argv[1])).put({'w': np.zeros(1_000_000, np.float32)})\n"
    )
    done = subprocess.run([sys.executable, "-c", program, tmp_path / "slot"], capture_output=True, text=True)
    assert done.returncode == 1
    assert re.search(r"FederationError: .*no room for a model of \d+ bytes.*--shm-size", done.stderr)
    assert (tmp_path / "slot").stat().st_size == 0


def test_a_dtype_that_cannot_travel_is_named(tmp_path):
    with pytest.raises(DataError, match="complex64"):
        Slot(tmp_path / "slot").put({"w": np.zeros(2, np.complex64)})


def content() -> RecordDict:
    return RecordDict(
        {
            "arrays": arrays.own({"a.weight": np.ones((2, 2), np.float32), f"odd{packing.SEPARATOR}name": np.array(1)}),
            "second": arrays.own({"a.weight": np.zeros(3, np.int64)}),
            "none": ArrayRecord(),
            "metrics": MetricRecord({"n": 2**60, "loss": 0.1, "list": [1.5, 2.5], "whole": [1, 2]}),
            "config": ConfigRecord(
                {"text": "é\x1f\n", "bytes": b"\x00\xff", "all": [b"\x01", b""], "texts": ["a", "b"], "yes": True, "x": 1.5}
            ),
        }
    )


def test_a_message_comes_out_as_it_went_in():
    sent = content()
    head = json.loads(json.dumps(packing.describe(sent)))
    got = packing.restore(head, packing.flatten(sent))
    assert dict(got.metric_records["metrics"]) == dict(sent.metric_records["metrics"])
    assert dict(got.config_records["config"]) == dict(sent.config_records["config"])
    assert list(got.array_records) == list(sent.array_records)
    for key, record in sent.array_records.items():
        assert {n: v.tolist() for n, v in arrays.views(got[key]).items()} == {
            n: v.tolist() for n, v in arrays.views(record).items()
        }


def test_numbers_that_are_not_finite_travel():
    sent = RecordDict({"metrics": MetricRecord({"auc": math.nan, "best": math.inf, "worst": -math.inf})})
    got = packing.restore(json.loads(json.dumps(packing.describe(sent))), {})["metrics"]
    assert math.isnan(got["auc"])
    assert (got["best"], got["worst"]) == (math.inf, -math.inf)


def test_a_reply_and_an_error_reply_come_back(tmp_path):
    instruction = Message(RecordDict(), 5, "train")
    slot = Slot(tmp_path / "up")
    slot.put(packing.flatten(content()))
    reply = Message(content(), reply_to=instruction)
    got = packing.decode_reply(json.loads(packing.encode_reply(reply)), slot, instruction)
    assert got.metadata.src_node_id == 5
    assert got.content["arrays"]["a.weight"].numpy().tolist() == [[1, 1], [1, 1]]
    failed = Message(Error(2, "ValueError: é"), reply_to=instruction)
    got = packing.decode_reply(json.loads(packing.encode_reply(failed)), slot, instruction)
    assert got.has_error()
    assert (got.error.code, got.error.reason) == (2, "ValueError: é")
