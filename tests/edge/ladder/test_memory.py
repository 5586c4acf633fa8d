from __future__ import annotations

from pathlib import Path

import pytest

from fedmed.edge.ladder.climb import Climb, Key, Phase, fallen
from fedmed.edge.ladder.memory import FILE, MOST, Memory
from fedmed.errors import StoreError
from tests.edge.ladder.test_climb import KEY, chosen


def test_what_a_device_came_to_is_there_after_a_restart(tmp_path: Path):
    Memory(tmp_path).put(chosen())
    assert Memory(tmp_path).get(KEY) == chosen()
    assert Memory(tmp_path).get(Key("b" * 64, KEY.engines, KEY.machine)).phase is Phase.SAFE


@pytest.mark.parametrize("changed", ["package", "engines", "machine", "labels"])
def test_it_holds_for_this_package_engine_machine_and_labels_alone(tmp_path: Path, changed: str):
    Memory(tmp_path).put(chosen())
    other = Key(**{**KEY.__dict__, changed: "other"})
    assert Memory(tmp_path).get(other) == Climb(other)


def test_the_newest_are_remembered(tmp_path: Path):
    keys = [Key(str(number), "e", "m") for number in range(MOST + 3)]
    for key in keys:
        Memory(tmp_path).put(Climb(key, why="here"))
    assert [each.key for each in Memory(tmp_path).all()] == list(reversed(keys))[:MOST]


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'{"body": [], "sha256": "0"}', b"\xff"])
def test_a_damaged_file_is_as_none(tmp_path: Path, content: bytes):
    (tmp_path / FILE).write_bytes(content)
    assert Memory(tmp_path).all() == ()


def test_an_altered_choice_is_none(tmp_path: Path):
    Memory(tmp_path).put(chosen())
    path = tmp_path / FILE
    path.write_bytes(path.read_bytes().replace(b'"crashes":0', b'"crashes":1'))
    assert Memory(tmp_path).all() == ()


def test_a_disk_that_refuses_holds_up_no_way_back_and_begins_nothing(tmp_path: Path):
    memory = Memory(tmp_path)
    (tmp_path / FILE).mkdir()
    with pytest.raises(StoreError, match="cannot be written"):
        memory.put(chosen())
    assert memory.get(KEY) == Climb(KEY)
    with pytest.raises(StoreError):
        memory.put(fallen(chosen(), "an image got no answer"))
    assert memory.get(KEY).phase is Phase.HELD
