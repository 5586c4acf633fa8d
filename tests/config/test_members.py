from __future__ import annotations

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fedmed.config.members import cases, trainers
from fedmed.config.topology import Topology


def topology(*groups):
    whole = {"lines": {"wan": {"up": "1 Mbit/s", "down": "1 Mbit/s"}}, "center": {"line": "wan"}}
    return Topology.model_validate_json(
        json.dumps({**whole, "clinics": [{"machine": "t4", "line": "wan", **each} for each in groups]})
    )


BOXES = {"name": "boxes", "machine": "orin", "line": "wan"}


def test_each_clinic_stands_before_its_devices():
    whole = topology(
        {"name": "large", "count": 2, "devices": [{**BOXES, "count": 2}, {**BOXES, "name": "ct"}]},
        {"name": "small", "count": 10},
        {"name": "aside", "trains": False, "devices": [BOXES]},
    )
    names = list(trainers(whole))
    assert names[:5] == ["large#1", "large#1#boxes#1", "large#1#boxes#2", "large#1#ct#1", "large#2"]
    assert names[8:10] == ["small#1", "small#2"]
    assert names[-1] == "aside#1#boxes#1"
    assert len(names) == len(set(names)) == len(cases(whole, 1)) == 8 + 10 + 1


@given(st.integers(1, 40), st.booleans(), st.lists(st.integers(1, 5), max_size=3), st.integers(0, 2**40))
def test_there_are_cases_for_each_who_trains(count, trains, devices, seed):
    boxes = [
        {**BOXES, "name": f"d{n}", "count": number, "cases": {"median": 10 * (n + 1)}} for n, number in enumerate(devices)
    ]
    group = {"name": "a", "count": count, "trains": trains or not devices, "devices": boxes, "cases": {"median": 7}}
    whole = topology(group)
    names, sizes = list(trainers(whole)), cases(whole, seed)
    assert len(names) == len(sizes)
    for name, size in zip(names, sizes.tolist(), strict=True):
        assert size == (7 if "#d" not in name else 10 * (int(name.split("#d")[1][0]) + 1))


def test_cases_are_log_normal_and_of_the_seed():
    whole = topology({"name": "a", "count": 4000, "cases": {"median": 200, "spread": 0.8}})
    sizes = cases(whole, 3)
    logs = np.log(sizes)
    assert abs(np.median(sizes) - 200) < 12
    assert abs(logs.std() - 0.8) < 0.05
    assert np.array_equal(sizes, cases(whole, 3))
    assert not np.array_equal(sizes, cases(whole, 4))
    assert cases(topology({"name": "a", "count": 500, "cases": {"median": 0.001}}), 1).tolist() == [1] * 500


def test_another_group_changes_nobody_elses_cases():
    one = {"name": "one", "count": 5, "cases": {"median": 200, "spread": 1}}
    two = {"name": "two", "count": 7, "cases": {"median": 200, "spread": 1}}
    assert np.array_equal(cases(topology(one), 3), cases(topology(two, one), 3)[7:])
