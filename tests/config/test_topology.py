from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fedmed.config.allowed import allowed
from fedmed.config.differences import differences
from fedmed.config.loading import parse
from fedmed.config.scenario import Scenario
from fedmed.config.topology import Topology
from fedmed.errors import ConfigError

HEAD = """\
name: region
title: A region
rounds: 3
data: {reader: phantom}
task: {name: scan}
training: {epochs: 1}
"""
TEXT = (
    HEAD
    + """\
topology:
  lines:
    hospital: {up: 100 Mbit/s, down: 100 Mbit/s, latency: 10 ms}
    practice: {up: 4 Mbit/s, down: 10 Mbit/s, latency: 20 ms, jitter: 5 ms, loss: 0.001, cap: 100 GB}
  machines:
    slow-t4: {like: t4, step: 80 ms}
  center: {machine: a100, line: hospital}
  regions:
    - {name: north, machine: t4, line: hospital}
    - {name: coast, machine: t4, line: hospital, under: north}
  clinics:
    - name: large
      count: 10
      machine: t4
      line: hospital
      region: north
      devices:
        - {name: boxes, count: 4, machine: orin-nano, line: hospital}
    - name: small
      count: 30
      machine: slow-t4
      line: practice
      region: coast
      presence: {share: 0.9, spell: 2 d, hours: "07:00-19:00"}
      cases: {median: 120, spread: 0.8}
  faults:
    - {kind: cut, who: small/3, at: 4 h, lasts: 20 min}
    - {kind: crash, who: large/2/boxes/4, every: 3 d}
  cohort: 20
  over: 1.3
"""
)
OWN = (
    "{speed: {fp32: 8 TFLOPS, int8: 67 TOPS}, memory: 8 GB, bandwidth: 102 GB/s, power: 25 W, idle: 5 W, used: 0.3, "
    "price: 250 USD"
)
BUILT_IN = ("a100", "t4", "orin-nano")


def faults(text, *overrides, machines=BUILT_IN):
    with pytest.raises(ConfigError) as caught:
        parse(text, "f", overrides, machines)
    return [line.strip() for line in str(caught.value).splitlines()[1:]]


def changed(old, new, *more):
    assert old in TEXT
    return faults(TEXT.replace(old, new), *more)


def line_of(text):
    return next(number for number, line in enumerate(TEXT.splitlines(), 1) if text in line)


def test_a_topology_is_read_in_base_units():
    topology = parse(TEXT, "f", machines=BUILT_IN).topology
    assert topology is not None
    small = topology.clinics[1]
    assert (small.presence.spell, small.cases.median, small.count) == (172_800.0, 120.0, 30)
    assert topology.lines["practice"].up == 500_000.0
    assert topology.lines["practice"].cap == 100e9
    assert topology.machines["slow-t4"].step == 0.08
    assert topology.clinics[0].presence.spell == 28_800.0
    assert (topology.faults[0].at, topology.faults[0].lasts, topology.faults[1].every) == (14_400.0, 1200.0, 259_200.0)
    assert hash(topology) == hash(parse(TEXT, "f").topology)


def test_it_is_written_with_units_and_read_back_equal():
    scenario = parse(TEXT, "f")
    dumped = scenario.model_dump(mode="json")
    assert dumped["topology"]["lines"]["practice"]["up"] == "4 Mbit/s"
    assert dumped["topology"]["clinics"][1]["presence"]["spell"] == "2 d"
    assert parse(yaml.safe_dump(dumped), "again") == scenario
    assert Scenario.model_validate_json(scenario.model_dump_json(exclude_defaults=True)) == scenario


