from __future__ import annotations

import json
from pathlib import Path

import pytest

REGION = """\
name: region
title: Four clinics
rounds: 20
data: {reader: phantom}
task: {name: image}
training: {batch_size: 16, epochs: 1}
topology:
  lines:
    dsl: {up: 10 Mbit/s, down: 50 Mbit/s, latency: 20 ms}
  center: {line: dsl}
  clinics:
    - {name: ward, count: 4, machine: t4, line: dsl}
"""


@pytest.fixture
def region(tmp_path) -> Path:
    path = tmp_path / "region.yaml"
    path.write_text(REGION)
    return path


@pytest.fixture
def refused(said):
    def run(*arguments: object) -> str:
        code, _, err = said(*arguments)
        assert code == 2
        return err

    return run


SHAPE = ("--inputs", "1x32x32", "--classes", "2")


def test_a_plan_as_a_table_and_as_json(said, region):
    code, table, err = said("plan", str(region), *SHAPE)
    assert (code, err) == (0, "")
    for part in ("ward", "16, fp16", "center", "a round:", "three years owned:"):
        assert part in table
    code, out, _ = said("plan", str(region), *SHAPE, "--deadline", "8h", "--benefit", "90000 USD", "--json")
    found = json.loads(out)
    [ward] = found["members"]
    assert (code, found["deadline_s"], found["short"]) == (0, 28_800, [])
    assert (ward["count"], ward["step"]["micro"], ward["steps"]) == (4, 16, 32)
    assert found["paid_back_years"] > 0


def test_the_shape_is_read_from_the_data_where_it_is_not_given(said, region):
    code, out, _ = said("plan", str(region), "--json")
    assert code == 0
    assert json.loads(out)["model"]["inputs"][0] in (1, 3)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "give a scenario that has a topology"),
        (("demo",), "no section topology"),
        (("{region}", "--inputs", "1xx3", "--classes", "2"), "--inputs: got '1xx3'"),
        (("{region}", "--inputs", "1x3x3"), "give both of --inputs and --classes"),
        (("{region}", *SHAPE, "--deadline", "8"), "a number without a unit"),
        (("{region}", *SHAPE, "--deadline", "-2h"), "allowed: more than 0"),
        (("{region}", *SHAPE, "--kwh", "0.1 GBP"), "GBP"),
    ],
)
def test_what_cannot_be_planned_is_refused_in_words(refused, region, arguments, says):
    assert says in refused("plan", *(each.format(region=region) for each in arguments))


def test_all_faults_of_the_machines_come_at_once_with_their_lines(refused, region):
    wrong = REGION.replace("machine: t4", "machine: agx-orion")
    region.write_text(wrong.replace("center: {line", "center: {machine: a10, line"))
    told = refused("plan", str(region))
    assert "the scenario has 2 faults" in told
    assert f"{region}:10: topology.center.machine: got " in told
    assert f"{region}:12: topology.clinics.0.machine: got " in told
    assert "did you mean agx-orin?" in told


def test_a_model_that_does_not_fit_is_named_with_what_would(refused, region):
    region.write_text(
        REGION.replace("machine: t4", "machine: box").replace(
            "  lines:", "  machines: {box: {like: t4, memory: 500 MB}}\n  lines:"
        )
    )
    told = refused("plan", str(region), *SHAPE)
    assert "the model does not fit" in told
    assert "ward: small-cnn needs" in told
    assert "; what would do: patches of" in told or "; what would do: one of" in told
    assert "one of jetson-nano, orin-nano, t4" in told


def test_profiles_are_listed_with_their_sources(said):
    code, out, _ = said("plan", "--profiles", "--json")
    rows = json.loads(out)
    assert code == 0
    assert {"h100", "a100", "t4", "agx-orin", "orin-nano", "jetson-nano", "cpu"} <= {row["name"] for row in rows}
    [found] = [row for row in rows if (row["name"], row["key"]) == ("t4", "speed.fp16")]
    assert (found["value"], found["known"]) == ("65 TFLOPS", "stated")
    assert all(row["source"] for row in rows)
    assert "agx-orin" in said("plan", "--profiles")[1]
