from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from hypothesis import given
from hypothesis import strategies as st

from fedmed.errors import UpdateRefused
from fedmed.flower import arrays, packing
from fedmed.flower.hearsay import ANSWER, ASIDES, MAX_REASON, MAX_RECORDS, STATE, described, grouped, judged, of_group
from fedmed.wire.asides import MOST, Aside

SEP = packing.SEPARATOR
CONTENT = RecordDict(
    {
        "arrays": arrays.own({"w": np.ones((2, 2), np.float32), f"odd{SEP}name": np.array(1)}),
        "none": ArrayRecord(),
        "metrics": MetricRecord({"n": 2**62, "loss": float("nan"), "list": [1.5, 2.5]}),
        "config": ConfigRecord({"text": "é", "bytes": b"\x00\xff", "all": [b"\x01", b""], "yes": True, "x": 1.5}),
    }
)
NOTHING = packing.describe(RecordDict())
FINE = {"number": 1, "reason": "", ANSWER: packing.describe(CONTENT), STATE: NOTHING, ASIDES: []}
TENSORS = grouped(ANSWER, CONTENT)


def said(tensors=TENSORS, **changes: Any):
    return judged(json.dumps({**FINE, **changes}).encode(), tensors)


def test_what_our_own_child_says_is_believed():
    found = said()
    assert found.content is not None
    assert packing.describe(found.content).keys() == FINE[ANSWER].keys()
    assert {name: value.tolist() for name, value in packing.flatten(found.content).items()} == {
        name: value.tolist() for name, value in packing.flatten(CONTENT).items()
    }
    assert dict(found.content["config"]) == dict(CONTENT["config"])
    assert (found.number, found.reason, found.state) == (1, "", NOTHING)


def test_what_is_for_the_clinic_alone_is_beside_the_answer_and_no_more_than_figures():
    aside = {"round": 3, "cases": 12, "figures": {"auc": 0.75, "loss": None}}
    found = said(**{ASIDES: [aside] * 100})
    assert found.asides == (Aside(3, 12, {"auc": 0.75, "loss": None}),) * MOST
    assert found.content is not None
    assert not any("auc" in record for record in found.content.values())
    for odd in ([{**aside, "figures": {"Doe^Jane": 1.0}}], [None], None, {}, "text"):
        with pytest.raises(UpdateRefused):
            said(**{ASIDES: odd})


def test_states_travel_beside_answers():
    kept = {"config": packing.describe(CONTENT)}["config"]
    found = said({**TENSORS, **grouped(STATE, CONTENT)}, **{STATE: kept})
    assert {name: value.tolist() for name, value in found.state_tensors.items()} == {
        name: value.tolist() for name, value in packing.flatten(CONTENT).items()
    }
    assert of_group(ANSWER, grouped(STATE, CONTENT)) == {}


def test_a_failure_has_a_reason_that_is_shown_as_text_and_has_an_end():
    found = said({}, answer=None, reason="\x1b[2J" + "x" * 10_000, state=None)
    assert (found.content, found.state) == (None, None)
    assert found.reason.startswith("\\x1b[2J")
    assert len(found.reason) == MAX_REASON


WRONG: list[dict[str, Any]] = [
    {"number": "1"},
    {"number": True},
    {"number": 1.0},
    {"reason": None},
    {"reason": "with an answer"},
    {ANSWER: None},
    {ANSWER: []},
    {ANSWER: {}},
    {STATE: 5},
    {STATE: {"arrays": ["a"], "metrics": {"a": {}}, "configs": {}}},
    *[{ANSWER: {**FINE[ANSWER], "arrays": bad}} for bad in ("arrays", [1], ["arrays"] * 2, ["arrays", "metrics"], None, [])],
    *[
        {ANSWER: {**FINE[ANSWER], "metrics": {"m": {"x": bad}}}}
        for bad in ("text", True, None, 2**64, {}, [[1]], [1, "a"], -(2**70))
    ],
    *[
        {ANSWER: {**FINE[ANSWER], "configs": {"c": {"x": bad}}}}
        for bad in (None, {}, {"base64": 1}, {"base64": "?"}, [[1]], 10**30)
    ],
    *[{ANSWER: {**FINE[ANSWER], name: bad}} for name in ("metrics", "configs") for bad in (None, [], {"a": 1}, {"a": []})],
    {ANSWER: {**FINE[ANSWER], "more": {}}},
    {ANSWER: {**FINE[ANSWER], "metrics": {f"m{n}": {} for n in range(MAX_RECORDS)}}},
]


@pytest.mark.parametrize("changes", WRONG, ids=[str(each)[:60] for each in WRONG])
def test_anything_else_is_refused(changes):
    with pytest.raises(UpdateRefused, match="said what no app of ours says"):
        said(**changes)


@pytest.mark.parametrize(
    "name", ["w", f"arrays{SEP}w", f"{ANSWER}{SEP}other{SEP}w", f"{STATE}{SEP}arrays{SEP}w", f"x{SEP}arrays{SEP}w", ""]
)
def test_a_tensor_of_no_record_is_refused(name):
    with pytest.raises(UpdateRefused):
        said({**TENSORS, name: np.zeros(1)})


DEEP = [
    b"[" * 200_000,
    b'{"number":' * 50_000,
    b'{"number": ' + b"9" * 10_000 + b"}",
    b"\xff\xfe",
    b"",
    b"null",
    b"[]",
    b"3",
]


@pytest.mark.parametrize("head", DEEP)
def test_heads_that_are_no_object_or_too_deep_are_refused(head):
    with pytest.raises(UpdateRefused):
        judged(head, {})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(value=JSON, key=st.sampled_from(["arrays", "metrics", "configs"]))
def test_whatever_is_called_a_description_can_be_restored(value, key):
    told = {**NOTHING, key: value}
    if described(told):
        try:
            packing.restore(told, {})
        except (TypeError, ValueError, KeyError):
            with pytest.raises(UpdateRefused):
                said({}, answer=told)


@given(head=JSON)
def test_any_json_is_judged(head):
    with pytest.raises(UpdateRefused):
        judged(json.dumps(head).encode(), {})
