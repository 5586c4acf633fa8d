from __future__ import annotations

import pytest

from fedmed.config.loading import parse
from fedmed.errors import ConfigError

TEXT = """\
name: kept
title: Kept
rounds: 4
data: {reader: csv}
"""


def text(training: str = "", task: str = "", rest: str = "") -> str:
    return f"{TEXT}task: {{name: tabular{task}}}\ntraining: {{epochs: 1{training}}}\n{rest}\n"


@pytest.mark.parametrize(
    "given",
    [text(", scaffold: true"), text(", ditto: 0.1"), text(task=", local: ['*bias']"), text(", ditto: 1, scaffold: true")],
)
def test_each_can_be_asked_for_and_under_masks(given):
    assert parse(given, "f.yaml").privacy.is_masked


PRIVATE = "privacy: {differential_privacy: {mode: clinic, epsilon: 8, delta: 1e-6, clip: 0.5}}\nfederation: {gate: off}"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (text(", scaffold: true, optimiser: adam"), "got optimiser adam, momentum 0; allowed: sgd without momentum"),
        (text(", scaffold: true, momentum: 0.9"), "got optimiser sgd, momentum 0.9; allowed: sgd without momentum"),
        (text(", scaffold: true", rest="strategy: {name: fedadam}"), "got strategy.name fedadam; allowed: fedavg"),
        (text(", ditto: 0.5", rest="engine: {name: crowd}"), "training.ditto: a crowd keeps nothing of a site"),
        (text(task=", local: ['*bias']", rest="evaluation: {choose: best}"), "write evaluation.choose: last"),
        (text(", average_last: 2", task=", local: ['*bias']"), "leave training.average_last at 1"),
        (text(", ditto: 0.5", rest=PRIVATE), "training.ditto: training under differential privacy keeps nothing"),
        (
            text(", scaffold: true", rest="federation: {buffer: {size: 2}}\nprivacy: {secure_aggregation: off}"),
            "training.scaffold: corrections are of one round's sites",
        ),
        (text(", ditto: 0"), "ditto"),
    ],
)
def test_what_does_not_go_together_is_named_with_what_to_write(given, said):
    with pytest.raises(ConfigError, match=said):
        parse(given, "f.yaml")


def test_all_faults_come_at_once():
    with pytest.raises(ConfigError) as found:
        parse(text(", scaffold: true, optimiser: adam", rest="strategy: {name: fedadam}\nengine: {name: crowd}"), "f.yaml")
    assert all(each in str(found.value) for each in ("optimiser adam", "fedadam", "a crowd keeps nothing"))
