"""A clinic's machine stops at any call that changes the keystore's disk, which has more or less of what was not synced."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest

from fedmed.errors import StoreError
from fedmed.store.counters import CounterFile
from fedmed.store.disk import Disk
from fedmed.store.keystore import FileKeystore
from tests.identity.parties import Standing
from tests.store.power import KEEPS, Crash, Power

ROOT = Path(__file__).resolve().parents[2]
KEY = b"k" * 32
Operation = Callable[[FileKeystore], None]
Pair = tuple[bytes | None, bytes | None, bytes | None]
"""The state and the messages of rounds 1 and 2."""
BIG = 70_000  # two chunks, so that a write is torn between them, too

STATES = [bytes([number]) * 1000 for number in range(4)]
MESSAGES = [bytes([100 + number]) * BIG for number in range(3)]


def nothing(_: FileKeystore) -> None:
    """A keystore that was never used."""


def saved(store: FileKeystore) -> None:
    store.save(STATES[0])


def committed(store: FileKeystore) -> None:
    store.save(STATES[0])
    store.commit(1, STATES[1], MESSAGES[1])


OPERATIONS: dict[str, tuple[Operation, Operation]] = {
    "first load": (nothing, lambda store: store.load() and None),
    "first save": (nothing, saved),
    "save": (saved, lambda store: store.save(STATES[1])),
    "commit": (saved, lambda store: store.commit(1, STATES[1], MESSAGES[1])),
    "save after a commit": (committed, lambda store: store.save(STATES[2])),
    "next commit": (committed, lambda store: store.commit(2, STATES[2], memoryview(MESSAGES[2]))),
    "erase": (committed, lambda store: store.erase(STATES[2], 1)),
    "new epoch": (committed, lambda store: store.save(STATES[3], begins=True)),
    "begin again": (committed, lambda store: store.begin_again()),
}


class Clinic:
    """A keystore's folder and, on another mount, the counter's."""

    def __init__(self, root: Path) -> None:
        self.folders = (root / "keystore", root / "medium")
        for folder in self.folders:
            folder.mkdir(parents=True)

    def store(self, disk: Disk | None = None) -> FileKeystore:
        disk = disk or Power(*self.folders)
        counter = CounterFile(self.folders[1] / "key.counter", KEY, disk)
        return FileKeystore(self.folders[0], KEY, Standing(), counter, disk)

    def contents(self) -> Pair:
        with self.store() as store:
            return store.load(), store.sent(1), store.sent(2)

    def restored(self, image: Path) -> Clinic:
        for folder in self.folders:
            shutil.rmtree(folder)
            shutil.copytree(image / folder.name, folder)
        return self


@pytest.fixture(params=OPERATIONS)
def case(request, tmp_path) -> tuple[Clinic, Path, Operation, Pair, Pair, int]:
    """A clinic, its folders before the operation, the operation, what is there before and after, and its count of calls."""
    before, operation = OPERATIONS[request.param]
    clinic = Clinic(tmp_path / "clinic")
    with clinic.store() as store:
        before(store)
    image = shutil.copytree(tmp_path / "clinic", tmp_path / "image")
    old = clinic.contents()
    power = Power(*clinic.restored(image).folders)
    with clinic.store(power) as store:
        operation(store)
    return clinic, image, operation, old, clinic.contents(), power.calls


def run(clinic: Clinic, operation: Operation, power: Power) -> bool:
    """Whether the operation came to its end."""
    with clinic.store(power) as store:
        try:
            operation(store)
        except Crash:
            return False
    return True


def never_two_messages(clinic: Clinic, found: Pair) -> None:
    """A round that has a message, or had one, takes no other."""
    with clinic.store() as store:
        for number in (1, 2):
            if found[number] is not None:
                with pytest.raises(StoreError, match="committed or erased already"):
                    store.commit(number, STATES[3], b"another")
                assert store.sent(number) == MESSAGES[number]


@pytest.mark.parametrize("keeps", KEEPS)
def test_a_crash_at_any_call_leaves_the_old_or_the_new(case, keeps):
    clinic, image, operation, old, new, calls = case
    assert calls > 10
    for fails_at, torn in product(range(calls + 1), (False, True)):
        power = Power(*clinic.restored(image).folders, fails_at=fails_at, torn=torn)
        done = run(clinic, operation, power)
        assert done == (fails_at == calls)
        power.lose(keeps)
        found = clinic.contents()
        assert found in ((new,) if done else (old, new)), (fails_at, torn)
        never_two_messages(clinic, found)


@pytest.mark.parametrize("case", ["first save", "commit", "erase"], indirect=True)
@pytest.mark.parametrize("keeps", ["all", "synced"])
def test_a_second_crash_while_the_first_is_mended(case, keeps):
    clinic, image, operation, old, new, calls = case
    for fails_at in range(calls):
        power = Power(*clinic.restored(image).folders, fails_at=fails_at, torn=True)
        run(clinic, operation, power)
        power.lose(keeps)
        again = shutil.copytree(clinic.folders[0].parent, image.with_name(f"again-{fails_at}"))
        second, mended = 0, False
        while not mended:
            power = Power(*clinic.restored(again).folders, fails_at=second, torn=second % 2 == 0)
            mended = run(clinic, lambda store: store.load() and None, power)
            power.lose(keeps)
            found = clinic.contents()
            assert found in (old, new), (fails_at, second)
            second += 1
        never_two_messages(clinic, found)
        shutil.rmtree(again)


def test_a_disk_that_refuses_any_call_leaves_a_keystore_that_goes_on(case):
    clinic, image, operation, old, new, calls = case
    for fails_at in range(calls):
        power = Power(*clinic.restored(image).folders, fails_at=fails_at, fault=OSError, torn=True)
        with clinic.store(power) as store:
            with pytest.raises(StoreError, match=r"No space left.*(may be sent|the disk|may write)"):
                operation(store)
            found = store.load(), store.sent(1), store.sent(2)
            assert found in (old, new), fails_at
            store.save(STATES[3], begins=True)
            store.commit(1, STATES[3], b"m")
            assert (store.load(), store.sent(1)) == (STATES[3], b"m")
        assert clinic.contents() == (STATES[3], b"m", None)


@pytest.mark.parametrize("keeps", KEEPS)
def test_once_erase_has_returned_no_crash_brings_the_round_back(tmp_path, keeps):
    clinic = Clinic(tmp_path / "clinic")
    with clinic.store() as store:
        committed(store)
    power = Power(*clinic.folders)
    assert run(clinic, lambda store: store.erase(STATES[2], 1), power)
    kept = sorted(path.name for path in clinic.folders[0].iterdir())
    power.lose(keeps)
    assert sorted(path.name for path in clinic.folders[0].iterdir()) == kept
    assert kept[:2] == [".lock", "keys"]
    assert len(kept) == 3
    assert clinic.contents() == (STATES[2], None, None)


@pytest.mark.parametrize("rotten", [0, 1])
def test_a_damaged_slot_and_a_crash_while_it_is_mended(tmp_path, rotten):
    clinic = Clinic(tmp_path / "clinic")
    with clinic.store() as store:
        committed(store)
    keys = clinic.folders[0] / "keys"
    content = bytearray(keys.read_bytes())
    content[rotten * 4096 + 50] ^= 1
    keys.write_bytes(content)
    image = shutil.copytree(tmp_path / "clinic", tmp_path / "image")
    fails_at, mended = 0, False
    while not mended:
        power = Power(*clinic.restored(image).folders, fails_at=fails_at, torn=True)
        mended = run(clinic, lambda store: store.load() and None, power)
        power.lose("all")
        assert clinic.contents() == (STATES[1], MESSAGES[1], None)
        fails_at += 1
    assert fails_at > 5


def test_a_full_disk(small_disk, tmp_path):
    with FileKeystore(small_disk / "keystore", KEY, Standing()) as store:
        store.save(STATES[0])
        for _ in range(3):
            with pytest.raises(StoreError, match="Make room"):
                store.commit(1, STATES[1], bytes(2_000_000))
        assert (store.load(), store.sent(1)) == (STATES[0], None)
        store.commit(1, STATES[1], bytes(200_000))
    with FileKeystore(small_disk / "keystore", KEY, Standing()) as store:
        assert (store.load(), store.sent(1)) == (STATES[1], bytes(200_000))


def test_a_medium_that_is_pulled_out(tmp_path):
    clinic = Clinic(tmp_path / "clinic")
    with clinic.store() as store:
        committed(store)
        shutil.move(clinic.folders[1], tmp_path / "pulled")
        with pytest.raises(StoreError, match="nothing may be sent"):
            store.erase(STATES[2], 1)
        with pytest.raises(StoreError, match="counter"):
            store.load()
        shutil.move(tmp_path / "pulled", clinic.folders[1])
        assert store.load() == STATES[2]


WORK = """
import sys, time
from pathlib import Path
from fedmed.clock import SystemClock
from fedmed.store.keystore import FileKeystore
store = FileKeystore(Path(sys.argv[1]), b"k" * 32, SystemClock())
store.save(b"0")
print("open", flush=True)
number = int(sys.argv[2])
while number:
    store.commit(number, str(number).encode(), str(number).encode() * 10_000)
    print(number, flush=True)
    number += 1
time.sleep(60)
"""


def started(folder: Path, first: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WORK, str(folder), str(first)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    return process


def test_two_processes_at_once(tmp_path):
    process = started(tmp_path, 0)
    try:
        with FileKeystore(tmp_path, KEY, Standing()) as store:
            with pytest.raises(StoreError, match=r"another process has this keystore open.*Stop the other one"):
                store.load()
            process.kill()
            process.wait()
            assert store.load() == b"0"
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("lines", [1, 4, 9])
def test_a_process_that_is_killed_at_work(tmp_path, lines):
    """On the real disk, at whatever moment: what it said was committed is there, and at most the one after it."""
    process = started(tmp_path, 1)
    assert process.stdout is not None
    for _ in range(lines):
        process.stdout.readline()
    process.kill()
    said = [line for line in process.communicate()[0].splitlines() if line.isdecimal()]
    last = int(said[-1]) if said else lines
    with FileKeystore(tmp_path, KEY, Standing()) as store:
        state = store.load()
        assert state is not None
        number = int(state)
        assert number in (last, last + 1)
        assert store.sent(number) == state * 10_000