def test_what_differs_is_told_in_units():
    scenario = parse(TEXT, "f")
    changed = parse(TEXT, "f", ["topology.lines.practice.up=8 Mbit/s", "topology.machines.slow-t4.step=0.1 s"])
    assert differences(scenario, changed) == [
        'topology.machines.slow-t4.step: "80 ms" -> "0.1 s"',
        'topology.lines.practice.up: "4 Mbit/s" -> "8 Mbit/s"',
    ]
    assert differences(scenario, parse(TEXT, "f", ["topology.lines.practice.up=4000 kbit/s"])) == []
    more = TEXT.replace("count: 30", "count: 31").replace("every: 3 d", "every: 72 h").replace("lasts: 20 min", "lasts: 1 h")
    assert differences(scenario, parse(more, "f")) == [
        "topology.clinics.1.count: 30 -> 31",
        'topology.faults.0.lasts: "20 min" -> "1 h"',
    ]


def test_all_faults_come_at_once_each_at_its_line_whatever_else_is_wrong():
    text = TEXT
    for old, new in (
        ("rounds: 3", "rounds: 0"),
        ("up: 4 Mbit/s", "up: 4"),
        ("center: {machine: a100, line: hospital}", "center: {machine: a10, line: hospitl}"),
        ("line: practice\n", "line: practise\n"),
        ("region: coast", "region: cost"),
        ("who: small/3,", "who: small/31,"),
        ("spell: 2 d", "spell: -2 d"),
    ):
        assert old in text
        text = text.replace(old, new)
    found = faults(text)
    assert [fault.split(": got")[0] for fault in found] == [
        "f:3: rounds",
        f"f:{line_of('practice: {up')}: topology.lines.practice.up",
        f"f:{line_of('center:')}: topology.center.line",
        f"f:{line_of('center:')}: topology.center.machine",
        f'f:{line_of("  - {name: coast")}: topology.regions.1: nobody is under the region "coast"; give it clinics '
        "(their key region), or take it out",
        f"f:{line_of('line: practice')}: topology.clinics.1.line",
        f"f:{line_of('region: coast')}: topology.clinics.1.region",
        f"f:{line_of('spell: 2 d')}: topology.clinics.1.presence.spell",
        f"f:{line_of('who: small/3')}: topology.faults.0.who",
    ]
    assert found[5].endswith(
        'got "practise", which is not a line of the section lines (did you mean practice?), allowed: hospital, practice'
    )


