from __future__ import annotations

import sys
from pathlib import Path

import pytest

from fedmed.confinement.cell import NEEDED, TODO, Cell, heard, system
from fedmed.errors import ConfigError, MissingPart


def test_a_cell_is_said_and_heard_but_for_what_is_hidden(tmp_path):
    cell = Cell((tmp_path,), (Path("/etc/keys"),), "as-available", 1234, 5, 6, 7, (Path("/dev/null"),))
    assert "keys" not in cell.said()
    there = heard(cell.said())
    assert (there.hidden, there.readable, there.devices) == ((), cell.readable, cell.devices)
    assert (there.policy, there.user, there.scratch_bytes, there.answer_bytes, there.threads) == (
        "as-available",
        1234,
        5,
        6,
        7,
    )


def test_what_may_be_read_is_there_under_each_of_its_names(tmp_path):
    real, link = tmp_path / "real", tmp_path / "link"
    real.mkdir()
    link.symlink_to(real)
    places = Cell((link,)).places()
    assert {real, link, Path("/usr")} <= set(places)
    assert any(Path(sys.prefix).is_relative_to(place) for place in places)
    assert all(place.exists() for place in system() if place in places)
    for inner in places:
        for outer in inner.parents:
            assert outer not in places or places.index(outer) < places.index(inner)


@pytest.mark.parametrize("given", ["relative", "/not/there"])
def test_what_is_not_there_cannot_be_read(given):
    with pytest.raises(ConfigError, match="which is not there"):
        Cell((Path(given),)).check()


def test_what_is_hidden_lies_nowhere_that_is_read(tmp_path):
    data, keys = tmp_path / "data", tmp_path / "keys"
    data.mkdir()
    keys.mkdir()
    (data / "link").symlink_to(keys)
    Cell((data,), (keys, tmp_path, data / "link" / "member.keys")).check()
    for hidden in (data, data / "keys", Path("/usr/lib/fedmed/keys"), keys / ".." / "data" / "x"):
        with pytest.raises(ConfigError, match="move one of them"):
            Cell((data,), (hidden,)).check()
    with pytest.raises(ConfigError, match="move one of them"):
        Cell((data / "link",), (keys / "member.keys",)).check()


@pytest.mark.parametrize("name", NEEDED)
def test_strict_refuses_and_says_how_to_get_what_lacks(name):
    with pytest.raises(MissingPart) as refused:
        Cell().refuse({name: "Operation not permitted", "landlock": "none"})
    assert f"{name}: Operation not permitted; to get it: {TODO[name]}" in str(refused.value)
    Cell(policy="as-available").refuse({name: "Operation not permitted"})
    Cell().refuse({"landlock": "none"})
