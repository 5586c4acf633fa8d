from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fedmed.edge.ladder.checkset import FOLDER, CheckSet
from fedmed.errors import StoreError
from fedmed.serving.card import Preparation
from fedmed.serving.packages import Package

KEY = bytes(32)


def image(number: int) -> np.ndarray:
    return np.full((1, 32, 32), number, np.float32)


def values(checks: CheckSet, card, count: int) -> list[int]:
    return [int(each[0, 0, 0]) for each in checks.images(card, count)]


def test_the_newest_are_kept_and_none_lies_there_in_the_clear(tmp_path: Path, quantised: Package):
    card, checks = quantised.card, CheckSet(tmp_path, KEY, most=5)
    assert (checks.count(card), values(checks, card, 5)) == (0, [])
    for number in range(1, 9):
        checks.keep(card, image(number))
    assert checks.count(card) == 5
    assert values(checks, card, 5) == [4, 5, 6, 7, 8]
    assert values(CheckSet(tmp_path, KEY, most=5), card, 2) == [7, 8]
    for path in (tmp_path / FOLDER).rglob("*"):
        assert path.is_dir() or image(8).tobytes()[:64] not in path.read_bytes()
    assert oct((tmp_path / FOLDER).stat().st_mode & 0o077) == "0o0"


def test_another_key_and_a_changed_byte_are_found_and_removed(tmp_path: Path, quantised: Package):
    card, checks = quantised.card, CheckSet(tmp_path, KEY)
    checks.keep(card, image(1))
    [path] = [each for each in (tmp_path / FOLDER).rglob("*") if each.is_file()]
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(StoreError, match="was damaged"):
        values(checks, card, 1)
    assert checks.count(card) == 0
    checks.keep(card, image(1))
    with pytest.raises(StoreError, match="was damaged"):
        values(CheckSet(tmp_path, bytes(31) + b"1"), card, 1)


def test_images_that_are_prepared_otherwise_are_of_no_use(tmp_path: Path, quantised: Package):
    card, checks = quantised.card, CheckSet(tmp_path, KEY)
    other = replace(card, preparation=Preparation("plain"))
    checks.keep(card, image(1))
    checks.keep(other, image(2))
    assert (checks.count(card), checks.count(other)) == (1, 1)
    assert checks.count(replace(card, name="next", version="2")) == 1
    checks.keep_only(other)
    assert (checks.count(card), checks.count(other)) == (0, 1)
    checks.empty()
    assert list(tmp_path.iterdir()) == []


def fill(checks: CheckSet, package: Package) -> None:
    for number in range(1000):
        checks.keep(package.card, np.full((1, 32, 32), number, np.float32))


def test_a_full_disk_is_an_error_and_leaves_nothing_half_written(small_disk: Path, quantised: Package):
    checks = CheckSet(small_disk, KEY, most=1000)
    with pytest.raises(StoreError, match="cannot be written"):
        fill(checks, quantised)
    names = [each.name for each in (small_disk / FOLDER).rglob("*") if each.is_file()]
    assert names
    assert not [each for each in names if each.startswith(".")]
    assert len(values(checks, quantised.card, 1000)) == len(names)


def test_a_disk_that_takes_nothing_and_gives_nothing_away_is_an_error_of_ours(tmp_path: Path, quantised: Package):
    (tmp_path / FOLDER).write_bytes(b"where the disk refuses")
    checks = CheckSet(tmp_path, KEY)
    assert checks.count(quantised.card) == 0
    checks.keep_only(quantised.card)
    with pytest.raises(StoreError, match="cannot be written"):
        checks.keep(quantised.card, image(1))
