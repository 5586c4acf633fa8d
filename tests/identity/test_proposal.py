from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed import __version__
from fedmed.config.catalogue import builtin_scenarios
from fedmed.config.loading import load
from fedmed.errors import ConfigError, ProtocolRefused, VersionRefused
from fedmed.identity.proposal import (
    BUILT_IN_ENTRY,
    MOST_BYTES,
    Offered,
    Proposal,
    built_in,
    bundled,
    offered,
    read_offered,
    read_reference,
)
from fedmed.wire import bundle
from fedmed.wire.canonical import canonical

PROJECT = b'[tool.flwr.app.components]\nclientapp = "own.app:app"\n'


def proposal(*overrides: str, name: str = "heart") -> Proposal:
    scenario = load(builtin_scenarios()[name], overrides)
    return Proposal(run="study-1", scenario=scenario, app=built_in(), fedmed=__version__)


@pytest.mark.parametrize("name", sorted(builtin_scenarios().keys() - {"attacked"}))
def test_every_scenario_comes_back_with_its_digest(name):
    made = offered(proposal(name=name))
    found = read_offered(json.loads(made.content))
    assert found == made
    assert read_reference(made.reference) == ("study-1", found.digest)


def test_a_clinic_takes_no_scenario_with_attackers():
    with pytest.raises(ProtocolRefused, match="run study-1: its scenario has attackers, for a simulation alone"):
        read_offered(json.loads(offered(proposal(name="attacked")).content))
    read_offered(json.loads(offered(proposal("attackers=[]", name="attacked")).content))


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict) and value:
        return [leaf for key, each in value.items() for leaf in leaves(each, (*path, key))]
    return [path]


def changed(said: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    return {**said, path[0]: changed(said.get(path[0]), path[1:], value)}


SAID = json.loads(offered(proposal()).content)


@given(st.sampled_from(leaves(SAID)), st.sampled_from([None, 0, 1, 2, 0.5, True, "x", "off", [], {}, ["a"]]))
def test_no_field_can_change_without_the_digest(path, value):
    other = changed(SAID, path, value)
    try:
        found = read_offered(other)
    except (ProtocolRefused, VersionRefused):
        return
    assert (found.digest == read_offered(SAID).digest) == (canonical(other) == canonical(SAID))


def test_what_a_newer_center_does_not_use_is_not_in_it():
    said = SAID["proposal"]["scenario"]
    assert "federation" not in said
    given = json.loads(offered(proposal("federation.late=drop")).content)["proposal"]["scenario"]
    assert given == {**said, "federation": {"late": "drop"}}


def test_what_this_version_does_not_know_is_refused():
    later = changed(SAID, ("proposal", "scenario", "federation"), {"hurry": True})
    with pytest.raises(
        VersionRefused, match=r"scenario\.federation\.hurry, which the center's fedmed \(9\.9\) knows .* update"
    ):
        read_offered(changed(later, ("proposal", "fedmed"), "9.9"))
    with pytest.raises(ProtocolRefused, match=r"scenario\.rounds: .* ask the center's operator"):
        read_offered(changed(SAID, ("proposal", "scenario", "rounds"), "many"))
    with pytest.raises(ProtocolRefused, match="update it"):
        read_offered({**SAID, "version": 2})
    for strange in ([], {}, {"kind": "x"}, None, float("nan")):
        with pytest.raises(ProtocolRefused, match="no proposal"):
            read_offered(strange)


def test_large_ones_are_refused_on_both_sides():
    scenario = load(builtin_scenarios()["heart"]).model_copy(update={"description": "x" * MOST_BYTES})
    large = proposal().model_copy(update={"scenario": scenario})
    with pytest.raises(ConfigError, match="shorten"):
        offered(large)
    with pytest.raises(ProtocolRefused, match="allowed are"):
        read_offered({"kind": "x" * MOST_BYTES})


@pytest.mark.parametrize("text", ["", "study-1", "study-1@abc", "../x@" + "0" * 64, "a@" + "0" * 65, "a@" + "0" * 64 + "\n"])
def test_references_that_are_none(text):
    with pytest.raises(ProtocolRefused, match="NAME@DIGEST"):
        read_reference(text)


def test_the_built_in_app_and_a_bundle():
    assert (built_in().entry, built_in().kind) == (BUILT_IN_ENTRY, "built-in")
    content = bundle.pack({"pyproject.toml": PROJECT, "own/app.py": b"app = None\n"})
    app = bundled(content)
    assert (app.kind, app.entry, app.bytes) == ("bundle", "own.app:app", len(content))
    assert app.digest != bundled(bundle.pack({"pyproject.toml": PROJECT, "own/app.py": b"app = 1\n"})).digest


@pytest.mark.parametrize(
    "files",
    [
        {"a.py": b""},
        {"pyproject.toml": b"[tool"},
        {"pyproject.toml": b"[tool.flwr.app.components]\nclientapp = 3\n"},
        {"pyproject.toml": b'[tool.flwr.app.components]\nclientapp = "os"\n'},
        {"pyproject.toml": b"\xff"},
    ],
)
def test_an_app_that_names_no_client(files):
    with pytest.raises(ConfigError, match="must name its ClientApp"):
        bundled(bundle.pack(files))


def test_an_offer_is_its_bytes():
    made = offered(proposal())
    assert made == Offered(made.proposal, made.content)
    assert made.digest != offered(proposal("purpose=quality")).digest
