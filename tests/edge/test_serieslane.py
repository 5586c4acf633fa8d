from __future__ import annotations

import io
import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

from fedmed.dicom.limits import LIMITS
from fedmed.dicom.results.making import results_of
from fedmed.dicom.synthetic.ct_phantom import Protocol, synthesise
from fedmed.dicom.synthetic.traps import TRAPS
from fedmed.edge.findings import unpacked
from fedmed.edge.looking import Model
from fedmed.edge.preparing import recipe_of
from fedmed.edge.series import CLOSED, Rule
from fedmed.errors import EngineFailed
from fedmed.store.spool.entry import REAL_TIME, SERIES, New
from tests.edge.series import TARGET, Box, bright, card, mean

COUNT = 7
PROTOCOL = Protocol(slices=COUNT, rows=32, columns=24, gap_mm=11.0, spacing_mm=(10.0, 9.0))


def slices(name: str = "ct", **values: object) -> list[bytes]:
    """A series as a scanner sends it: in some order."""
    made = []
    for dataset in synthesise(3, name, PROTOCOL).slices:
        for keyword, value in values.items():
            setattr(dataset, keyword, value)
        buffer = io.BytesIO()
        dataset.save_as(buffer, enforce_file_format=True)
        made.append(buffer.getvalue())
    random.Random(name).shuffle(made)
    return made


def in_order(contents: list[bytes]) -> list[bytes]:
    """From the feet up: without its last the series is sound."""
    return sorted(contents, key=lambda content: pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True).InstanceNumber)


def uids(contents: list[bytes]) -> set[str]:
    return {str(pydicom.dcmread(io.BytesIO(each), stop_before_pixels=True).SOPInstanceUID) for each in contents}


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


def test_the_report_names_all_images_and_its_uid_is_that_of_the_record(box: Box):
    given = slices()
    box.takes(given)
    box.clock.time += 31
    box.works()
    [record], [finding] = box.records(), box.findings()
    found, headers = unpacked(finding)
    [report] = results_of(headers, found).objects
    document = pydicom.dcmread(io.BytesIO(report))
    assert document.SOPInstanceUID == record["series"]["result"]
    [study] = document.CurrentRequestedProcedureEvidenceSequence
    [series] = study.ReferencedSeriesSequence
    assert {str(each.ReferencedSOPInstanceUID) for each in series.ReferencedSOPSequence} == uids(given)
    assert str(document.PatientName).startswith("Phantom")
    assert sum(map(len, headers)) < sum(map(len, given)) / 2  # without the pixels


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
    assert any("1 images of a series were set aside" in each for each in box.said)
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


def test_a_volume_larger_than_is_decoded_is_refused_by_name(tmp_path: Path):
    box = Box(tmp_path / "box", limits=replace(LIMITS, decoded_bytes=1000))
    box.takes(slices())
    box.clock.time += 31
    box.works()
    assert box.records()[0]["reason"] == "too-large"


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


def test_a_mask_is_drawn_on_the_scanners_own_slices(box: Box):
    box.model = Model(recipe_of(card("segmentation")), "fp32", bright)
    given = slices()
    box.takes(given)
    box.clock.time += 31
    box.works()
    [record], [finding] = box.records(), box.findings()
    assert record["mask"]["shape"] == list(PROTOCOL.shape)
    found, headers = unpacked(finding)
    [drawn] = results_of(headers, found).objects
    dataset = pydicom.dcmread(io.BytesIO(drawn))
    assert dataset.Modality == "SEG"
    assert dataset.SOPInstanceUID == record["series"]["result"]
    sources = {
        str(each.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID)
        for each in dataset.PerFrameFunctionalGroupsSequence
    }
    assert sources <= uids(given)
    assert len(sources) > 3


def test_slices_of_a_volume_that_are_cases_of_their_own_give_the_same_mask(tmp_path: Path):
    masks = []
    for sliced in (False, True):
        box = Box(tmp_path / f"{sliced}", Model(recipe_of(card("segmentation", sliced=sliced)), "fp32", bright))
        box.takes(slices())
        box.clock.time += 31
        box.works()
        masks.append(unpacked(box.findings()[0])[0].mask)
    assert masks[0] is not None
    assert masks[1] is not None
    assert (masks[0] == masks[1]).all()
    assert 0 < masks[0].mean() < 1


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


def test_a_mask_on_one_object_of_many_frames_lies_on_its_frames_in_their_own_order(box: Box):
    box.model = Model(recipe_of(card("segmentation")), "fp32", bright)
    (enhanced,) = TRAPS["enhanced-multi-frame"].change(synthesise(3, "ct", PROTOCOL).slices)
    plain = Box(box.folder.parent / "plain", box.model)
    buffer = io.BytesIO()
    enhanced.save_as(buffer, enforce_file_format=True)
    masks = []
    for each, contents in ((box, [buffer.getvalue()]), (plain, in_order(slices()))):
        each.takes(contents)
        each.clock.time += 31
        each.works()
        found, headers = unpacked(each.findings()[0])
        assert len(headers) == len(contents)
        assert found.mask is not None
        masks.append(found.mask)
        drawn = pydicom.dcmread(io.BytesIO(results_of(headers, found).objects[0]))
        assert (drawn.Modality, drawn.SOPInstanceUID) == ("SEG", each.records()[0]["series"]["result"])
    places = [
        float(each.PlanePositionSequence[0].ImagePositionPatient[2]) for each in enhanced.PerFrameFunctionalGroupsSequence
    ]
    assert places != sorted(places)
    assert np.array_equal(masks[0][np.argsort(places)], masks[1])


def test_a_series_that_names_no_patient_has_no_result_and_a_word(box: Box):
    box.takes(slices(PatientID="", PatientName=""))
    box.clock.time += 31
    box.works()
    [record] = box.records()
    assert (record["reason"], record["series"]["used"]) == ("no-result", 0)
    assert "names no patient" in record["sentence"]


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


def test_a_note_of_another_version_stops_nothing_but_says_so(box: Box):
    box.takes(slices())
    box.spool.put(New(SERIES, "1.2/1.3", REAL_TIME, {"form": "note"}, b"{}"))
    box.clock.time += 31
    box.works()
    assert len(box.records()) == 1
    assert [reason for _, reason in box.dropped.drops] == ["no note of a series: of another version"]
    assert len(box.lane.gathered._known) == 1
