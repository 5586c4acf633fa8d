from __future__ import annotations

import hashlib
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.wire.canonical import canonical, digest

# all that JSON can carry, lone surrogates too: a file name in a site's error message may hold one
texts = st.text(st.characters())
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


@given(values)
def test_what_was_read_back_has_the_same_text(value):
    text = canonical(value)
    assert json.loads(text) == value
    assert canonical(json.loads(text)) == text
    assert digest(value) == hashlib.sha256(text).hexdigest()


@given(st.dictionaries(texts, st.integers(), min_size=2, max_size=6), st.randoms())
def test_order_of_keys_does_not_count(value, random):
    keys = list(value)
    random.shuffle(keys)
    assert canonical({key: value[key] for key in keys}) == canonical(value)


def test_text_is_fixed_for_good():
    assert canonical({"b": [1, 2.5, None], "a": "Zürich"}) == '{"a":"Zürich","b":[1,2.5,null]}'.encode()


def test_other_values_have_other_digests():
    assert len({digest(value) for value in (1, 1.0, "1", True, [1], {"1": 1}, None)}) == 7


def test_tuples_are_lists():
    assert digest({"a": (1, 2)}) == digest({"a": [1, 2]})


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_json_has_no_number_for_is_refused(value):
    with pytest.raises(ValueError, match="JSON"):
        canonical({"loss": [value]})
