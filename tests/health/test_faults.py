from __future__ import annotations

import errno
import os
import sqlite3

import numpy as np
import pytest

from fedmed.health.faults import TREE, Branch, Remedy, diagnosed, told

WRITTEN = {
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 15 GiB": "out of memory",
    "NVRM: Xid (PCI:0000:3b:00): 48, pid=1234, name=python, DBE": "ECC error",
    "RuntimeError: CUDA error: uncorrectable ECC error encountered": "ECC error",
    "NVRM: Xid (PCI:0000:3b:00): 79, pid=1234, GPU has fallen off the bus.": "GPU is lost",
    "RuntimeError: CUDA error: no kernel image is available for execution on the device": "driver does not fit",
    "RuntimeError: CUDA error: an illegal memory access was encountered": "CUDA error",
    "[Rank 0] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=7) ran for 30000 ms": "collective timed out",
    "grpc._channel._InactiveRpcError: status = StatusCode.UNAVAILABLE": "disconnected",
    "socket.gaierror: [Errno -2] Name or service not known": "name not found",
    "status = StatusCode.DEADLINE_EXCEEDED": "too slow",
    str(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))): "full",
    str(OSError(errno.EIO, os.strerror(errno.EIO))): "read or write error",
    str(OSError(errno.EROFS, os.strerror(errno.EROFS))): "read or write error",
    str(OSError(errno.ENOENT, os.strerror(errno.ENOENT))): "missing",
    "ImportError: libcudnn.so.9: undefined symbol: cudnnGetVersion": "version does not fit",
    "Out of memory: Killed process 4711 (python) total-vm:9999kB": "memory leaks",
    "train-7: task steps stands at 5 for 1200 s": "stands still",
}


@pytest.mark.parametrize("text", WRITTEN)
def test_what_libraries_write_finds_its_leaf(text):
    assert diagnosed(text).symptom == WRITTEN[text]
    assert diagnosed(("x" * 30_000) + text).symptom == WRITTEN[text]


def test_errors_that_are_raised_here_find_their_leaf(tmp_path):
    (tmp_path / "bad.db").write_bytes(b"SQLite format 3\x00" + os.urandom(4096))
    with pytest.raises(OSError, match="No such") as missing, (tmp_path / "gone").open():
        pass
    with pytest.raises(MemoryError) as leak:
        np.empty(1 << 60, dtype=np.uint8)
    assert diagnosed(str(missing.value)).symptom == "missing"
    assert diagnosed(repr(leak.value)).symptom == "memory leaks"
    one, other = sqlite3.connect(tmp_path / "x.db", timeout=0), sqlite3.connect(tmp_path / "x.db", timeout=0)
    one.execute("BEGIN EXCLUSIVE")
    with pytest.raises(sqlite3.OperationalError) as locked:
        other.execute("BEGIN EXCLUSIVE")
    one.close()
    other.close()
    assert diagnosed(str(locked.value)).symptom == "stands still"


def test_every_leaf_has_an_action_and_something_for_a_person():
    assert {leaf.branch for leaf in TREE} == set(Branch)
    assert {leaf.remedy for leaf in TREE} == set(Remedy)
    assert len({leaf.symptom for leaf in TREE}) == len(TREE)
    for leaf in TREE:
        assert leaf.signs
        assert leaf.person.endswith(".")
        assert len(told(leaf).splitlines()) == 2


def test_every_leaf_can_be_reached():
    assert {diagnosed(text).symptom for text in WRITTEN} | {"damaged"} == {leaf.symptom for leaf in TREE}
    assert diagnosed("sqlite3.DatabaseError: database disk image is malformed").symptom == "damaged"


def test_nothing_is_guessed():
    for text in ("", "the model did not converge", "x" * 100_000, "NCCL " * 10_000, "failed to allocate memory " * 1000):
        assert diagnosed(text) is None
