from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.hub.told import PAUSED, Told, health_in, told_in
from fedmed.placement.tasks import Amount, Precision
from fedmed.wire.canonical import canonical

FACTS = {
    "node": {"cores": 6, "memory": 8 * 10**9, "disk": 10**11, "gpu": 0, "cards": 1, "threads": 2},
    "models": {"active": {"name": "skin", "version": "2", "precision": "int8", "digest": "a" * 64}},
    "spool": {"entries": {"study": 3, "instance": 9}},
    "health": {"isolated": "", "readings": {"cpu_busy": 0.25, "gpu0 gpu_busy": 0.5, "gpu1 gpu_busy": "unsupported"}},
    "paused": False,
    "helps": True,
    "asks_others": True,
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
KEYS = ("node", "models", "spool", "health", "paused", "helps", "asks_others")
INNER = (
    "digest",
    "instance",
    "cores",
    "memory",
    "gpu",
    "cards",
    "threads",
    "active",
    "name",
    "version",
    "precision",
    "entries",
    "study",
)
DEEP = st.dictionaries(st.sampled_from((*INNER, "isolated", "readings", "cpu_busy")), JSON, max_size=6)


def test_a_heartbeat_says_what_placement_needs():
    told = told_in(FACTS)
    assert told.capacity == Amount(6000, 8 * 10**9, 0, 10**11)
    assert (told.cards, told.shares_memory, told.threads, told.studies) == (1, True, 2, 3)
    assert (told.model, told.precision, told.isolated, told.busy) == ("skin 2", Precision.INT8, "", 0.5)
    assert (told.package, told.waits, told.helps, told.asks) == ("a" * 64, 9, True, True)


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"helps": "yes"},
        {"models": {"active": {"digest": "a" * 64}}},
        {"node": 7},
        {"node": {"cores": -1}},
        {"node": {"cores": True}},
        {"models": {"active": []}},
    ],
)
def test_what_is_told_wrongly_is_as_if_nothing_was_said(facts):
    assert told_in(facts) == Told()


def test_a_paused_device_takes_no_work():
    assert told_in({**FACTS, "paused": True}).isolated == PAUSED
    assert told_in({**FACTS, "paused": "yes"}).isolated == ""


def test_what_steers_a_terminal_is_spelled_out():
    assert "\x1b" not in told_in({"health": {"isolated": "\x1b[2J"}}).isolated


@pytest.mark.parametrize(
    ("health", "words"),
    [
        (7, ""),
        ({}, ""),
        ({"readings": {"cpu_busy": 0.2}}, "well, temperature unsupported"),
        ({"readings": {"gpu0 gpu_temperature": "unsupported"}}, "well, temperature unsupported"),
        ({"readings": {"gpu0 gpu_temperature": 61.0, "gpu1 gpu_temperature": 72}}, "well, 72 C"),
        ({"past": ["gpu0 gpu-hot", 3], "readings": {}}, "past its limit: gpu0 gpu-hot, 3"),
        ({"past": ["x"], "isolated": "gpu0: lost"}, "takes no work: gpu0: lost"),
    ],
)
def test_how_a_device_is_in_words(health, words):
    assert health_in({"health": health}) == words


@given(st.dictionaries(st.sampled_from(KEYS), JSON | DEEP | st.dictionaries(st.sampled_from(INNER), DEEP, max_size=3)))
def test_nothing_that_a_device_tells_is_too_much_and_all_that_counts_is_told_again(facts):
    told = told_in(facts)
    told.capacity.check("told")
    assert len(health_in(facts)) < 40_000
    again = told_in(told.facts())
    assert told_in(again.facts()) == again
    assert replace(told, busy=None) == again
    assert len(canonical(told.facts())) < 4096
