from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.errors import StoreError
from fedmed.privacy.keys import SiteKey
from fedmed.store import studies as module
from fedmed.store.studies import WRITING, Studies, deidentified, originals

KEY = b"k" * 32


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_an_object_is_read_back_with_its_facts(tmp_path):
    store = Studies(tmp_path, KEY)
    address = store.put(b"pixels", {"patient": "P1"})
    assert store.get(address) == b"pixels"
    assert store.facts(address) == {"patient": "P1"}
    assert store.addresses() == [address]


@settings(max_examples=5, deadline=None)  # each object is synced to the disk
@given(contents=st.sets(st.binary(max_size=300), max_size=3))
def test_each_content_has_one_object(tmp_path_factory, contents):
    store = Studies(tmp_path_factory.mktemp("store"), KEY)
    for _ in range(2):
        found = {store.put(content, {}): content for content in contents}
    assert store.addresses() == sorted(found)
    assert {store.get(address) for address in found} == contents


def test_nothing_is_readable_and_names_tell_nothing(tmp_path):
    import hashlib

    content = b"Doe^Jane" * 100
    address = Studies(tmp_path, KEY).put(content, {"patient": "Doe^Jane"})
    assert not [path for path in files(tmp_path) if b"Doe" in path.read_bytes()]
    assert address != hashlib.sha256(content).hexdigest()
    assert Studies(tmp_path, b"K" * 32).put(content, {}) != address
    assert {path.stat().st_mode & 0o077 for path in files(tmp_path)} == {0}


def test_the_two_stores_have_different_keys(tmp_path):
    key = SiteKey(bytes(32))
    address = originals(tmp_path, key).put(b"x", {})
    (tmp_path / "originals").rename(tmp_path / "deidentified")
    with pytest.raises(StoreError, match="not what was sealed"):
        deidentified(tmp_path, key).get(address)


@pytest.mark.parametrize("kind", ["objects", "facts"])
def test_a_swapped_or_changed_object_is_refused(tmp_path, kind):
    store = Studies(tmp_path, KEY)
    one, other = store.put(b"one", {"n": 1}), store.put(b"two", {"n": 2})
    paths = [tmp_path / kind / address[:2] / address[2:] for address in (one, other)]
    paths[0].write_bytes(paths[1].read_bytes())
    with pytest.raises(StoreError):
        store.get(one) if kind == "objects" else store.facts(one)
    assert store.get(other) == b"two"


@pytest.mark.parametrize("address", ["", "../../etc/passwd", "a" * 63, "A" * 64, "0" * 63 + "/"])
def test_what_is_no_address_is_refused(tmp_path, address):
    with pytest.raises(StoreError, match="no address"):
        Studies(tmp_path, KEY).get(address)


def test_an_object_that_is_not_here(tmp_path):
    with pytest.raises(StoreError, match="cannot be read"):
        Studies(tmp_path, KEY).get("0" * 64)


def test_a_full_disk_leaves_no_half_object(small_disk):
    store = Studies(small_disk / "store", KEY)
    kept = store.put(b"small", {})
    with pytest.raises(StoreError, match="make room"):
        store.put(random.Random(1).randbytes(3_000_000), {})
    assert store.addresses() == [kept]
    assert not list((small_disk / "store").rglob(f"{WRITING}*"))


def test_what_a_killed_process_had_begun_is_swept_and_a_living_ones_is_not(tmp_path):
    store = Studies(tmp_path, KEY)
    folder = tmp_path / "objects" / "00"
    folder.mkdir(parents=True)
    dead = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True, check=True
    )
    (folder / f"{WRITING}{dead.stdout.strip()}-aa").write_bytes(b"half")
    (folder / f"{WRITING}{os.getpid()}-bb").write_bytes(b"half")
    assert store.sweep() == 1
    assert [path.name for path in folder.iterdir()] == [f"{WRITING}{os.getpid()}-bb"]
    assert store.addresses() == []


WRITER = """
import sys
from pathlib import Path
from fedmed.store.studies import Studies
store = Studies(Path(sys.argv[1]), b"k" * 32)
print("ready", flush=True)
for number in range(int(sys.argv[2])):
    store.put(b"object %d " % number * 5000, {"number": number})
"""


def writer(folder: Path, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", WRITER, str(folder), str(count)], stdout=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> int:
    process.communicate(timeout=60)
    return process.returncode


def whole(store: Studies) -> int:
    for address in store.addresses():
        assert store.get(address) == b"object %d " % store.facts(address)["number"] * 5000
    return len(store.addresses())


def test_two_processes_may_write_the_same_objects(tmp_path):
    both = [writer(tmp_path, 30) for _ in range(2)]
    assert [finish(process) for process in both] == [0, 0]
    assert whole(Studies(tmp_path, KEY)) == 30
    assert not list(tmp_path.rglob(f"{WRITING}*"))


def test_a_process_killed_at_any_moment_leaves_whole_objects(tmp_path):
    choice = random.Random(3)
    for _ in range(3):
        process = writer(tmp_path, 100_000)
        assert process.stdout.readline() == "ready\n"
        while not Studies(tmp_path, KEY).addresses():
            time.sleep(0.01)
        time.sleep(choice.uniform(0.01, 0.2))
        process.send_signal(signal.SIGKILL)
        finish(process)
        assert whole(Studies(tmp_path, KEY)) > 0
    Studies(tmp_path, KEY).sweep()
    assert not list(tmp_path.rglob(f"{WRITING}*"))


def test_an_object_appears_under_its_name_only_when_it_is_whole(tmp_path, monkeypatch):
    def broken(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(module, "seal", broken)
    with pytest.raises(StoreError, match="Input/output"):
        Studies(tmp_path, KEY).put(b"x", {})
    assert files(tmp_path) == []
