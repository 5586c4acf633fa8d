from __future__ import annotations

import json

import pytest

from fedmed.errors import UpdateRefused
from fedmed.flower.keys import CONFIG_KEY
from fedmed.learning.scoring import update_fields
from fedmed.outbound.declared import check, declared
from fedmed.privacy.secagg.layout import Fixed, Layout, Whole

OWN = {"accuracy": 1.0, "norm": 100.0}
MOST = 20


def text(order: object) -> str:
    told = order if isinstance(order, str) else json.dumps(order)
    return json.dumps({"config": {CONFIG_KEY: told, "server-round": 4}, "other": {}})


def layout(*more: Whole | Fixed, own: dict[str, float] = OWN) -> Layout:
    return Layout((), (*update_fields(MOST, own), *more), 32, 4, 1.0, MOST)


def test_what_the_order_declares_is_read():
    assert declared(text({"training": {"metrics": OWN, "steps": 1}})) == OWN


@pytest.mark.parametrize("order", ["order", "", "[" * 100_000, "7", "[1]", {}, {"training": 3}, {"training": {"steps": 1}}])
def test_another_order_declares_none(order):
    assert declared(text(order)) == {}


def test_settings_without_an_order_declare_none():
    assert declared('{"config":{"server-round":4},"own":{"fedmed.order":3}}') == {}


@pytest.mark.parametrize(
    "metrics", [7, ["norm"], {"norm": "high"}, {"norm": 0}, {"norm": None}, {"loss": 1.0}, {"a b": 1.0}, {"norm": 1e31}]
)
def test_what_no_scenario_can_declare_is_refused(metrics):
    with pytest.raises(UpdateRefused, match=r"the order's training\.metrics are none"):
        declared(text({"training": {"metrics": metrics}}))


def test_the_layout_asks_for_what_is_declared():
    check(layout(), OWN)
    check(layout(own={}), {})
    check(Layout((), (), 32, 4, 1.0, 1), {})


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        (layout(own={"norm": 100.0}), "accuracy.sum, accuracy.weight"),
        (layout(own=OWN | {"spy": 1.0}), "spy.sum, spy.weight"),
        (layout(own=OWN | {"norm": 1e-3}), "norm.sum"),
        (layout(Whole("patients", 9)), "patients"),
        (layout(Fixed("norm", 1e9, 1e-9, 1000)), "norm"),
    ],
    ids=["less", "more", "another bound", "a count", "an array"],
)
def test_a_layout_that_asks_for_anything_else_is_refused(asked, named):
    with pytest.raises(UpdateRefused, match=f"declares them: {named}; allowed: its training.metrics"):
        check(asked, OWN)


def test_coarser_or_finer_steps_are_refused():
    fine = tuple(
        Fixed(each.name, each.bound, each.resolution / 4) if each.name == "norm.sum" else each
        for each in update_fields(MOST, OWN)
    )
    with pytest.raises(UpdateRefused, match=r"norm\.sum"):
        check(Layout((), fine, 32, 4, 1.0, MOST), OWN)
