"""A node's machine stops at any call that changes its audit log's disk, which has more or less of what was not synced."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest

from fedmed.errors import StoreError
from fedmed.store.audit import reading
from fedmed.store.audit.log import AuditLog
from fedmed.wire.merkle import verify_consistency
from tests.store.audit.logs import happened, log_in
from tests.store.power import KEEPS, Crash, Power

ROOT = Path(__file__).resolve().parents[2]
MOST = 3
Operation = Callable[[AuditLog], object]

OPERATIONS: dict[str, tuple[int, Operation]] = {
    "begin": (-1, lambda log: None),
    "first event": (0, lambda log: log.append(happened(0))),
    "event": (1, lambda log: log.append(happened(1))),
    "several events": (1, lambda log: log.append(happened(1), happened(2))),
    "event that closes a segment": (3, lambda log: log.append(happened(3))),
    "event that closes another": (6, lambda log: log.append(happened(6))),
    "head": (2, lambda log: log.head()),
    "close": (5, lambda log: log.close_segment()),
}


def run(folder: Path, operation: Operation, disk: Power) -> bool:
    """Whether the operation came to its end."""
    try:
        operation(log_in(folder, 0, MOST, disk=disk))
    except Crash:
        return False
    return True


def rounds(folder: Path) -> list[int | None]:
    return [each.round for _, each in reading.opened(folder).events()]


@pytest.fixture(params=OPERATIONS)
def case(request, tmp_path) -> tuple[Path, Path, Operation, int, list[int | None]]:
    """The log's folder, a copy from before the operation, the operation, its count of calls, and the rounds after it."""
    before, operation = OPERATIONS[request.param]
    folder = tmp_path / "log"
    if before >= 0:
        log_in(folder, before, MOST).head()
    else:
        folder.mkdir()
    image = shutil.copytree(folder, tmp_path / "image")
    power = Power(folder)
    assert run(folder, operation, power)
    return folder, image, operation, power.calls, rounds(folder)


def restored(folder: Path, image: Path) -> Path:
    shutil.rmtree(folder)
    return shutil.copytree(image, folder)


@pytest.mark.parametrize("keeps", KEEPS)
def test_a_crash_at_any_call_loses_nothing_and_the_log_goes_on(case, keeps):
    folder, image, operation, calls, after = case
    before = rounds(image) if (image / "log.json").exists() else []
    assert calls > 3
    for fails_at, torn in product(range(calls + 1), (False, True)):
        power = Power(restored(folder, image), fails_at=fails_at, torn=torn)
        done = run(folder, operation, power)
        assert done == (fails_at == calls)
        power.lose(keeps)
        log = log_in(folder, 0, MOST)
        found = rounds(folder)
        assert found == after if done else found in [after[:length] for length in range(len(before), len(after) + 1)]
        old = log.head()
        assert log.append(happened(9)) == len(found)
        new = log.head()
        assert verify_consistency(old.size, new.size, old.root, new.root, log.consistency(old.size))
        assert rounds(folder) == [*found, 9]


def test_a_disk_that_refuses_any_call_is_told_and_the_log_goes_on(case):
    folder, image, operation, calls, after = case
    before = rounds(image) if (image / "log.json").exists() else []
    for fails_at in range(calls):
        disk = Power(restored(folder, image), fails_at=fails_at, fault=OSError, torn=True)
        with pytest.raises(StoreError, match="No space left"):
            operation(log_in(folder, 0, MOST, disk=disk))
        log = log_in(folder, 0, MOST, disk=disk)
        found = rounds(folder)
        assert found in [after[:length] for length in range(len(before), len(after) + 1)]
        assert log.append(happened(9)) == len(found)
        assert rounds(folder) == [*found, 9]


def test_the_same_process_goes_on_after_a_refusal(tmp_path):
    folder = tmp_path / "log"
    log_in(folder, 2, MOST)
    for fails_at in range(40):
        disk = Power(folder, fails_at=fails_at, fault=OSError, torn=True)
        try:
            log = log_in(folder, 0, MOST, disk=disk)
            log.append(happened(5))
        except StoreError:
            log.append(happened(6))
            log.head()
    assert len(rounds(folder)) == log.size > 40


def test_a_head_that_left_is_kept_by_every_crash_after_it(tmp_path):
    folder = tmp_path / "log"
    log_in(folder, 2, MOST)
    disk = Power(folder)
    log = log_in(folder, 0, MOST, disk=disk)
    log.append(happened(2))
    head = log.head()
    disk.lose("synced")
    again = log_in(folder, 0, MOST)
    assert again.size == head.size == 3
    assert again.head().root == head.root


@pytest.mark.parametrize("cut", [1, 40, 200])
def test_a_torn_last_line_is_cut_off_and_written_over(tmp_path, cut):
    folder = tmp_path / "log"
    log_in(folder, 2).head()
    path = folder / "events-000000000000.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:cut].replace(b"\n", b""))
    log = log_in(folder)
    anchor = log.close_segment()
    assert path.read_bytes() == whole
    assert anchor.bytes == len(whole)
    log.append(happened(2))
    assert rounds(folder) == [0, 1, 2]


def test_a_full_disk(small_disk):
    log = log_in(small_disk / "log", 1)
    many = [happened(number) for number in range(1, 6000)]
    for _ in range(2):
        with pytest.raises(StoreError, match="Make room"):
            log.append(*many)
    assert log.append(happened(1)) == 1
    assert rounds(small_disk / "log") == [0, 1]


APPENDER = """
import sys
from pathlib import Path
from tests.store.audit.logs import happened, log_in
log = log_in(Path(sys.argv[1]), 0, 5)
while True:
    number = log.append(happened(log.size))
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
"""


@pytest.mark.parametrize("after", [3, 17])
def test_a_killed_process_loses_no_event_that_it_acknowledged(tmp_path, after):
    folder = tmp_path / "log"
    process = subprocess.Popen(
        [sys.executable, "-c", APPENDER, str(folder)],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    told = [int(process.stdout.readline()) for _ in range(after)]
    process.send_signal(signal.SIGKILL)
    told += [int(line) for line in process.stdout.read().splitlines(keepends=True) if line.endswith(b"\n")]
    process.wait()
    process.stdout.close()
    assert told == list(range(len(told)))
    found = rounds(folder)
    assert found in (list(range(len(told))), list(range(len(told) + 1)))
    assert log_in(folder, 1, 5).size == len(found) + 1
