from __future__ import annotations

import shutil
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedmed.dicom.reasons import Reason, Status, Untrusted
from fedmed.dicom.series import load
from fedmed.dicom.survey import survey
from fedmed.dicom.synthetic.ct_phantom import Protocol, synthesise, write

PROTOCOL = Protocol(slices=7, rows=20, columns=16, gap_mm=12, spacing_mm=(18.0, 20.0))


def studies(folder, *names):
    """One folder a series; the series by name."""
    made = {name: synthesise(4, name, PROTOCOL) for name in names}
    for name, series in made.items():
        write(series.slices, folder / name)
    return made


def refused(found) -> dict[str, Reason | None]:
    return {stack.subject: stack.refusal and stack.refusal.reason for stack in found.stacks}


def uid(series) -> str:
    return str(series.slices[0].SeriesInstanceUID)


@pytest.fixture
def two(tmp_path):
    return studies(tmp_path, "good", "bad")


def test_an_empty_folder_holds_nothing(tmp_path):
    found = survey(tmp_path, workers=0)
    assert (found.files, found.instances, found.stacks, found.cases) == ([], [], [], [])


@pytest.mark.parametrize("workers", [0, 2])
def test_files_of_every_kind_end_as_what_they_are(two, tmp_path, workers):
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "bad" / "0003.dcm").write_bytes((tmp_path / "bad" / "0003.dcm").read_bytes()[:-100])
    told = []
    found = survey(tmp_path, workers=workers, progress=lambda *said: told.append(said))
    by_name = {file.path: file for file in found.files}
    assert len(by_name) == 15
    assert by_name["notes.txt"].status is Status.NOT_DICOM
    assert by_name["good/0000.dcm"].shape == (20, 16)
    assert len(by_name["good/0000.dcm"].pixel_sha256) == 16
    assert (by_name["bad/0003.dcm"].status, by_name["bad/0003.dcm"].reason) == (Status.QUARANTINED, Reason.TRUNCATED)
    assert refused(found) == {uid(two["good"]): None, uid(two["bad"]): Reason.TRUNCATED}
    assert told.count(("pixels", 15, 15)) == told.count(("headers", 15, 15)) == 1
    assert [case.level for case in found.cases] == ["file", "series"]


def test_an_archive_is_a_folder(two, tmp_path):
    with zipfile.ZipFile(tmp_path / "export.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(tmp_path.rglob("*.dcm")):
            archive.write(path, str(path.relative_to(tmp_path)))
    for name in two:
        shutil.rmtree(tmp_path / name)
    for root in (tmp_path, tmp_path / "export.zip"):
        found = survey(root, workers=0)
        assert set(refused(found).values()) == {None}
        stack = next(stack for stack in found.stacks if stack.series == uid(two["good"]))
        np.testing.assert_array_equal(load(stack, found.instances, workers=2).voxels, two["good"].stored)


def test_a_dicomdir_stands_for_its_folder(two, tmp_path):
    media = two["good"].slices[0]
    media.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.1.3.10"
    del media.PixelData, media.SOPClassUID
    media.save_as(tmp_path / "DICOMDIR", enforce_file_format=True)
    found = survey(tmp_path / "DICOMDIR", pixels=False)
    assert len(found.files) == 15
    assert set(refused(found).values()) == {None}
    assert [len(survey(tmp_path / "good" / "0001.dcm", pixels=False).files)] == [1]


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 1600), byte=st.integers(0, 255), cut=st.booleans())
def test_whatever_a_byte_does_only_its_own_series_suffers(two, tmp_path, at, byte, cut):
    path = tmp_path / "bad" / "0002.dcm"
    before = path.read_bytes()
    at %= len(before)
    path.write_bytes(before[:at] if cut else before[:at] + bytes([byte]) + before[at + 1 :])
    try:
        found = survey(tmp_path, pixels=False)
        (good,) = [stack for stack in found.stacks if stack.series == uid(two["good"])]
        assert good.refusal is None
        for stack in found.stacks:
            try:
                volume = load(stack, found.instances)
            except Untrusted:
                continue
            assert np.isfinite(volume.affine).all()
    finally:
        path.write_bytes(before)


