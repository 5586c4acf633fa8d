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
    assert 'engine.name: got "rya", allowed: one of inprocess, ray (did you mean ray?)' in found[6]


def test_a_value_set_over_a_broken_one_mends_it(valid):
    assert parse(valid.replace("rounds: 15", "rounds: 0"), "f.yaml", ["rounds=3"]).rounds == 3


def test_a_whole_scenario_can_be_given_by_overrides():
    keys = ["name=a", "title=A", "rounds=1", "data.reader=csv", "task.name=logistic", "training.steps=1"]
    assert parse("", "f.yaml", keys).task.name == "logistic"


@given(st.text(max_size=30) | st.builds("{}={}".format, st.sampled_from(["seed", "data.folder", "a.b", "."]), st.text()))
def test_any_override_is_taken_or_refused(valid, taken_or_refused, override):
    assert "--set 1" in (taken_or_refused(valid, override) or "--set 1")
