from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from fedmed.config.loading import parse
from fedmed.config.scenario import Buffer, Scenario
from fedmed.errors import ConfigError

TEXT = """\
name: tiny
title: Tiny
rounds: 6
data: {reader: csv}
task: {name: tabular}
training: {epochs: 1}
strategy: {name: fedavg}
federation:
  quorum: {sites: 0.5}
  buffer: {size: 4}
privacy: {secure_aggregation: off}
"""
WORLD = """\
topology:
  machines: {box: {like: t4, step: 1 s}}
  lines: {dsl: {up: 1 Mbit/s, down: 1 Mbit/s}}
  center: {line: dsl}
  clinics: [{name: all, count: 5, machine: box, line: dsl}]
"""


def faults(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text, "tiny.yaml")
    return str(caught.value)


def test_the_smallest_one():
    assert parse(TEXT, "tiny.yaml").federation.buffer == Buffer(size=4, concurrent=None, discount=0.5)


def test_all_that_does_not_go_with_a_buffer_is_told_at_once_with_its_line():
    told = faults(
        TEXT.replace("{name: fedavg}", "{name: fedavg, options: {fraction_train: 0.5}}")
        .replace("sites: 0.5", "data_weight: 0.7, required: [oslo]")
        .replace("size: 4", "size: 4, concurrent: 3")
        .replace("secure_aggregation: off", "secure_aggregation: hbc")
        + WORLD
        + "  learning: modelled\n"
    )
    for line in (
        "tiny.yaml:7: strategy.options.fraction_train: got 0.5, and federation.buffer.concurrent says how many",
        "tiny.yaml:9: federation.quorum.data_weight: got 0.7; a buffer is not weighed",
        "tiny.yaml:9: federation.quorum.required: names sites, and a buffer waits for no site by name",
        "tiny.yaml:10: federation.buffer.concurrent: got 3, and a buffer is of 4 updates of as many sites; allowed: 4",
        "tiny.yaml:11: privacy.secure_aggregation: got hbc: a masked sum is over sites that are named before they train",
        "tiny.yaml:17: topology.learning: got modelled; with federation.buffer allowed: real",
    ):
        assert line in told, told


def test_masks_that_nobody_wrote_are_named_too():
    told = faults(TEXT.replace("privacy: {secure_aggregation: off}\n", ""))
    assert "privacy.secure_aggregation: absent, which is malicious" in told
    assert "with federation.buffer allowed: off" in told


def test_a_topology_without_masks_needs_no_word_of_them():
    text = TEXT.replace("privacy: {secure_aggregation: off}\n", WORLD + "  masks: none\n")
    assert parse(text, "tiny.yaml").federation.buffer == Buffer(size=4)


@pytest.mark.parametrize(
    ("written", "said"),
    [("{}", "buffer.size: missing"), ("{size: 0}", "got 0, allowed"), ("{size: 4, discount: -1}", "got -1, allowed")],
)
def test_its_own_numbers_have_bounds(written, said):
    assert said in faults(TEXT.replace("{size: 4}", written))


def test_the_model_refuses_what_the_file_may_not_say():
    whole = parse(TEXT, "tiny.yaml").model_dump(mode="json")
    whole["federation"]["buffer"]["concurrent"] = 3
    with pytest.raises(ValidationError, match=r"federation.buffer.concurrent: got 3"):
        Scenario.model_validate_json(json.dumps(whole))
