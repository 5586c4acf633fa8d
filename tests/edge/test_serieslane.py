from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pydicom
import pytest

from fedmed.dicom.results.making import results_of
from fedmed.edge.findings import unpacked
from fedmed.edge.looking import Model
from fedmed.edge.preparing import recipe_of
from fedmed.edge.series import CLOSED, Rule
from fedmed.errors import EngineFailed
from tests.edge.series import COUNT, TARGET, Box, card, in_order, mean, slices, uids


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path / "box")


def used(record: dict) -> set[str]:
    return {each["sop_instance"] for each in record["sources"]}


def test_a_series_gives_one_result_about_all_its_images_once_nothing_more_comes(box: Box):
    given = slices()
    box.associations = {"a"}
    box.takes(given[:3], "a")
    box.clock.time += 5
    box.takes(given[3:], "a")
    box.clock.time += 100
    assert box.works() == 0  # the association may send more
    box.associations = set()
    assert box.works() == 1
    [record] = box.records()
    assert used(record) == uids(given)
    assert record["pipeline"] == TARGET.pipeline().fingerprint()
    told = record["series"]
    assert (told["whole"], told["came"], told["announced"], told["used"], told["refused"]) == (
        "quiet",
        COUNT,
        None,
        COUNT,
        [],
    )
    assert "replaces" not in record
    assert box.works() == 0
    assert box.waiting() == {"series": COUNT + 1, "result": 2}
    assert box.spool.counts().entries["study"] == COUNT  # the copies went at once


def test_as_many_images_as_the_headers_say_are_looked_at_at_once(box: Box):
    given = slices(ImagesInAcquisition=COUNT)
    box.associations = {"a"}
    box.takes(given[:-1], "a")
    assert box.records() == []
    box.takes(given[-1:], "a")
    [record] = box.records()
    assert (record["series"]["whole"], record["series"]["announced"]) == ("counted", COUNT)


def test_a_late_slice_makes_a_new_result_that_names_the_one_it_replaces(box: Box):
    given = in_order(slices())
    box.takes(given[:-1])
    box.clock.time += 31
    box.works()
    box.clock.time += 1000
    box.takes(given[-1:])
    box.clock.time += 31
    box.works()
    first, second = box.records()
    assert used(first) == uids(given[:-1])
    assert used(second) == uids(given)
    assert second["replaces"] == first["series"]["result"] != second["series"]["result"]
    found, headers = unpacked(box.findings()[1])
    document = pydicom.dcmread(io.BytesIO(results_of(headers, found).objects[0]))
    [study] = document.PredecessorDocumentsSequence
    [series] = study.ReferencedSeriesSequence
    assert series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == first["series"]["result"]
    assert series.SeriesInstanceUID == document.SeriesInstanceUID


def test_what_comes_after_its_series_was_closed_is_set_aside_with_the_reason_and_told(box: Box):
    given = in_order(slices())
    box.takes(given[:-1])
    box.clock.time += 31
    box.works()
    box.clock.time += box.rule.late_s
    assert box.works() == 1
    assert box.waiting() == {"series": 1, "result": 2}
    box.again()
    box.takes(given[-1:])
    assert [each["why"] for each in box.aside.listed().values()] == [CLOSED]
    assert [reason for _, reason in box.dropped.drops] == ["set aside"]
    assert any("1 image of a series was set aside" in each for each in box.said)
    assert len(box.records()) == 1
    box.clock.time += box.rule.remembered_s + 1
    box.works()
    assert box.waiting() == {"result": 2}
    assert box.lane.look().again_at is None


def test_a_slice_that_is_sent_again_changes_nothing(box: Box):
    given = slices()
    box.takes(given)
    box.takes(given[:2])
    box.clock.time += 31
    box.works()
    box.takes(given)
    box.clock.time += 31
    box.works()
    assert len(box.records()) == 1


def test_a_series_that_never_ends_is_looked_at_as_it_is_and_says_so(box: Box):
    box.associations = {"a"}
    box.takes(slices(), "a")
    box.clock.time += box.rule.longest_s
    box.works()
    assert box.records()[0]["series"]["whole"] == "bound"


def test_series_that_come_mixed_are_told_apart(box: Box):
    one, two = slices("one"), slices("two")
    box.takes([each for pair in zip(one, two, strict=True) for each in pair])
    box.clock.time += 31
    box.works()
    assert sorted(map(sorted, map(used, box.records()))) == sorted(map(sorted, (uids(one), uids(two))))


def test_images_that_are_still_to_be_sorted_are_waited_for(box: Box):
    given = slices()
    box.takes(given[:3])
    box.clock.time += 100
    box.comes(given[3:])
    assert box.works() == 0
    box.sorts()
    box.clock.time += 31
    box.works()
    assert [used(each) for each in box.records()] == [uids(given)]


