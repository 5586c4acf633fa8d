from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fedmed.flower import orphans
from fedmed.flower.orphans import make_owned, memory_folder

ROOT = Path(__file__).resolve().parents[2]
OWN = (
    "import sys, time; from pathlib import Path; from fedmed.flower.orphans import make_owned\n"
    "lock = make_owned(Path(sys.argv[1])); (Path(sys.argv[1]) / 'model').write_bytes(bytes(1000))\n"
    "print('made', flush=True); time.sleep(3600)\n"
)


@pytest.fixture
def base(tmp_path, monkeypatch):
    """A place for shared memory where no other run's is."""
    monkeypatch.setattr(orphans, "Path", lambda text: tmp_path if text == "/dev/shm" else Path(text))
    return tmp_path


def owner_of(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", OWN, folder], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout.readline() == "made\n"
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_folders_are_private_named_once_and_not_made_yet(base):
    first, second = memory_folder(), memory_folder()
    assert first != second
    assert {first.parent, second.parent} == {base}
    assert not first.exists()
    make_owned(first).close()
    assert first.stat().st_mode & 0o777 == 0o700


def test_the_folder_of_a_living_owner_stays(base):
    process = owner_of(base / "fedmed-1")
    try:
        memory_folder()
        assert (base / "fedmed-1" / "model").exists()
    finally:
        end(process)


def test_the_folder_of_a_killed_owner_goes(base):
    end(owner_of(base / "fedmed-1"))
    assert (base / "fedmed-1" / "model").exists()
    memory_folder()
    assert not (base / "fedmed-1").exists()


def test_what_is_not_ours_stays(base):
    (base / "fedmed-foreign").mkdir()
    (base / "fedmed-file").touch()
    (base / "other").mkdir()
    (base / "other" / "owner").touch()
    memory_folder()
    assert sorted(path.name for path in base.iterdir()) == ["fedmed-file", "fedmed-foreign", "other"]


WATCH = (
    "import multiprocessing, sys, time; from pathlib import Path\n"
    "from fedmed.flower.orphans import end_with_owner\n"
    "def work(note):\n"
    "    end_with_owner(lambda: Path(note + '.clean').touch())\n"
    "    Path(note).write_text(str(__import__('os').getpid()))\n"
    "    time.sleep(3600)\n"
    "if __name__ == '__main__':\n"
    "    context = multiprocessing.get_context('forkserver')\n"
    "    process = context.Process(target=work, args=(sys.argv[1],)); process.start(); process.join()\n"
)


def is_alive(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_for(condition) -> None:
    end = time.monotonic() + 20
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    assert condition()


def test_a_process_ends_with_its_owner_however_busy_it_is(tmp_path):
    script, note = tmp_path / "watch.py", tmp_path / "note"
    script.write_text(WATCH)
    owner = subprocess.Popen([sys.executable, script, note], cwd=ROOT)
    wait_for(lambda: note.exists() and note.read_text())
    pid = int(note.read_text())
    assert is_alive(pid)
    os.kill(owner.pid, signal.SIGKILL)
    owner.wait()
    wait_for(lambda: not is_alive(pid))
    assert (tmp_path / "note.clean").exists()
