from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.preprocess.pipeline import DEFINITION, Pipeline, Step, differences, parse

WINDOWED = Pipeline(
    (
        Step("resample", {"spacing_mm": (1.5, 1.5, 1.5), "size": (64, 64, 64), "shear": True}),
        Step("window", {"centre": 40, "width": 400.0, "masked": None}),
        Step("cast", {"type": "float16"}),
    )
)
texts = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=8)
numbers = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**40), 2**40)
values = texts | numbers | st.booleans() | st.none() | st.lists(numbers, max_size=4).map(tuple)
pipelines = st.lists(st.builds(Step, texts, st.dictionaries(texts, values, max_size=4)), max_size=5).map(
    lambda steps: Pipeline(tuple(steps))
)


@given(pipelines)
def test_what_travels_is_the_same_pipeline(pipeline):
    again = parse(json.loads(json.dumps(pipeline.record())))
    assert again.fingerprint() == pipeline.fingerprint()
    assert again.record() == pipeline.record()
    assert differences(again, parse(pipeline.record())) == []


def test_the_order_of_parameters_is_no_difference_and_that_of_steps_is():
    turned = replace(
        WINDOWED,
        steps=(
            replace(WINDOWED.steps[0], parameters=dict(reversed(WINDOWED.steps[0].parameters.items()))),
            *WINDOWED.steps[1:],
        ),
    )
    assert turned.fingerprint() == WINDOWED.fingerprint()
    swapped = replace(WINDOWED, steps=(WINDOWED.steps[1], WINDOWED.steps[0], WINDOWED.steps[2]))
    assert swapped.fingerprint() != WINDOWED.fingerprint()
    assert differences(swapped, WINDOWED) == ["steps window, resample, cast instead of resample, window, cast"]


def test_a_difference_is_named_by_step_and_parameter():
    other = replace(WINDOWED, steps=(WINDOWED.steps[0], Step("window", {"centre": 40, "width": 350.0}), WINDOWED.steps[2]))
    assert other.fingerprint() != WINDOWED.fingerprint()
    assert differences(other, WINDOWED) == ["window.width 350.0 instead of 400.0"]
    older = replace(WINDOWED, definition=DEFINITION - 1)
    assert older.fingerprint() != WINDOWED.fingerprint()
    assert "another version of fedmed" in differences(older, WINDOWED)[0]


RECORD = WINDOWED.record()


@pytest.mark.parametrize(
    "record",
    [
        None,
        [],
        {},
        {**RECORD, "more": 1},
        {**RECORD, "definition": "1"},
        {**RECORD, "definition": True},
        {**RECORD, "steps": {}},
        {**RECORD, "steps": [{"name": "a"}]},
        {**RECORD, "steps": [{"name": 3, "parameters": {}}]},
        {**RECORD, "steps": [{"name": "a\x1b[2J", "parameters": {}}]},
        {**RECORD, "steps": [{"name": "a", "parameters": {"b\n": 1}}]},
        {**RECORD, "steps": [{"name": "a", "parameters": {"b": {"c": 1}}}]},
        {**RECORD, "steps": [{"name": "a", "parameters": {"b": [[1]]}}]},
        {**RECORD, "steps": [{"name": "a", "parameters": {"b": float("nan")}}]},
        {**RECORD, "steps": [{"name": "a", "parameters": {"b": "x" * 301}}]},
        {**RECORD, "steps": [{"name": "a", "parameters": {}}] * 65},
        {**RECORD, "steps": [{"name": "a", "parameters": {str(n): "x" * 300 for n in range(60)}}]},
    ],
)
def test_what_is_no_pipeline_is_refused(record):
    with pytest.raises(ValueError, match=r"."):
        parse(record)