def test_a_series_that_cannot_be_trusted_ends_with_a_word_and_with_a_late_slice_it_may_be_sound(box: Box):
    given = in_order(slices())
    box.takes(given[:2] + given[3:])
    box.clock.time += 31
    box.works()
    [refused] = box.records()
    assert refused["schema"] == "fedmed.refusal/1"
    assert refused["reason"] in ("missing-slices", "irregular-spacing")
    assert set(refused["series"]["refused"][0]["sop_instances"]) == uids(given[:2] + given[3:])
    assert box.findings() == []
    assert any("has no result" in each for each in box.said)
    assert b"Phantom" not in json.dumps(refused).encode()
    box.takes(given[2:3])
    box.clock.time += 31
    box.works()
    assert used(box.records()[1]) == uids(given)
    assert "replaces" not in box.records()[1]


def test_more_images_than_are_held_are_set_aside_with_the_reason(tmp_path: Path):
    box = Box(tmp_path / "box", rule=Rule(most_images=COUNT - 1))
    given = slices()
    box.takes(given)
    [record] = box.records()
    assert (record["reason"], record["series"]["came"]) == ("too-large", COUNT)
    assert len(box.aside.listed()) == COUNT
    assert all("more than 6 images" in str(each["why"]) for each in box.aside.listed().values())
    assert box.waiting() == {"series": 1, "result": 1}


def test_objects_that_are_no_images_are_no_part_of_a_series(box: Box):
    dataset = pydicom.dcmread(io.BytesIO(slices()[0]))
    del dataset.PixelData
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.11.1"  # a presentation state
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    box.takes([buffer.getvalue()])
    assert box.waiting() == {}
    assert any("It is no image of a series" in each for each in box.said)


def test_without_a_model_of_series_images_are_kept_for_one_and_then_a_word_is_said(box: Box):
    model, box_model = box.model, Model(recipe_of(card()), "fp32", mean)
    assert model is not None
    box.takes(slices("one"))
    box.model = None
    box.clock.time += 100
    assert box.works() == 0
    box.model = box_model
    assert box.works() == 1
    box.takes(slices("two"))
    box.model = None
    box.clock.time += box.rule.longest_s
    box.works()
    assert [each.get("reason") for each in box.records()] == [None, "no-model"]


def test_an_engine_without_an_answer_is_asked_again_and_the_series_ends_with_a_word(box: Box):
    def broken(x: np.ndarray) -> np.ndarray:
        raise EngineFailed("no memory")

    box.model = Model(recipe_of(card()), "fp32", broken)
    box.takes(slices())
    box.clock.time += 31
    box.works()
    [record] = box.records()
    assert (record["reason"], record["sentence"]) == ("no-answer", "no memory")
    assert box.said.count("no memory") == 4


def test_what_ends_the_process_three_times_is_set_aside(box: Box):
    class Ends(BaseException):
        """As the process does: nobody catches it."""

    def ends(x: np.ndarray) -> np.ndarray:
        nonlocal kept
        kept = working.read_bytes()
        raise Ends

    box.model = Model(recipe_of(card()), "fp32", ends)
    box.takes(slices())
    working, kept = box.folder / "working-series.json", b""
    for _ in range(3):
        box.works()
        box.clock.time += 31

        with pytest.raises(Ends):
            box.works()
        working.write_bytes(kept)  # a process that is killed leaves it
        box.again()
    box.works()
    box.clock.time += 31
    box.works()
    [record] = box.records()
    assert record["reason"] == "ended-the-process"
    assert len(box.aside.listed()) == COUNT


def test_images_of_a_series_without_result_and_copy_are_not_lost_when_it_is_closed(tmp_path: Path):
    box = Box(tmp_path / "box", copies=False)
    given = in_order(slices())
    box.takes(given[:2] + given[3:])
    box.clock.time += 31
    box.works()
    box.again()
    box.clock.time += box.rule.late_s + 31
    box.works()
    found = box.aside.listed().values()
    assert len(found) == COUNT - 1
    assert all(str(each["why"]).startswith(("missing-slices", "irregular-spacing")) for each in found)
    assert box.waiting() == {"series": 1, "result": 1}


def test_fewer_images_than_the_headers_say_are_looked_at_and_that_is_said(box: Box):
    box.takes(in_order(slices(ImagesInAcquisition=COUNT + 2)))
    box.clock.time += 31
    box.works()
    assert (box.records()[0]["series"]["came"], box.records()[0]["series"]["announced"]) == (COUNT, COUNT + 2)
    assert any("with 7 of 9 images" in each for each in box.said)


def test_what_an_entry_cannot_hold_ends_with_a_word(box: Box, monkeypatch):
    box.takes(slices())
    box.clock.time += 31
    monkeypatch.setattr("fedmed.store.spool.entry.MOST_CONTENT", 2000)
    box.works()
    [record] = box.records()
    assert (record["reason"], record["series"]["used"]) == ("no-result", 0)
    assert "bytes; the most is 2000" in record["sentence"]
