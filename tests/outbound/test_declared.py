from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.errors import ProtocolRefused
from fedmed.flower.keys import CONFIG_KEY
from fedmed.learning.order import ModelSpec
from fedmed.learning.scoring import score_fields
from fedmed.outbound.declared import declared, judge_bound, judge_fields
from fedmed.outbound.description import Sizes
from fedmed.privacy.purposes import Purpose
from fedmed.privacy.secagg.layout import Fixed, Layout, Tensor, Whole
from fedmed.privacy.secagg.questions import Fields, census_fields, update_fields

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
    with pytest.raises(ProtocolRefused, match=r"the order's training\.metrics are none"):
        declared(text({"training": {"metrics": metrics}}))


def judged(asked: Layout, own: dict[str, float] = OWN, purpose: Purpose = Purpose.UPDATE) -> None:
    judge_fields(purpose, asked, own, Sizes(MOST, MOST))


def test_the_layout_asks_for_what_is_declared():
    judged(layout())
    judged(layout(own={}), {})


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        (layout(own={"norm": 100.0}), r"accuracy\.sum, accuracy\.weight; got none; allowed: Fixed"),
        (layout(own=OWN | {"spy": 1.0}), r"spy\.sum, spy\.weight; got Fixed.*; allowed: none"),
        (layout(own=OWN | {"norm": 1e-3}), r"norm\.sum; got Fixed"),
        (layout(Whole("patients", 9)), r"patients; got Whole\(name='patients', most=9, count=1\); allowed: none"),
        (layout(Fixed("norm", 1e9, 1e-9, 1000)), "norm; got Fixed"),
        (Layout((), (), 32, 4, 1.0, MOST), r"accuracy\.sum, accuracy\.weight, .* and 2 more; got none"),
    ],
    ids=["less", "more", "another bound", "a count", "an array", "nothing"],
)
def test_a_layout_that_asks_for_anything_else_is_refused(asked, named):
    with pytest.raises(ProtocolRefused, match=f"an update and its order's training.metrics have: {named}"):
        judged(asked)


def test_coarser_or_finer_steps_are_refused():
    fine = tuple(
        Fixed(each.name, each.bound, each.resolution / 4) if each.name == "norm.sum" else each
        for each in update_fields(MOST, OWN)
    )
    with pytest.raises(ProtocolRefused, match=r"norm\.sum"):
        judged(Layout((), fine, 32, 4, 1.0, MOST))


@given(st.integers(2, 9), st.sampled_from([2, 64, 1024]), st.integers(MOST, 1 << 32), st.none() | st.integers(1, 9))
def test_what_an_honest_center_asks_of_any_task_is_allowed(classes, bins, most, width):
    def asked(fields: Fields) -> Layout:
        return Layout((), fields, 32, 4, 1.0, most)

    spec = ModelSpec(name="mlp", inputs=(3,), classes=classes)
    judged(asked(update_fields(most, OWN)))
    judged(asked(census_fields(classes, width, most)), {}, Purpose.CENSUS)
    judged(asked(score_fields(spec, most, bins)), {}, Purpose.EVALUATION)
    judged(asked(score_fields(spec.model_copy(update={"kind": "segmentation"}), most)), {}, Purpose.EVALUATION)


@pytest.mark.parametrize("purpose", Purpose)
def test_a_weight_below_the_declared_size_is_refused(purpose):
    with pytest.raises(
        ProtocolRefused, match="a weight of at most 19; allowed: at least 20, the size that this site declared"
    ):
        judged(replace(layout(), most_weight=MOST - 1), OWN, purpose)


@given(st.floats(1e-6, 1e6), st.floats(1e-6, 1e6))
def test_the_bound_of_tensors_is_at_least_the_clinics_own(bound, least):
    asked = Layout((Tensor("w", (2,)),), (), 32, 4, bound, 1)
    if bound >= least:
        judge_bound(asked, least)
    else:
        with pytest.raises(ProtocolRefused, match="which would tell of the data"):
            judge_bound(asked, least)
    judge_bound(replace(asked, tensors=()), least)
