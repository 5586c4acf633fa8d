from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from fedmed.dicom.synthetic.ct_phantom import Protocol
from fedmed.edge.series import Rule
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
    box.spool._commits._db.execute("UPDATE bodies SET content = X'00' WHERE number = ?", (middle.number,))
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


TINY = Protocol(slices=3, rows=8, columns=8, gap_mm=30.0, spacing_mm=(40.0, 40.0))
IMAGES = {name: slices(name, TINY) for name in ("one", "two")}


class Ward(RuleBasedStateMachine):
    """Images of two series that come in any order, over associations that end at any time, to a device that is restarted."""

    def __init__(self) -> None:
        super().__init__()
        self.place = TemporaryDirectory()
        self.box = Box(Path(self.place.name) / "box", rule=Rule(quiet_s=30, longest_s=300, late_s=200))
        self.came = dict[str, set[str]]()

    @rule(name=st.sampled_from(sorted(IMAGES)), number=st.integers(0, 2), association=st.sampled_from(["", "a", "b"]))
    def comes(self, name: str, number: int, association: str) -> None:
        content = IMAGES[name][number]
        self.box.associations |= {association} - {""}
        self.box.comes([content], association)
        self.came.setdefault(name, set()).update(uids([content]))

    @rule()
    def sorts(self) -> None:
        self.box.sorts()

    @rule(association=st.sampled_from(["a", "b"]))
    def ends(self, association: str) -> None:
        self.box.associations -= {association}

    @rule(later=st.sampled_from([1.0, 31.0, 150.0, 250.0]))
    def passes(self, later: float) -> None:
        self.box.clock.time += later
        self.box.works()

    @rule()
    def begins_anew(self) -> None:
        self.box.associations.clear()
        self.box.again()

    def teardown(self) -> None:
        """All that came was looked at, was refused by name, or lies aside; and nothing was told twice."""
        self.box.associations.clear()
        for _ in range(3):
            self.box.sorts()
            self.passes(31.0)
        records = self.box.records()
        told = [frozenset(each["sop_instance"] for each in record.get("sources", ())) for record in records]
        refused = {uid for record in records for each in record["series"]["refused"] for uid in each["sop_instances"]}
        aside = uids([self.box.aside.content(address) for address in self.box.aside.listed()])
        for each in self.came.values():
            assert each <= set().union(*told) | refused | aside
        results = [each for each in told if each]
        assert len(set(results)) == len(results)
        assert {record["replaces"] for record in records if "replaces" in record} <= {
            record["series"]["result"] for record in records if "result" in record["series"]
        }
        assert not self.box.gathers()
        self.box.spool.close()
        self.place.cleanup()


Ward.TestCase.settings = settings(max_examples=15, stateful_step_count=25, deadline=None)
TestWard = Ward.TestCase
