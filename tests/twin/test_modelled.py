from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest

from fedmed.config.scenario import Scenario
from fedmed.errors import ConfigError, FederationError
from fedmed.twin.modelled import Modelled
from fedmed.twin.planning.cost import Cost
from fedmed.twin.trace import lines

COST = Cost("cnn", (1, 28, 28), 1000, 900, 1e6, (4000,), (2000,), 8)
DSL = {"up": "10 Mbit/s", "down": "10 Mbit/s", "latency": "20 ms"}


def scenario(topology: dict[str, Any] | None, **more: Any) -> Scenario:
    told = {
        "name": "m",
        "title": "M",
        "rounds": 4,
        "data": {"reader": "synthetic"},
        "task": {"name": "image"},
        "training": {"epochs": 1},
        **more,
    }
    return Scenario.model_validate_json(json.dumps(told if topology is None else {**told, "topology": topology}))


def clinics(**more: Any) -> dict[str, Any]:
    return {
        "learning": "modelled",
        "masks": "timed",
        "machines": {"box": {"like": "t4", "step": "10 s"}},
        "lines": {"dsl": DSL},
        "center": {"line": "dsl"},
        "clinics": [{"name": "all", "count": 5, "machine": "box", "line": "dsl"}],
        **more,
    }


def test_rounds_follow_each_other_and_count_bytes_of_those_asked_and_those_in_the_sum():
    run = Modelled(scenario(clinics()), COST)
    found = list(run.attempts())
    assert [each.number for each in found] == [1, 2, 3, 4]
    assert all(each.verdict == "complete" and each.joined == each.asked == 5 for each in found)
    assert all(before.closed <= after.began for before, after in pairwise(found))
    assert found[0].seconds > 10
    assert (found[0].down_bytes, found[0].up_bytes) == (5 * run.messages.model, 5 * run.messages.update)


def test_who_is_dark_is_missing_with_the_reason_and_sends_nothing():
    dark = clinics(faults=[{"kind": "dark", "who": "all/2", "at": "0 s", "lasts": "2 h"}])
    run = Modelled(scenario(dark, federation={"deadline_s": 600}), COST)
    first = next(run.attempts())
    assert list(first.missing) == ["all/2"]
    assert "dark" in first.missing["all/2"]
    assert first.up_bytes == 4 * run.messages.update
    assert sum(first.reasons().values()) == 1


def test_one_seed_is_one_trace():
    def trace() -> bytes:
        found = bytearray()
        list(Modelled(scenario(clinics(cohort=3, over=1.5)), COST, lines(found.extend)).attempts())
        return bytes(found)

    assert trace() == trace() != b""


def test_a_round_that_nobody_can_close_ends_the_run_after_its_attempts():
    never = clinics(faults=[{"kind": "dark", "who": "all", "at": "1 s", "lasts": "10 d"}])
    told = list[bool]()
    with pytest.raises(FederationError):
        told.extend(each.is_short for each in Modelled(scenario(never, federation={"deadline_s": 60}), COST).attempts())
    assert told == [] or all(told)


@pytest.mark.parametrize(
    ("topology", "said"),
    [
        (None, "no topology"),
        (clinics(masks="real"), "topology.masks: got real"),
        (clinics(faults=[{"kind": "lies", "who": "center", "at": "0 s"}]), "'lies' of center"),
    ],
)
def test_what_cannot_be_modelled_is_refused_by_name(topology, said):
    with pytest.raises(ConfigError, match=said):
        Modelled(scenario(topology), COST)
