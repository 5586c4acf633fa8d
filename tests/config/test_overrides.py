from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fedmed.config.loading import parse


def test_scalars_lists_and_sections_are_set(valid):
    scenario = parse(
        valid,
        "f.yaml",
        [
            "training.learning_rate=0.1",
            "federation.quorum.required=[a, b]",
            "strategy.options={beta_1: 0.9}",
            "title=a=b",
        ],
    )
    assert scenario.training.learning_rate == 0.1
    assert scenario.federation.quorum.required == ("a", "b")
    assert scenario.strategy.options == {"beta_1": 0.9}
    assert scenario.title == "a=b"


def test_null_takes_a_value_away_and_nothing_is_the_empty_text(valid):
    scenario = parse(valid, "f.yaml", ["training.epochs=null", "training.steps=5", "data.folder="])
    assert (scenario.training.epochs, scenario.training.steps, scenario.data.folder) == (None, 5, "")


def test_the_later_override_wins(valid):
    assert parse(valid, "f.yaml", ["seed=1", "seed=2"]).seed == 2


def test_faults_of_file_and_overrides_come_together_each_with_its_place(valid, faults):
    found = faults(
        valid.replace("rounds: 15", "rounds: 0"),
        "training.learning_rate=-1",
        "training.learnin_rate=1",
        "no equals sign",
        "seed=[1,",
        "title.x=1",
        "engine={name: rya}",
    )
    assert [fault.split(": ")[0] for fault in found] == ["f.yaml:3", *(f"--set {n}" for n in range(1, 7))]
    assert found[1] == "--set 1: training.learning_rate: got -1, allowed: a number greater than 0 and at most 100"
    assert "did you mean learning_rate?" in found[2]
    assert found[3] == "--set 3: got 'no equals sign', allowed: KEY=VALUE such as training.learning_rate=0.1"
    assert found[4].startswith("--set 4: seed: not valid YAML")
    assert found[5] == "--set 5: title.x: title is no section of keys, so that nothing can be set in it"
    assert 'engine.name: got "rya", allowed: one of inprocess, ray, crowd (did you mean ray?)' in found[6]


def test_a_value_set_over_a_broken_one_mends_it(valid):
    assert parse(valid.replace("rounds: 15", "rounds: 0"), "f.yaml", ["rounds=3"]).rounds == 3


def test_a_whole_scenario_can_be_given_by_overrides():
    keys = ["name=a", "title=A", "rounds=1", "data.reader=csv", "task.name=logistic", "training.steps=1"]
    assert parse("", "f.yaml", keys).task.name == "logistic"


@given(st.text(max_size=30) | st.builds("{}={}".format, st.sampled_from(["seed", "data.folder", "a.b", "."]), st.text()))
def test_any_override_is_taken_or_refused(valid, taken_or_refused, override):
    assert "--set 1" in (taken_or_refused(valid, override) or "--set 1")


WAN = "topology={lines: {wan: {up: 1 Mbit/s, down: 1 Mbit/s}}, center: {line: wan}, clinics: [%s]}"
GROUPS = WAN % "{name: a, count: 3, machine: t4, line: wan}, {name: b, machine: t4, line: wan}"


def test_an_item_of_a_list_is_set_by_its_index_or_its_name(valid):
    overrides = [
        GROUPS,
        "data.partition.by=natural",
        "topology.clinics.1.count=7",
        "topology.clinics.a.presence.share=0.5",
        "topology.clinics.b.line=wan",
    ]
    groups = parse(valid, "f.yaml", overrides).topology.clinics
    assert [(group.count, group.presence.share) for group in groups] == [(3, 0.5), (7, 1.0)]


def test_faults_of_an_item_of_a_list_have_the_override_s_place(valid, faults):
    found = faults(
        valid,
        GROUPS,
        "topology.clinics.b.count=0",
        "topology.clinics.2.count=1",
        "topology.clinics.c.count=1",
        "topology.clinics.0.name.x=1",
        "federation.quorum.required.0=x",
        "federation.quorum.required.5=x",
        "topology.faults.0=x",
    )
    assert [fault.removeprefix("--set ") for fault in found] == [
        "2: topology.clinics.1.count: got 0, allowed: a whole number at least 1 and at most 10000000",
        "3: topology.clinics.2.count: topology.clinics is a list without 2; allowed: 0 to 1, a, b; or set the whole list",
        "4: topology.clinics.c.count: topology.clinics is a list without c; allowed: 0 to 1, a, b; or set the whole list",
        "5: topology.clinics.0.name.x: topology.clinics.0.name is no section of keys, so that nothing can be set in it",
        "7: federation.quorum.required.5: federation.quorum.required is a list without 5; allowed: 0 to 1; or set the "
        "whole list",
        "8: topology.faults: got a section of keys, allowed: a list of a section with the keys kind, who, at, every, lasts, "
        "share, by, times",
    ]


def test_an_option_that_is_short_for_a_key_has_faults_of_its_own(valid, faults):
    found = faults(valid, "--engine engine.name=crowed", "--rounds rounds=3", "training.learning_rate=-1", "--seed seed=x")
    assert sorted(each.split(":")[0] for each in found) == ["--engine", "--seed", "--set 1"]
    assert any(each.startswith('--engine: engine.name: got "crowed"') for each in found)
    assert parse(valid, "f.yaml", ["--rounds rounds=3"]).rounds == 3
