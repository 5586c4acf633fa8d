from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fedmed.config.loading import load
from fedmed.config.scenario import Scenario
from fedmed.flower.inprocess import FIRST_NODE
from fedmed.simulate import timing
from fedmed.simulate.devices import Dealt
from fedmed.simulate.folder import RunFolder
from fedmed.sites.cases import Cases, Site
from fedmed.twin.clock import VirtualClock

LINE = {"up": "10 Mbit/s", "down": "10 Mbit/s"}


def site(name: str, cases: int) -> Site:
    def some(count: int) -> Cases:
        return Cases(np.ones((count, 3), np.float32), np.arange(count) % 2, ("well", "ill"))

    return Site(name, some(cases), some(6), some(2))


SITES = [site("a", 40), site("b", 10), site("c", 20)]
DEALT = Dealt(tuple(SITES), (), {})


@pytest.fixture
def scenario(inputs: Path, tmp_path: Path):
    def made(*overrides: str) -> Scenario:
        told = {
            "machines": {"box": {"like": "t4", "step": "2 s"}},
            "lines": {"dsl": LINE},
            "center": {"line": "dsl"},
            "clinics": [{"name": "own", "count": 3, "machine": "box", "line": "dsl"}],
            "begins": "11:30",
        }
        text = (inputs / "tiny.yaml").read_text() + f"topology: {json.dumps(told)}\n"
        path = tmp_path / "scenario.yaml"
        path.write_text(text)
        return load(path, overrides)

    return made


def test_sites_are_the_topologys_clinics_in_its_order_and_work_is_what_they_have(scenario):
    made = timing.timing_for(scenario("training.epochs=3"), DEALT, VirtualClock())
    assert made.who == {"a": "own/1", "b": "own/2", "c": "own/3"}
    assert [made.work(node, "train") for node in (FIRST_NODE, FIRST_NODE + 1)] == [120.0, 30.0]
    assert made.work(FIRST_NODE, "evaluate") == 2.0  # six cases forward are two forward and backward
    assert made.work(FIRST_NODE, "query.protocol") == 0.0
    trip = made.trips.trip(FIRST_NODE + 1, 0.0, 0, 30.0, 1_250_000)
    assert trip.done_at == pytest.approx(30 / 8 * 2)
    assert trip.there_at == pytest.approx(trip.done_at + 3.0)  # three share the line of the center
    assert made.trips.is_there(FIRST_NODE, 0.0)
    assert made.trips.those_there([FIRST_NODE + 1, FIRST_NODE], 0.0) == [FIRST_NODE + 1, FIRST_NODE]


def test_the_model_that_is_timed_is_the_one_that_sites_train(scenario):
    assert timing.spec_of(scenario(), SITES).inputs == (3,)


def test_the_clock_begins_at_the_topologys_hour_and_goes_on_at_the_last_commit(scenario, tmp_path):
    made, folder = scenario(), RunFolder(tmp_path / "run")
    assert made.topology is not None
    (folder.path / "commits" / "round-000002").mkdir(parents=True)
    journal = folder.path / "journal.jsonl"
    journal.touch()
    clock = timing.clock_for(made.topology, folder)
    assert (clock.now(), clock.unix() % 86_400) == (0.0, 11.5 * 3600)
    told = [(1, 50.0), (2, 100.0), (3, 150.0)]
    journal.write_text(
        "".join(
            json.dumps({"event": "committed", "round": number, "unix": clock.began_unix + at}) + "\n" for number, at in told
        )
    )
    assert timing.clock_for(made.topology, folder).now() == 100.0


def test_masks_none_turns_secure_aggregation_off_and_nothing_else(scenario):
    without = timing.as_run(scenario("topology.masks=none"))
    assert without.privacy.secure_aggregation == "off"
    assert timing.masks_of(without) == "none"
    kept = scenario()
    assert timing.as_run(kept) is kept
    assert timing.masks_of(kept) == "real"


@pytest.mark.parametrize("up_bytes", [0, 40_000])
def test_many_trips_at_once_are_those_of_each(scenario, up_bytes):
    made = timing.timing_for(scenario("topology.clinics.0.presence.share=0.5"), DEALT, VirtualClock())
    nodes, works = [4, 2, 3], [10.0, 0.0, 7.0]
    for at in (0.0, 40_000.0):
        at_once = made.trips.all_trips(nodes, at, 5000, works, up_bytes)
        each = [made.trips.trip(node, at, 5000, work, up_bytes) for node, work in zip(nodes, works, strict=True)]
        assert list(at_once) == each
