from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.config.catalogue import builtin_scenarios
from fedmed.config.loading import load
from fedmed.config.topology import Topology
from fedmed.errors import ConfigError
from fedmed.twin.profiles import built_in, faults, names, profiles_of

NAMES = {"h100", "a100", "a100-40g", "t4", "agx-orin", "orin-nano", "jetson-nano", "cpu"}
LINES = {"lan": {"up": "1 Gbit/s", "down": "1 Gbit/s"}}
NUMBERS = {"memory": "8 GB", "bandwidth": "50 GB/s", "power": "60 W", "idle": "9 W", "used": 0.5, "price": "900 USD"}


def topology(machines=None, machine="t4", **more) -> Topology:
    clinics = ({"name": "clinic", "machine": machine, "line": "lan"},)
    given = {"machines": machines or {}, "lines": LINES, "center": {"line": "lan"}, "clinics": clinics} | more
    return Topology.model_validate(given)


def test_every_number_of_a_built_in_machine_has_a_source():
    assert set(built_in()) == NAMES
    for profile in built_in().values():
        for key in ("memory", "bandwidth", "power", "idle", "price", *(f"speed.{each}" for each in profile.speed)):
            kind, text = profile.sources[key]
            assert kind != "scenario"
            assert len(text) > 10, (profile.name, key)
        assert profile.idle < profile.power
        assert profile.step is None


def test_machines_are_no_scenarios():
    assert not {"profiles", "machines"} & set(builtin_scenarios())


def test_figures_of_the_peak_are_dense_and_halve_with_each_precision():
    found = built_in()
    assert found["a100"].speed["fp16"] == 312e12
    assert found["t4"].memory == 15_360 * 2**20
    for name in ("h100", "a100", "t4", "agx-orin", "orin-nano"):
        speed = found[name].speed
        assert speed["int8"] == pytest.approx(2 * speed["fp16"], rel=0.01), name


def test_resnet_50_trains_as_fast_as_its_source_says():
    a100 = built_in()["a100"]
    assert 1000 / a100.seconds(8.2e9, 1000) == pytest.approx(2470, rel=0.05)


def test_a_machine_changes_the_one_that_it_is_like_and_nothing_else():
    own = topology({"ward": {"like": "t4", "memory": "10 GB", "step": "80 ms"}}, "ward")
    ward, t4 = profiles_of(own)["ward"], built_in()["t4"]
    assert (ward.memory, ward.step) == (10e9, 0.08)
    assert (ward.speed, ward.power, ward.auto) == (t4.speed, t4.power, t4.auto)
    assert ward.sources["memory"] == ("scenario", "topology.machines")
    assert ward.sources["power"] == t4.sources["power"]
    assert profiles_of(own)["t4"] == t4


def test_a_share_of_the_file_holds_for_all_precisions():
    own = profiles_of(topology({"ward": {"like": "t4", "used": 0.3}}, "ward"))["ward"]
    assert set(own.used.values()) == {0.3}
    assert own.rate("fp32") == pytest.approx(0.3 * 8.1e12)


def test_a_machine_of_its_own_needs_no_likeness():
    own = profiles_of(topology({"box": NUMBERS | {"speed": {"fp32": "2 TFLOPS"}}}, "box"))["box"]
    assert (own.auto, own.rate("fp32"), own.memory) == ("fp32", 1e12, 8e9)
    half = profiles_of(topology({"box": NUMBERS | {"speed": {"fp32": "2 TFLOPS", "fp16": "8 TFLOPS"}}}, "box"))["box"]
    assert (half.auto, half.precision("float32")) == ("fp16", "fp32")


def test_a_machine_of_a_built_in_name_takes_its_place():
    assert profiles_of(topology({"t4": {"like": "t4", "memory": "9 GB"}}))["t4"].memory == 9e9


def test_all_faults_at_once_with_the_nearest_and_all_names():
    wrong = topology(
        {"a": {"like": "a10"}},
        "orin-nana",
        center={"machine": "a1000", "line": "lan"},
    )
    found = {".".join(map(str, path)): text for path, text in faults(wrong)}
    assert set(found) == {
        "topology.machines.a.like",
        "topology.center.machine",
        "topology.clinics.0.machine",
    }
    assert "did you mean orin-nano?" in found["topology.clinics.0.machine"]
    assert all(name in found["topology.center.machine"] for name in NAMES)
    with pytest.raises(ConfigError, match=r"topology\.machines\.a\.like.*topology\.clinics\.0\.machine"):
        profiles_of(wrong)


def test_numbers_that_no_machine_has_are_faults():
    wrong = topology({"a": {"like": "t4", "speed": {"fp16": "1 FLOPS"}, "memory": "10000 TB"}}, "a")
    assert [path[-1] for path, _ in faults(wrong)] == ["fp16", "memory"]


def test_a_precision_that_is_not_there_is_refused():
    with pytest.raises(ConfigError, match="t4 has no speed in bf16; it has fp32, fp16, int8"):
        built_in()["t4"].rate("bf16")


@given(st.sampled_from(sorted(NAMES)), st.floats(1, 1e12), st.integers(1, 10**6), st.sampled_from(["auto", "float32"]))
def test_time_grows_in_proportion_to_cases_and_operations(name, operations, cases, training):
    profile = built_in()[name]
    once = profile.seconds(operations, cases, training)
    assert once > 0
    assert profile.seconds(2 * operations, cases, training) == pytest.approx(2 * once)
    assert profile.seconds(operations, 3 * cases, training) == pytest.approx(3 * once)


def test_nothing_heavy_is_loaded():
    code = """import sys, fedmed.twin.planning.advice, fedmed.twin.profiles as p
import fedmed.twin.calibration
p.built_in(); sys.exit(bool({'torch', 'flwr'} & set(sys.modules)))"""
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_every_built_in_scenario_names_machines_that_there_are():
    found = {name: load(path, (), names()) for name, path in builtin_scenarios().items()}
    placed = {name: profiles_of(each.topology) for name, each in found.items() if each.topology is not None}
    assert len(placed) > 5
    assert all(set(each) >= NAMES for each in placed.values())
