from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.errors import DataError
from fedmed.wire.samples import Layout
from fedmed.wire.shard_index import INDEX, index_of, read_index

SOUND = {"classes": ["a", "b"], "pipeline": {}}
layouts = st.builds(Layout, st.sampled_from([None, 2, 3]), st.lists(st.text()).map(tuple), st.integers(0, 1000))


@given(layout=layouts, classes=st.lists(st.text()), masks=st.booleans())
def test_what_is_written_is_read_back(tmp_path_factory, layout, classes, masks):
    folder = tmp_path_factory.mktemp("index")
    told = index_of(classes, {"steps": []}, layout) | {"masks": masks}
    (folder / INDEX).write_text(json.dumps(told), encoding="utf-8")
    found = read_index(folder)
    assert found is not None
    assert (found.classes, found.layout, found.masks) == (tuple(classes), layout, masks)
    assert found.pipeline == {"steps": []}


def test_an_index_of_before_says_less_and_none_says_nothing(tmp_path):
    assert read_index(tmp_path) is None
    (tmp_path / INDEX).write_text(json.dumps(SOUND))
    found = read_index(tmp_path)
    assert found is not None
    assert (found.masks, found.layout, found.shards) == (None, Layout(), ())


@pytest.mark.parametrize(
    "spoilt",
    [
        {"spatial": 4},
        {"spatial": 2.0},
        {"spatial": "3"},
        {"masks": 1},
        {"masks": "yes"},
        {"features": "ab"},
        {"features": [1]},
        {"position": "1"},
        {"position": True},
        {"shards": [1]},
        {"shards": [{}]},
        {"shards": 5},
        {"classes": [1]},
        {"pipeline": []},
    ],
)
def test_a_spoilt_index_is_refused(tmp_path, spoilt):
    (tmp_path / INDEX).write_text(json.dumps(SOUND | spoilt))
    with pytest.raises(DataError, match="pack the site anew"):
        read_index(tmp_path)


@pytest.mark.parametrize("content", ["", "[]", "3", "[" * 60_000])
def test_what_is_no_index_is_refused(tmp_path, content):
    (tmp_path / INDEX).write_text(content)
    with pytest.raises(DataError, match="cannot be read"):
        read_index(tmp_path)


def test_a_huge_index_is_not_read(tmp_path):
    with (tmp_path / INDEX).open("wb") as file:
        file.truncate(17 * 1024**2)
    with pytest.raises(DataError, match="larger than"):
        read_index(tmp_path)
