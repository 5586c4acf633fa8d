from __future__ import annotations

import pytest

from fedmed.config.catalogue import find
from fedmed.errors import ConfigError
from fedmed.twin.reading import read

TEXT = """\
name: two
title: Two clinics
rounds: 1
data: {reader: phantom}
task: {name: image}
training: {epochs: 1}
topology:
  machines:
    old: {like: t40}
  lines:
    dsl: {up: 10 Mbit/s, down: 50 Mbit/s}
  center: {line: dsl}
  clinics:
    - {name: one, machine: old, line: dsl}
    - {name: other, machine: tv, line: dsl}
"""


def test_all_faults_of_the_machines_with_the_lines_that_they_are_in(tmp_path):
    path = tmp_path / "two.yaml"
    path.write_text(TEXT)
    with pytest.raises(ConfigError) as refused:
        read(path)
    lines = str(refused.value).splitlines()
    assert lines[0] == "the scenario has 2 faults:"
    assert lines[1].startswith(f"  {path}:9: topology.machines.old.like: got 't40' (did you mean t4?)")
    assert lines[2].startswith(f"  {path}:15: topology.clinics.1.machine: got the machine 'tv'")


def test_a_machine_that_an_override_names_is_looked_up_too(tmp_path):
    path = tmp_path / "two.yaml"
    path.write_text(TEXT.replace("t40", "t4").replace("tv", "t4"))
    assert read(path).topology is not None
    with pytest.raises(ConfigError, match=r"topology\.center\.machine"):
        read(path, ["topology.center.machine=t4000"])


def test_a_scenario_without_machines_is_as_it_is():
    assert read(find("demo")).topology is None
