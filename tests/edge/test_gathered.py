from __future__ import annotations

from pathlib import Path

import pytest

from fedmed.store.spool.entry import REAL_TIME, SERIES, New
from tests.edge.series import COUNT, Box, in_order, slices, uids


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path / "box")


def test_a_process_that_begins_anew_knows_what_waits_and_what_was_told(box: Box):
    given = slices()
    box.takes(given[:4])
    box.clock.time += 20
    box.again()
    box.takes(given[4:])
    assert box.records() == []
    box.clock.time += 31
    box.works()
    box.again()
    box.clock.time += 31
    assert box.works() == 0
    assert len(box.records()) == 1


def test_a_slice_that_the_disk_changed_is_dropped_and_told_and_its_series_says_what_is_missing(box: Box):
    given = in_order(slices())
    box.takes(given)
    middle = next(entry for entry in box.spool.later("series", 0) if {entry.facts["sop_instance"]} == uids(given[3:4]))
    box.spool._db.execute("UPDATE bodies SET content = X'00' WHERE number = ?", (middle.number,))
    box.clock.time += 31
    box.works()
    assert box.dropped.numbers == [(middle.number, "damaged")]
    [record] = box.records()
    assert record["reason"] in ("missing-slices", "irregular-spacing")
    assert record["series"]["came"] == COUNT - 1


def test_a_note_of_another_version_stops_nothing_and_is_told(box: Box):
    box.takes(slices())
    box.spool.put(New(SERIES, "1.2/1.3", REAL_TIME, {"form": "note"}, b"{}"))
    box.clock.time += 31
    box.works()
    assert len(box.records()) == 1
    assert [reason for _, reason in box.dropped.drops] == ["no note of a series: of another version"]
    assert len(box.lane.gathered._known) == 1