@pytest.mark.parametrize(
    ("old", "new", "where", "told"),
    [
        ("name: coast", "name: north", "regions.1.name", 'got "north", which is the name of regions.0'),
        ("name: coast", "name: center", "regions.1.name", "which is the name of center"),
        ("name: small", "name: large", "clinics.1.name", "which is the name of clinics.0"),
        ("name: small", "name: north", "clinics.1.name", "which is the name of regions.0"),
        (
            "- {name: boxes, count: 4",
            "- {name: boxes, machine: t4, line: hospital}\n        - {name: boxes, count: 4",
            "clinics.0.devices.1.name",
            "which is the name of clinics.0.devices.0",
        ),
        ("under: north", "under: nort", "regions.1.under", "(did you mean north?), allowed: center, coast, north"),
        ("under: north", "under: coast", "regions.1.under", "regions in a circle: coast under coast"),
        (
            "- {name: north, machine: t4, line: hospital}",
            "- {name: north, machine: t4, line: hospital, under: coast}",
            "regions.0.under",
            "regions in a circle: north under coast under north; let one of them be under center",
        ),
        ("machine: orin-nano", "machine: orin-nan", "clinics.0.devices.0.machine", "(did you mean orin-nano?)"),
        ("like: t4", "like: slow-t4", "machines.slow-t4.like", "which is not a built-in profile"),
        ("{like: t4, step: 80 ms}", "{memory: 16 GB, idle: 9 W}", "machines.slow-t4", "lacks bandwidth, power, used, price"),
        ("{like: t4, step: 80 ms}", "{like: t4, used: 0}", "machines.slow-t4.used", "greater than 0 and at most 1, or null"),
        ("name: boxes", 'name: "12"', "clinics.0.devices.0.name", "reads as a member's number in GROUP/12"),
        ("{like: t4, step: 80 ms}", "{speed: {fp64: 1 TFLOPS}}", "machines.slow-t4.speed.fp64", "one of fp32, tf32"),
        ("slow-t4: {", "Slow T4: {", "machines.Slow T4", 'got the name "Slow T4", allowed: text like'),
        ("latency: 20 ms", "latency: 61 s", "lines.practice.latency", "allowed: at least 0 s and at most 60 s"),
        ("latency: 20 ms", "latency: 20", "lines.practice.latency", "a number without a unit; write one of us, ms"),
        ("up: 4 Mbit/s", "up: 0 bit/s", "lines.practice.up", "at least 1 bit/s"),
        ("up: 4 Mbit/s", "up: -4 Mbit/s", "lines.practice.up", "at least 1 bit/s"),
        ("up: 4 Mbit/s, ", "", "lines.practice.up", "missing, allowed: a number with its unit, such as 10 Mbit/s"),
        ("loss: 0.001", "loss: 0.6", "lines.practice.loss", "allowed: a number at least 0 and at most 0.5"),
        ("loss: 0.001", "loss: 1 %", "lines.practice.loss", "allowed: a number at least 0 and at most 0.5"),
        ("cap: 100 GB", "cap: 0 GB", "lines.practice.cap", "at least 1 B"),
        ("count: 30", "count: 0", "clinics.1.count", "allowed: a whole number at least 1 and at most 10000000"),
        ("count: 30", "count: 10000001", "clinics.1.count", "at most 10000000"),
        ("count: 4", "count: 0", "clinics.0.devices.0.count", "at least 1 and at most 10000000"),
        ("count: 4", "count: 1000000", "clinics", "got 10000040 clinics and devices altogether, allowed: at most 10000000"),
        ("count: 30", "count: 30\n      trains: false", "clinics.1.trains", "nobody there trains"),
        ("share: 0.9", "share: 0", "clinics.1.presence.share", "allowed: a number greater than 0 and at most 1"),
        ('"07:00-19:00"', '"07:00-07:00"', "clinics.1.presence.hours", "hours without length"),
        ('"07:00-19:00"', '"7-19"', "clinics.1.presence.hours", "allowed: hours of a day, such as 07:00-19:00, or null"),
        ('"07:00-19:00"', '"07:00-24:00"', "clinics.1.presence.hours", "hours of a day, such as 07:00-19:00"),
        ("who: small/3,", "who: smal/3,", "faults.0.who", "who is nobody here (did you mean small?), allowed: center, a"),
        ("who: small/3,", "who: small/0,", "faults.0.who", "and small has the members 1 to 30"),
        ("who: small/3,", "who: small/\u0663,", "faults.0.who", "and small has the members 1 to 30"),
        ("who: small/3,", "who: small/3/boxes,", "faults.0.who", "allowed: center, a region, GROUP"),
        ("who: small/3,", "who: small/3/boxes/1,", "faults.0.who", "and the devices of small are none"),
        ("who: small/3,", "who: small/boxes,", "faults.0.who", "and small has the members 1 to 30"),
        ("large/2/boxes/4", "large/box", "faults.1.who", "and large has the members 1 to 10 and the devices boxes"),
        ("boxes/4", "boxes/5", "faults.1.who", "and boxes are numbered 1 to 4"),
        ("boxes/4", "boxes/4/1", "faults.1.who", "allowed: center, a region, GROUP"),
        ("boxes/4", "box/4", "faults.1.who", "and the devices of large are boxes"),
        ("at: 4 h, ", "", "faults.0", "give exactly one of at and every"),
        ("at: 4 h, ", "at: 4 h, every: 3 d, ", "faults.0", "give exactly one of at and every"),
        (", lasts: 20 min", "", "faults.0.lasts", "cut would be over at once"),
        ("kind: cut", "kind: clock", "faults.0.by", "the clock would stay right"),
        ("kind: cut", "kind: slow", "faults.0.times", "nothing would be slower"),
        ("kind: cut", "kind: cut, by: 3 s", "faults.0.by", "of no effect on cut; leave it out"),
        ("kind: cut", "kind: cut, times: 3", "faults.0.times", "of no effect on cut; leave it out"),
        ("kind: cut", "kind: lies", "faults.0.who", "lies are told by the center alone"),
        ("kind: cut", "kind: cutt", "faults.0.kind", "(did you mean cut?)"),
        ("  cohort: 20\n", "", "over", "of no effect without cohort"),
        ("cohort: 20", "cohort: 2", "cohort", "a sum is over 3 at least (privacy.least_sum)"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said_once_at_its_key(old, new, where, told):
    [fault] = [each for each in changed(old, new) if each.split(": ")[1] == f"topology.{where}"]
    assert told in fault


@pytest.mark.parametrize(
    ("overrides", "where", "told"),
    [
        (["topology.cohort=41"], "cohort", "asks 54 clinics in a round, 1.3 times the cohort, and there are 40; ask fewer"),
        (["topology.cohort=41", "topology.over=1"], "cohort", "asks 41 clinics in a round, and there are 40; ask fewer"),
        (["topology.cohort=35"], "over", "asks 46 clinics in a round, 1.3 times the cohort"),
    ],
)
def test_no_more_clinics_are_asked_than_there_are(overrides, where, told):
    [fault] = faults(TEXT, *overrides)
    assert f"topology.{where}: {told}" in fault


def small(presence, count=100):
    text = TEXT.replace("count: 30", f"count: {count}")
    return text.replace('presence: {share: 0.9, spell: 2 d, hours: "07:00-19:00"}', f"presence: {presence}")


def test_a_cohort_is_no_larger_than_what_is_ever_there():
    nights = small('{hours: "22:00-06:00"}').replace(
        "region: north\n", 'region: north\n      presence: {hours: "08:00-12:00"}\n'
    )
    [fault] = faults(nights, "topology.cohort=101", "topology.over=1")
    assert fault.startswith(
        "--set 1: topology.cohort: asks 101 clinics in a round, and of the 110 at most 100 are ever there"
    )
    assert "(from 00:00); ask fewer, or widen their presence.hours" in fault
    assert parse(nights, "f", ["topology.cohort=100", "topology.over=1"])


def test_a_cohort_that_hardly_ever_comes_together_is_refused():
    rare = small("{share: 0.5}")  # 10 + 50 on average, deviation 5
    [fault] = faults(rare, "topology.cohort=91", "topology.over=1")
    assert "of the 110 on average 60 are there at the best of times (from 00:00), hardly ever more than 90" in fault
    assert parse(rare, "f", ["topology.cohort=90", "topology.over=1"])


def test_a_sum_is_over_enough_clinics_unless_nothing_is_masked():
    few = small("{}", 1).replace("count: 10\n", "count: 1\n").replace("cohort: 20\n  over: 1.3\n", "")
    few = few.replace("small/3,", "small/1,").replace("large/2/", "large/1/")
    [fault] = faults(few)
    assert "topology.clinics: got 2 clinics in a round, and a sum is over 3 at least" in fault
    assert parse(few, "f", ["privacy.secure_aggregation=off"])


def test_cases_are_dealt_to_those_who_train():
    assert parse(TEXT, "f", ["data.partition={by: dirichlet, sites: 80}"])
    [fault] = faults(TEXT, "data.partition={by: dirichlet, sites: 40}")
    assert fault.startswith(
        "--set 1: data.partition.sites: got 40 sites, and 80 members of the topology train; write 80, or"
    )
    assert parse(TEXT, "f", ["data.partition={by: dirichlet, sites: 40}", "topology.learning=modelled"])
    assert parse(TEXT, "f", ["data.partition.by=topology"])
    [fault] = faults(HEAD, "data.partition.by=topology")
    assert "the scenario has none; write the section topology" in fault


def test_machines_are_looked_up_only_by_who_knows_them():
    text = TEXT.replace("machine: orin-nano", "machine: whatever")
    assert parse(text, "f")
    [fault] = faults(text)
    assert 'got "whatever", which is not a machine, allowed: a100, orin-nano, slow-t4, t4' in fault


def test_the_center_has_a_machine_by_itself_and_that_is_looked_up_too():
    text = TEXT.replace("machine: a100, ", "")
    assert parse(text, "f", machines=BUILT_IN).topology.center.machine == "a100"
    [fault] = faults(text, machines=("t4", "orin-nano"))
    assert 'topology.center.machine: got "a100"' in fault


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("who: small/3,", "who: small,"),
        ("who: small/3,", "who: large/boxes,"),
        ("who: small/3,", "who: center,"),
        ("who: small/3,", "who: coast,"),
        ("kind: cut", "kind: clock, by: -90 s"),
        ("kind: cut", "kind: slow, times: 3"),
        ("kind: cut, who: small/3,", "kind: lies, who: center,"),
        ('"07:00-19:00"', '"19:00-07:00"'),
        ("count: 10\n", "count: 10\n      trains: false\n"),
        ("slow-t4: {like: t4", f"slow-t4: {OWN}"),
    ],
)
def test_what_can_be_is_taken(old, new):
    assert old in TEXT
    assert parse(TEXT.replace(old, new), "f", machines=BUILT_IN)


def test_a_topology_made_by_a_program_is_checked_as_one_of_a_file_is():
    raw = parse(TEXT, "f").topology.model_dump(mode="json")
    assert Topology.model_validate_json(json.dumps(raw)).cohort == 20
    raw["clinics"][1]["line"] = "practise"
    with pytest.raises(ValidationError, match=r'clinics\.1\.line: got "practise", which is not a line'):
        Topology.model_validate_json(json.dumps(raw))


def test_what_a_key_allows_is_said_in_words():
    assert allowed(("topology", "lines", "wan", "up")) == "a number with its unit, such as 10 Mbit/s"
    assert allowed(("topology", "machines", "t4", "speed", "fp16")) == "a number with its unit, such as 65 TFLOPS"
    assert allowed(("topology", "begins")) == "a time of day, such as 08:00"
    assert allowed(("topology", "clinics")).startswith(
        "a list of at least 1 of a section with the keys name, count, machine"
    )


def paths(value, path=()):
    yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from paths(inner, (*path, key))


PLACES = [path for path in paths(yaml.safe_load(TEXT)["topology"]) if path]
VALUES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from([[], {}, [[]], [{}], {"name": 3}])
)


