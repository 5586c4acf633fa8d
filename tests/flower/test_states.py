from __future__ import annotations

import os

import numpy as np
import pytest

from fedmed.errors import StoreError, UpdateRefused
from fedmed.flower.states import NOTHING, State, States
from tests.flower.resting import REST

TOLD = {"arrays": ["a"], "metrics": {"m": {"n": 1}}, "configs": {}}


def state(message: str, value: float = 1.0, size: int = 3) -> State:
    return State(message, {**TOLD, "metrics": {"m": {"n": value}}}, {"a\x1fw": np.full(size, value, np.float32)})


def number(found: State | None) -> float | None:
    return None if found is None else found.description["metrics"]["m"]["n"]


def test_what_was_kept_is_found_by_the_next_daemon(tmp_path):
    States(tmp_path / "s", REST).keep(7, state("m1"))
    found = States(tmp_path / "s", REST).before(7, "m2")
    assert found is not None
    assert (found.message, found.description, found.tensors["a\x1fw"].tolist()) == ("m1", state("m1").description, [1, 1, 1])
    assert States(tmp_path / "s", REST).before(8, "m2") is None


def test_a_message_that_comes_again_meets_what_it_met_before(tmp_path):
    states = States(tmp_path, REST)
    states.keep(7, state("m1", 1))
    assert number(states.before(7, "m1")) is None
    states.keep(7, state("m2", 2))
    assert [number(states.before(7, name)) for name in ("m2", "m3")] == [1, 2]
    states.keep(7, state("m3", 3))
    assert [number(states.before(7, name)) for name in ("m3", "m4")] == [2, 3]


def test_a_message_that_comes_a_third_time_meets_what_it_met_the_first(tmp_path):
    States(tmp_path, REST).keep(7, state("m1", 1))
    for attempt in range(3):  # each ends before its answer is on the disk
        states = States(tmp_path, REST)
        assert number(states.before(7, "m2")) == 1
        states.keep(7, state("m2", 2 + attempt / 4))
    assert number(States(tmp_path, REST).before(7, "m3")) == 2.5


def test_nothing_is_written_for_an_app_that_keeps_nothing_or_the_same(tmp_path):
    states = States(tmp_path, REST)
    states.keep(7, State("m1", NOTHING, {}))
    assert list(tmp_path.iterdir()) == []
    states.keep(7, state("m1"))
    before = (tmp_path / "7.state").stat().st_ino
    states.keep(7, state("m2"))
    assert (tmp_path / "7.state").stat().st_ino == before
    states.keep(7, State("m3", NOTHING, {}))  # what it kept, it may let go of
    assert states.before(7, "m4") == State("m3", NOTHING, {})


def test_a_run_has_so_much_room_and_so_many_runs_have_it(tmp_path):
    states = States(tmp_path, REST, most=2000, runs=2)
    states.keep(7, state("m1"))
    with pytest.raises(UpdateRefused, match="2000 are allowed"):
        states.keep(7, state("m2", size=1000))
    assert number(states.before(7, "m3")) == 1
    for run in (8, 9):
        states.keep(run, state("m1", run))
        os.utime(tmp_path / f"{run}.state", ns=(run, run))
    states.keep(10, state("m1", 10))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["10.state", "7.state"]
    assert number(states.before(10, "m2")) == 10


@pytest.mark.parametrize("content", [b"", b"x" * 100, bytes(200)])
def test_a_damaged_file_is_named(tmp_path, content):
    States(tmp_path, REST).keep(7, state("m1"))
    (tmp_path / "7.state").write_bytes(content)
    with pytest.raises(StoreError, match=r"7.state is damaged; put a copy back, or remove it"):
        States(tmp_path, REST).before(7, "m2")


def test_a_full_disk_is_an_error_that_says_so(small_disk):
    states = States(small_disk / "states", REST)
    with pytest.raises(StoreError, match="make room"):
        states.keep(7, state("m1", size=2**20))
    states.keep(7, state("m2"))
    assert number(States(small_disk / "states", REST).before(7, "m3")) == 1


def test_it_is_sealed_on_the_disk_and_bound_to_its_run(tmp_path):
    states = States(tmp_path, REST)
    states.keep(7, state("m1", value=0.25, size=100))
    found = (tmp_path / "7.state").read_bytes()
    assert np.full(10, 0.25, np.float32).tobytes() not in found
    assert b"metrics" not in found
    (tmp_path / "7.state").rename(tmp_path / "8.state")
    with pytest.raises(StoreError, match="is damaged"):
        states.before(8, "m2")