@pytest.mark.parametrize("sop_class", ["1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.7"])
def test_a_file_whose_header_is_refused_sets_aside_its_own_series(two, tmp_path, sop_class):
    two["bad"].slices[-1].SOPClassUID = two["bad"].slices[-1].file_meta.MediaStorageSOPClassUID = sop_class
    two["bad"].slices[-1].Rows = 60_000
    two["bad"].slices[-1].Columns = 60_000
    write(two["bad"].slices, tmp_path / "bad")
    found = survey(tmp_path, pixels=False)
    assert refused(found) == {uid(two["good"]): None, uid(two["bad"]): Reason.TOO_LARGE}
    series = next(case for case in found.cases if case.level == "series")
    assert series.where == str(tmp_path / "bad")


def test_a_slice_without_its_pixels_is_missed_even_at_an_end(two, tmp_path):
    del two["bad"].slices[-1].PixelData
    write(two["bad"].slices, tmp_path / "bad")
    for pixels in (True, False):
        found = survey(tmp_path, pixels=pixels, workers=0)
        assert next(file for file in found.files if file.path == "bad/0006.dcm").status is Status.NO_PIXELS
        assert refused(found) == {uid(two["good"]): None, uid(two["bad"]): Reason.TRUNCATED}


def test_a_report_in_the_same_series_is_no_missing_slice(two, tmp_path):
    report = two["good"].slices[-1]
    del report.PixelData
    report.SOPClassUID = report.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11"
    write([report], tmp_path / "good" / "report")
    assert set(refused(survey(tmp_path, workers=0)).values()) == {None}


def test_a_copy_of_a_file_is_the_same_slice_and_no_duplicate(two, tmp_path):
    shutil.copytree(tmp_path / "good", tmp_path / "again" / "good")
    found = survey(tmp_path, workers=0)
    assert refused(found) == {uid(two["good"]): None, uid(two["bad"]): None}
    assert sum(file.status is Status.OK for file in found.files) == 21
    assert len(found.instances) == 14


def test_two_objects_of_one_name_are_refused(two, tmp_path):
    twin = two["bad"].slices[2]
    twin.PixelData = bytes(len(twin.PixelData))
    write([twin], tmp_path / "elsewhere")
    found = survey(tmp_path, pixels=False)
    assert refused(found) == {uid(two["good"]): None, uid(two["bad"]): Reason.DUPLICATE_SLICES}


def test_files_of_no_series_do_not_make_one_together(two, tmp_path):
    for dataset in two["bad"].slices:
        dataset.SeriesInstanceUID = ""
    write(two["bad"].slices, tmp_path / "bad")
    found = survey(tmp_path, pixels=False)
    assert [len(stack.frames) for stack in found.stacks if stack.series != uid(two["good"])] == [1] * 7


def test_the_digest_of_a_case_is_of_its_bytes_wherever_they_lie(two, tmp_path):
    (tmp_path / "bad" / "0003.dcm").unlink()

    def digest(root) -> str:
        (case,) = survey(root, pixels=False).cases
        return case.sha256

    before = digest(tmp_path)
    (tmp_path / "bad").rename(tmp_path / "moved")
    assert digest(tmp_path) == before
    path = tmp_path / "moved" / "0001.dcm"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    assert digest(tmp_path) != before


def test_what_a_person_allows_is_judged_again_and_no_other_reason_passes(two, tmp_path):
    uneven = two["bad"].slices
    uneven[3].ImagePositionPatient = [*uneven[3].ImagePositionPatient[:2], uneven[3].ImagePositionPatient[2] + 2]
    for dataset in uneven:
        dataset.BurnedInAnnotation = "YES"
    write(uneven, tmp_path / "bad")
    asked = []

    def allows(case, reasons):
        asked.append(case.reason)
        return case.reason in reasons

    def reason(*reasons) -> Reason | None:
        return refused(survey(tmp_path, pixels=False, allows=lambda case: allows(case, reasons)))[uid(two["bad"])]

    assert reason() is Reason.BURNED_IN_TEXT
    assert reason(Reason.BURNED_IN_TEXT) is Reason.IRREGULAR_SPACING
    assert reason(Reason.BURNED_IN_TEXT, Reason.IRREGULAR_SPACING) is None
    (tmp_path / "bad" / "0001.dcm").unlink()
    asked.clear()
    assert reason(*Reason) in (Reason.MISSING_SLICES, Reason.IRREGULAR_SPACING, None)
    assert Reason.MISSING_SLICES not in asked