def put(value, path, new):
    """`value` with `new` at `path`, where there still is such a place."""
    if not path:
        return new
    if isinstance(value, dict):
        value[path[0]] = put(value.get(path[0], {}), path[1:], new)
    elif isinstance(value, list) and isinstance(path[0], int) and path[0] < len(value):
        value[path[0]] = put(value[path[0]], path[1:], new)
    return value


@given(st.lists(st.tuples(st.sampled_from(PLACES), VALUES), max_size=3))
def test_any_values_anywhere_are_taken_or_refused_with_their_section(changes):
    document = yaml.safe_load(TEXT)
    for path, value in changes:
        put(document["topology"], path, value)
    said = ""
    try:
        parse(yaml.safe_dump(document), "f", machines=BUILT_IN)
    except ConfigError as error:
        said = str(error)
    assert said == "" or "topology" in said


def test_many_regions_in_one_long_row_are_read_at_once():
    rows = "".join(f"    - {{name: r{n}, machine: t4, line: hospital, under: r{n - 1}}}\n" for n in range(1, 1500))
    text = TEXT.replace("  regions:\n", "  regions:\n    - {name: r0, machine: t4, line: hospital}\n" + rows)
    [fault] = faults(text)
    assert 'nobody is under the region "r1499"' in fault


def test_the_example_of_the_guide_is_read():
    guide = (Path(__file__).parents[2] / "docs" / "researcher.md").read_text(encoding="utf-8")
    example = guide.partition("## Where everybody is")[2].partition("```yaml\n")[2].partition("```")[0]
    found = parse(HEAD + example, "guide", ["data.partition.by=topology"], BUILT_IN).topology
    assert (found.clinics[0].count, found.cohort, found.machines["our-t4"].step) == (40, 20, 0.085)
