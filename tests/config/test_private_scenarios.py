from __future__ import annotations

import pytest

from fedmed.config.loading import parse

FREE = {"federation": "federation: {gate: off}", "training": "training: {learning_rate: 0.25, steps: 1}"}
TEXT = """\
name: private
title: Private
rounds: 10
data: {reader: csv}
task: {name: tabular}
"""
RECORD = "mode: record-distributed, epsilon: 3, delta: 1e-5, rate: 0.05"


def text(private: str, secure: str = "malicious", **sections: str) -> str:
    parts = FREE | sections
    privacy = f"privacy: {{secure_aggregation: {secure}, differential_privacy: {{{private}}}}}"
    return TEXT + "\n".join([*parts.values(), privacy]) + "\n"


@pytest.mark.parametrize(
    "private",
    [RECORD, RECORD.replace("distributed", "local"), "mode: clinic, epsilon: 8, delta: 1e-6, clip: 0.5, noise: 4"],
)
def test_each_mode_can_be_asked_for(private):
    found = parse(text(private), "f.yaml").privacy.differential_privacy
    assert found is not None
    assert found.mode in private
    assert (found.rate is None) == (found.mode == "clinic")


def test_there_is_none_unless_it_is_written():
    assert parse(TEXT + FREE["training"], "f.yaml").privacy.differential_privacy is None


@pytest.mark.parametrize(
    ("private", "told"),
    [
        (RECORD.replace("epsilon: 3", "epsilon: 0"), "got 0, allowed: a number greater than 0"),
        (RECORD.replace("1e-5", "0.5"), "got 0.5, allowed: a number greater than 0 and at most 0.01"),
        (RECORD.replace(", delta: 1e-5", ""), "delta: missing"),
        (RECORD.replace("record-distributed", "record"), "did you mean record-local?"),
        (RECORD + ", clip: -1", "got -1, allowed: a number greater than 0"),
        (RECORD + ", epsilom: 1", "unknown key (did you mean epsilon?), allowed here: mode, epsilon, delta"),
        (RECORD + ", noise: 0", "got 0"),
        (RECORD.replace(", rate: 0.05", ""), "give it in the two record modes"),
        ("mode: clinic, epsilon: 3, delta: 1e-5, rate: 0.1", "leave it out of mode clinic"),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(faults, private, told):
    [fault] = faults(text(private))
    assert told in fault
    assert "privacy.differential_privacy" in fault


@pytest.mark.parametrize(
    "private", [RECORD, RECORD.replace("distributed", "local"), "mode: clinic, epsilon: 8, delta: 1e-6"]
)
def test_every_mode_needs_sums(faults, private):
    [fault] = faults(text(private, secure="off"))
    assert "secure_aggregation is off" in fault
    assert "switch it on" in fault


@pytest.mark.parametrize(
    ("section", "line", "told"),
    [
        ("federation", "federation: {gate: warn}", "federation.gate is warn"),
        ("federation", "federation: {}", "federation.gate is refuse"),
        ("training", "training: {steps: 2}", "training.steps must be 1"),
        ("training", "training: {epochs: 1}", "training.steps must be 1"),
        ("training", "training: {steps: 1, metrics: {norm: 1}}", "training.metrics declares norm: every number that is"),
        ("training", "training: {steps: 1, momentum: 0.9}", "training.momentum: of no effect"),
        ("training", "training: {steps: 1, optimiser: adam, l2: 0.1}", "training.optimiser, training.l2: of no effect"),
        (
            "training",
            "training: {steps: 1, proximal_mu: 0.1, weight_decay: 0.1}",
            "training.weight_decay, training.proximal_mu",
        ),
    ],
)
def test_settings_that_open_numbers_or_do_nothing_are_refused(faults, section, line, told):
    [fault] = faults(text(RECORD, **{section: line}))
    assert told in fault


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("data.normalise=site", "data.normalise is site: one patient would move the scale of all others"),
        ("data.normalise=federated", "data.normalise is federated"),
        ("task.class_weights=balanced", "task.class_weights is balanced"),
    ],
)
def test_what_one_patient_could_move_for_all_is_refused(faults, override, told):
    [fault] = faults(text(RECORD), override)
    assert told in fault


def test_local_steps_may_be_of_any_optimiser():
    training = "training: {epochs: 2, optimiser: adam, l2: 0.1, proximal_mu: 0.1}"
    parse(text(RECORD.replace("distributed", "local"), training=training), "f.yaml")


def test_all_faults_come_together(faults):
    [fault] = faults(text(RECORD, federation="federation: {}", training="training: {steps: 3, momentum: 0.5}"))
    assert all(told in fault for told in ("federation.gate", "training.steps", "training.momentum"))
