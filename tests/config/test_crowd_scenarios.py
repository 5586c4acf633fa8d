from __future__ import annotations

import pytest

from fedmed.config import crowd_scenarios
from fedmed.config.catalogue import find
from fedmed.config.loading import load, parse
from fedmed.errors import ConfigError
from fedmed.privacy.secagg import graph

TEXT = """\
name: many
title: Many
rounds: 2
data: {reader: csv}
task: {name: tabular}
"""
PRIVATE = "privacy: {differential_privacy: {mode: clinic, epsilon: 8, delta: 1e-6, clip: 0.5}}\nfederation: {gate: off}\n"
FREE = "privacy: {secure_aggregation: off}\n"


def text(engine: str, training: str = "epochs: 1", privacy: str = FREE) -> str:
    return f"{TEXT}training: {{{training}}}\nengine: {{name: crowd{engine}}}\n{privacy}"


@pytest.mark.parametrize("privacy", [FREE, "", "privacy: {secure_aggregation: hbc}"])
def test_a_crowd_with_masks_or_without_is_a_scenario(privacy):
    assert parse(text("", privacy=privacy), "f.yaml").engine.name == "crowd"


def test_shortcuts_are_taken_where_nothing_is_said():
    found = parse(text(""), "f.yaml").engine
    assert (found.name, found.fast) == ("crowd", True)
    assert not parse(text(", fast: false"), "f.yaml").engine.fast


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (text("", privacy=PRIVATE), "differential_privacy: each site's own gate charges its budget"),
        (text(", workers: 0"), "engine.workers is 0: .* write 1 or more"),
        (text(", device: cuda"), "engine.device is cuda: .* write cpu"),
        (
            text("", privacy=FREE + "federation: {buffer: {size: 2}}\n"),
            "federation.buffer: a crowd's sites are done together",
        ),
        (text("", privacy=FREE + "attackers: [{who: a, kind: sign-flip}]\n"), "attackers: a crowd's sites have no process"),
        (text("", "epochs: 1, metrics: {norm: 100}"), "training.metrics declares norm, which a site's own app tells"),
    ],
)
def test_what_a_crowd_cannot_have_is_named_with_what_to_write(given, said):
    with pytest.raises(ConfigError, match=said):
        parse(given, "f.yaml")


@pytest.mark.parametrize(("sites", "share", "is_refused"), [(129, 0.2, True), (129, 1.0, False), (128, 0.2, False)])
def test_beyond_a_complete_graph_masks_need_all_sites(sites, share, is_refused):
    rest = f"strategy: {{options: {{fraction_train: {share}}}}}\n"
    given = text("", privacy=rest).replace("reader: csv", f"reader: csv, partition: {{by: iid, sites: {sites}}}")
    if is_refused:
        with pytest.raises(ConfigError, match=r"fraction_train is 0.2 of 129 sites: .*; write 1, or privacy"):
            parse(given, "f.yaml")
    else:
        assert parse(given, "f.yaml").privacy.is_masked


def test_the_graph_is_complete_up_to_as_many_sites_as_the_protocol_has_it():
    assert crowd_scenarios.COMPLETE == graph.COMPLETE


def test_all_faults_are_named_at_once():
    with pytest.raises(ConfigError) as found:
        parse(text(", workers: 0, device: cuda", "epochs: 1, metrics: {norm: 100}"), "f.yaml")
    assert all(each in str(found.value) for each in ("engine.workers", "engine.device", "training.metrics"))


def test_nobody_of_a_crowd_is_late_or_away():
    with pytest.raises(ConfigError, match="topology: a crowd answers at once"):
        load(find("region-of-40"), ("engine.name=crowd", "privacy.secure_aggregation=off"))
