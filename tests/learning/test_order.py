from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fedmed.learning.order import MAX_ORDER_BYTES, ModelSpec, Order, Preparation, parse
from tests.learning.parts import CNN, order


def test_an_order_arrives_as_it_was_given():
    sent = order(
        7,
        spec=CNN,
        preparation=Preparation(mean=(1 / 3, 2.5), std=(1e-9, 1e9), clip=5.0),
        augment="xray",
        bins=64,
        frozen=("a.*",),
    )
    assert parse(sent.model_dump_json()) == sent


finite = st.floats(allow_nan=False, allow_infinity=False)


@given(finite, st.lists(finite, min_size=2, max_size=3), st.integers(0, 2**63 - 1))
def test_numbers_arrive_to_the_last_bit(rate, weights, seed):
    sent = order(learning_rate=rate, class_weights=tuple(weights), seed=seed)
    got = parse(sent.model_dump_json())
    assert (got.learning_rate, got.class_weights, got.seed) == (rate, tuple(weights), seed)


def test_one_logit_for_two_classes_and_one_each_for_more():
    assert [ModelSpec(name="mlp", inputs=(3,), classes=n).outputs for n in (2, 3, 7)] == [1, 3, 7]


def change(**fields) -> str:
    return json.dumps(json.loads(order().model_dump_json()) | fields)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "null",
        "[]",
        "not json",
        change(extra=1),
        change(round="one"),
        change(learning_rate=None),
        change(class_weights=[math.inf]).replace("Infinity", "1e999x"),
        change(model={"name": "mlp", "inputs": [], "classes": 2}),
        change(model={"name": "mlp", "inputs": [3], "classes": 1}),
        change(model={"name": "mlp", "inputs": [1, 2, 3, 4, 5], "classes": 2}),
        change(training={"batch_size": 8}),
        change(training={"batch_size": 8, "epochs": 1, "steps": 1}),
        change(preparation={"features": "plain", "run": "rm"}),
        change(bins=1),
        change(bins=1 << 17),
        change(frozen="*.bias"),
    ],
)
def test_what_is_no_order_is_a_value_error(text):
    with pytest.raises(ValueError, match=r"."):
        parse(text)


def test_an_order_too_large_to_be_one_is_not_read():
    with pytest.raises(ValueError, match=f"allowed are {MAX_ORDER_BYTES}"):
        parse("[" * (MAX_ORDER_BYTES + 1))


def test_an_order_cannot_be_changed():
    with pytest.raises(ValidationError):
        order().round = 2  # type: ignore[misc]


def test_equal_specs_are_equal_whatever_their_origin():
    assert parse(order(spec=CNN).model_dump_json()).model.model_dump_json() == CNN.model_dump_json()
    assert isinstance(parse(order().model_dump_json()), Order)
