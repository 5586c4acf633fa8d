"""The tensor store while its writers are killed, its disk is full, and others read beside them."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from fedmed.store.entries import Sealed
from fedmed.store.packs import Pack, write_pack
from fedmed.store.tensors import WRITING, Key, TensorStore
from fedmed.wire.samples import Sample

ROOT = Path(__file__).resolve().parents[2]
BOUND, SEALED = 3_000_000, Sealed(bytes(32))
WRITER = """
import sys
from pathlib import Path
import numpy as np
from fedmed.store.entries import Sealed
from fedmed.store.tensors import Key, TensorStore
store, number = TensorStore(Path(sys.argv[1]), int(sys.argv[2]), print, Sealed(bytes(32))), 0
print("ready", flush=True)
while True:
    store.get_or_make(Key("p", str(number % 40)), lambda: {"x": np.full(50_000, number % 40, np.float32)})
    number += 1
"""


def writer(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder), str(BOUND)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def looked_through(store: TensorStore) -> int:
    """How many of the entries are there; every one of them right."""
    found = 0
    for number in range(40):
        tensors = store.get(Key("p", str(number)))
        if tensors is not None:
            assert (tensors["x"] == number).all()
            assert tensors["x"].shape == (50_000,)
            found += 1
    return found


def test_writers_killed_at_any_moment_leave_no_wrong_entry_and_no_waste(tmp_path):
    draw, said = random.Random(11), list[str]()
    reader = TensorStore(tmp_path, BOUND, said.append, SEALED)
    seen = 0
    for _ in range(8):
        process = writer(tmp_path)
        end = time.monotonic() + draw.uniform(0.005, 0.15)
        while time.monotonic() < end:
            seen += looked_through(reader)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=30)
        seen += looked_through(reader)
    assert seen > 0
    after = TensorStore(tmp_path, BOUND, said.append, SEALED)
    assert said == []
    assert not list(tmp_path.glob(f"{WRITING}*"))
    for number in range(40):
        assert after.put(Key("q", str(number)), {"x": np.zeros(50_000, np.float32)})
    assert after.size() <= BOUND


def test_a_kill_while_others_wait_for_the_same_entry_frees_them(tmp_path):
    slow = WRITER.replace(
        "np.full(50_000, number % 40, np.float32)", "print('making', flush=True) or __import__('time').sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", slow, str(tmp_path), str(BOUND)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(2)] == ["ready\n", "making\n"]
    process.kill()
    process.communicate(timeout=30)
    made = TensorStore(tmp_path, BOUND, print, SEALED).get_or_make(Key("p", "0"), lambda: {"x": np.ones(3)})
    assert made["x"].tolist() == [1, 1, 1]


def test_a_full_disk_costs_the_cache_and_not_the_work(small_disk):
    said: list[str] = []
    store = TensorStore(small_disk / "cache", 10**9, said.append, SEALED)
    for number in range(8):
        found = store.get_or_make(Key("p", str(number)), lambda number=number: {"x": np.full(60_000, number, np.float32)})
        assert (found["x"] == number).all()
    found = store.get_or_make(Key("p", "large"), lambda: {"x": np.ones(300_000, np.float32)})
    assert found["x"].sum() == 300_000
    assert len(said) == 1
    assert "going on without it" in said[0]
    assert not list(store.folder.glob(f"{WRITING}*"))
    assert (store.get(Key("p", "0"))["x"] == 0).all()


def test_a_pack_is_whole_or_not_there(tmp_path):
    pid = os.fork()
    if pid == 0:

        def endless():
            for number in range(10**6):
                if number == 50:
                    os.kill(os.getpid(), signal.SIGKILL)
                yield Sample(f"{number:08d}", np.ones((50, 50), np.float32), "a")

        write_pack(tmp_path / "x.pack", endless())
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL
    assert not (tmp_path / "x.pack").exists()
    write_pack(tmp_path / "x.pack", [Sample("0", np.ones((50, 50), np.float32), "a")])
    assert len(Pack(tmp_path / "x.pack")) == 1
