from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks import killing
from fedmed.simulate.crew import InTurn, do_all

ROOT = Path(__file__).resolve().parents[2]


def work(job: str) -> str | None:
    """One job of the tests, by its first word."""
    word, _, rest = job.partition(" ")
    match word:
        case "write":
            Path(rest).write_text(str(os.getpid()))
        case "sleep":
            Path(rest).write_text(str(os.getpid()))
            time.sleep(3600)
        case "fail":
            return rest
        case "exit":
            os._exit(int(rest))
        case "ignores":
            return str(signal.getsignal(signal.SIGINT))
    return None


def pids_in(folder: Path) -> set[str]:
    return {path.read_text() for path in folder.iterdir()}


def test_every_job_is_done_once_by_as_many_hands_as_allowed(tmp_path):
    jobs = [f"write {tmp_path / str(number)}" for number in range(8)]
    done = list(do_all(work, jobs, 2))
    assert sorted(job for job, _ in done) == sorted(jobs)
    assert {fault for _, fault in done} == {None}
    assert len(pids_in(tmp_path)) <= 2
    assert str(os.getpid()) not in pids_in(tmp_path)


@pytest.mark.parametrize("hands", [0, 1, 50])
def test_there_is_at_least_one_hand_and_none_too_many(tmp_path, hands):
    assert len(list(do_all(work, [f"write {tmp_path / 'a'}", f"write {tmp_path / 'b'}"], hands))) == 2


def test_no_job_is_no_work():
    assert list(do_all(work, [], 3)) == []


def test_one_hand_keeps_the_order(tmp_path):
    jobs = [f"write {tmp_path / name}" for name in "cab"]
    assert [job for job, _ in do_all(work, jobs, 1)] == jobs


@pytest.mark.parametrize(
    ("job", "fault"), [("fail no space left", "no space left"), ("exit 7", "its process ended with exit code 7")]
)
def test_a_fault_is_told_and_nothing_more_is_begun(tmp_path, job, fault):
    assert list(do_all(work, [job, f"write {tmp_path / 'after'}"], 1)) == [(job, fault)]
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_is_not_for_the_hands():
    ((_, said),) = do_all(work, ["ignores"], 1)
    assert said == str(signal.SIG_IGN)


def test_whoever_stops_listening_ends_the_work_at_once(tmp_path):
    began = time.monotonic()
    running = do_all(work, ["fail early", f"sleep {tmp_path / 'pid'}"], 2)
    next(running)
    while not ((tmp_path / "pid").exists() and (tmp_path / "pid").read_text()):
        time.sleep(0.01)
    running.close()
    assert time.monotonic() - began < 60
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def main() -> None:
    for _ in do_all(work, [f"sleep {sys.argv[1]}/{number}" for number in range(4)], 2):
        raise AssertionError("these jobs do not end")


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
def test_no_hand_outlives_its_owner(tmp_path, sent):
    command = [sys.executable, "-m", "tests.simulate.test_crew", tmp_path]
    owner = subprocess.Popen(command, cwd=ROOT, start_new_session=True, stderr=subprocess.PIPE, text=True)
    while len([path for path in tmp_path.iterdir() if path.read_text()]) < 2 and owner.poll() is None:
        time.sleep(0.02)
    assert len(killing.family(owner)) >= 4
    began = time.monotonic()
    os.kill(owner.pid, sent)
    owner.communicate(timeout=20)
    while killing.family(owner) and time.monotonic() - began < 20:
        time.sleep(0.05)
    assert killing.family(owner) == {}
    assert len(list(tmp_path.iterdir())) == 2


if __name__ == "__main__":
    main()


def test_what_is_done_is_told_in_the_order_of_the_list():
    told: list[str] = []
    turn = InTurn(["a", "b", "c"], told.append)
    turn.done("c")
    turn.done("a")
    assert told == ["a"]
    turn.done("b")
    assert told == ["a", "b", "c"]
