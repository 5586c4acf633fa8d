from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from fedmed.config.catalogue import builtin_scenarios
from fedmed.config.loading import load
from fedmed.config.scenario import Scenario
from fedmed.errors import ConfigError
from fedmed.twin import counted
from fedmed.twin.counted import counts_for, stored
from fedmed.twin.counting import cost_of, spec_of

MODELLED = [
    name
    for name, path in builtin_scenarios().items()
    if (topology := load(path).topology) is not None and topology.learning == "modelled"
]


def scenario(name: str, *overrides: str) -> Scenario:
    return load(builtin_scenarios()[name], overrides)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.nightly] * (name == "gpu-too-small")) for name in MODELLED]
)
def test_what_is_stored_is_what_torch_counts(name):
    told = scenario(name)
    cost = cost_of(spec_of(told)[0], told.task.frozen)
    entry = json.dumps({"for": counts_for(told), "cost": asdict(cost)})
    assert stored(told) == cost, f"put this into simulations/{counted.FILE}: {entry}"


@pytest.mark.parametrize("override", ["task.model=small-cnn", "task.frozen=['stem*']", "data.options.share=0.2"])
def test_what_is_changed_is_counted_anew(override):
    assert stored(scenario("nation-of-500", "rounds=3")) is not None
    assert stored(scenario("nation-of-500", override)) is None


def test_cases_from_a_folder_may_have_any_shape():
    assert stored(scenario("nation-of-500", "data.folder=mine")) is None


@pytest.mark.parametrize("content", ["", '{"a": 1}', "[{}]", '[{"for": 1, "cost": 2}, 3]'])
def test_a_damaged_file_is_told(content, tmp_path, monkeypatch):
    (tmp_path / "machines").mkdir()
    (tmp_path / counted.FILE).write_text(content)
    monkeypatch.setattr(counted, "shipped", lambda kind: tmp_path)
    with pytest.raises(ConfigError, match="install fedmed again"):
        stored(scenario("nation-of-500"))
