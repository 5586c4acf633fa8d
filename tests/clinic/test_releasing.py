from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.clinic.releasing import release_for, released, releases_in_force, withdrawn
from fedmed.config.dataset import DataSet
from fedmed.errors import ConfigError, NotApproved

NOW = 1_800_000_000


def dataset(**changed: Any) -> DataSet:
    body = {
        "name": "wards", "reader": "csv", "folder": "/srv", "options": {}, "site": None, "split": {}, "seed": 1,
        "classes": ["a", "b"], "shape": [2], "stored": "float32", "spatial": 2, "masks": False, "features": ["x", "y"],
        "unit": "record", "cases": {"train": 10, "validation": 2, "test": 3}, "declared": [10, 2], "digest": "a" * 64,
        "registered": NOW,
    }  # fmt: skip
    return DataSet.model_validate_json(json.dumps({**body, **changed}))


WORDS, RUNS = st.sampled_from(["research", "quality"]), st.sampled_from([None, "one", "two"])


@given(st.lists(st.tuples(WORDS, RUNS, st.none() | st.integers(1, 100)), max_size=6), WORDS, RUNS, st.integers(0, 120))
def test_only_what_was_released_is_used_and_only_as_long(releases, purpose, run, later):
    found = dataset()
    held: dict[tuple[str, str | None], int | None] = {}
    for word, which, until in releases:
        found = released(found, word, which, None if until is None else NOW + until, "x", NOW)
        held[word, which] = until
    asked = run or "three"
    wanted = any(
        word == purpose and which in (None, asked) and (until is None or later < until)
        for (word, which), until in held.items()
    )
    if wanted:
        assert release_for(found, purpose, asked, NOW + later).purpose == purpose
    else:
        with pytest.raises(NotApproved) as refused:
            release_for(found, purpose, asked, NOW + later)
        assert str(refused.value) == "this site's data is not released for the run; ask its staff"
        assert "fedmed clinic data release" in refused.value.kept
    gone = withdrawn(found, "x", "y", NOW)
    assert releases_in_force(gone, NOW) == ()
    with pytest.raises(NotApproved):
        release_for(gone, purpose, asked, NOW)
    other = found.model_copy(update={"digest": "b" * 64})
    with pytest.raises(NotApproved):
        release_for(other, purpose, asked, NOW)


def test_what_was_withdrawn_does_not_come_back_by_another_release():
    found = released(dataset(), "research", None, None, "x", NOW)
    found = released(withdrawn(found, "x", "", NOW), "quality", None, None, "x", NOW)
    assert [each.purpose for each in releases_in_force(found, NOW)] == ["quality"]


def test_an_end_that_has_passed():
    with pytest.raises(ConfigError, match="has passed"):
        released(dataset(), "research", None, NOW, "x", NOW)
