from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fedmed.config.topology import Topology
from fedmed.twin.calibration import Calibration, Measured, entry, nearest_built_in, quantity, share_used
from fedmed.twin.profiles import profiles_of

FOUND = Calibration(
    "A processor\nof many lines, 2 threads",
    "cpu",
    "small-cnn on 1 x 64 x 64, batches of 32",
    (
        Measured("speed.fp32", (90e9, 95e9, 80e9), "product of two matrices"),
        Measured("bandwidth", (9e9, 11e9, 10e9), "copies"),
        Measured("memory", (20e9,), "free"),
        Measured("step", (0.03, 0.02, 0.04), "4 steps"),
        Measured("used", (0.4, 0.5, 0.3), "operations of a step"),
    ),
    (3.0, 2.0),
    2,
)


def resolved(text: str):
    lines = {"lan": {"up": "1 Gbit/s", "down": "1 Gbit/s"}}
    rest = {"lines": lines, "center": {"line": "lan"}, "clinics": [{"name": "c", "machine": "here", "line": "lan"}]}
    return profiles_of(Topology.model_validate_json(json.dumps(yaml.safe_load(text) | rest)))["here"]


def test_the_entry_replaces_a_profile():
    found = resolved(entry(FOUND, "here", of_scenario=True))
    assert (found.speed["fp32"], found.bandwidth, found.memory) == (95e9, 10e9, 20e9)
    assert (found.step, found.used["fp32"]) == (0.03, 0.4)
    assert found.sources["memory"] == ("scenario", "topology.machines")
    assert found.sources["price"][0] == "assumed"


def test_a_step_of_another_model_is_told_and_not_taken():
    text = entry(FOUND, "here", of_scenario=False)
    assert resolved(text).step is None
    assert "# step: 30 ms # 4 steps; 20 ms, 30 ms of 3" in text


def test_each_number_says_how_it_was_measured_and_a_busy_machine_is_told():
    text = entry(FOUND, "here", of_scenario=True)
    assert "fp32: 95 GFLOPS # product of two matrices; 95 GFLOPS, 90 GFLOPS of 3" in text
    assert "load 3.00 at the start" in text
    assert "measure again" in text
    assert "A processor of many lines" in text.splitlines()[0]


@given(st.sampled_from(["speed.fp32", "bandwidth", "memory", "step"]), st.floats(1e-5, 1e15))
def test_a_quantity_reads_back(key, value):
    from fedmed.config.quantities import BYTE_RATES, BYTES, OPERATIONS, TIMES, read

    units = {"speed.fp32": OPERATIONS, "bandwidth": BYTE_RATES, "memory": BYTES, "step": TIMES}[key]
    if key != "step":
        value += 1e6
    assert read(quantity(key, value), units) == pytest.approx(value, rel=1e-3)


def test_a_share_is_one_at_most():
    assert share_used(3, 1e9, 10, 1.0, 60e9) == pytest.approx(0.5)
    assert share_used(3, 1e9, 10, 0.001, 60e9) == 1.0


@pytest.mark.parametrize(
    ("device", "is_accelerator", "name"),
    [("Tesla T4", True, "t4"), ("NVIDIA H200", True, "h100"), ("Orin", True, "orin-nano"), ("Xeon", False, "cpu")],
)
def test_what_cannot_be_measured_is_that_of_the_nearest(device, is_accelerator, name):
    assert nearest_built_in(device, is_accelerator) == name
