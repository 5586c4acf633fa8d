"""Results in a real PACS: Orthanc takes them, files them under the same patient and study, and gives them back."""

from __future__ import annotations

import io

import highdicom as hd
import numpy as np
import pydicom
import pytest

from fedmed.dicom.destination import Destination
from fedmed.dicom.results.report import report
from fedmed.dicom.results.segments import segmentation
from fedmed.dicom.sending import Sender, echo, send
from fedmed.dicom.statuses import Outcome
from fedmed.errors import Unreachable
from tests.dicom.files import encoded
from tests.dicom.orthanc import Orthanc, orthanc
from tests.dicom.results.samples import FINDING, SMALL, found, masked, reread, series

NAME = "Wang^XiaoDong=王^小东"


KNOWN = {"AET": "FEDMED", "Host": "127.0.0.1", "Port": 104, "AllowStore": True, "AllowEcho": True}
STRICT = {"DicomCheckCalledAet": True, "DicomCheckModalityHost": False, "DicomAlwaysAllowStore": False}


@pytest.fixture(scope="module")
def pacs(tmp_path_factory):
    """Stores for one caller alone, and keeps the first of two objects of one UID."""
    more = {**STRICT, "DicomAlwaysAllowEcho": False, "OverwriteInstances": False}
    with orthanc(tmp_path_factory.mktemp("pacs"), {"device": KNOWN}, {}, **more) as running:
        yield running


@pytest.fixture(scope="module")
def chinese() -> list[bytes]:
    """A series in space of a patient whose name is in GB18030."""
    made = []
    for content in series(SMALL, "pacs"):
        one = reread(content)
        one.SpecificCharacterSet, one.PatientName, one.PatientID, one.AccessionNumber = "GB18030", NAME, "P-1", "A-1"
        made.append(encoded(one))
    return made


def destination(pacs: Orthanc, **changes) -> Destination:
    return Destination(**({"host": "127.0.0.1", "port": pacs.dicom_port, "ae_title": pacs.title} | changes))


def back(pacs: Orthanc, uid: str) -> bytes:
    return pacs.instance(pacs.instances()[uid])


def test_images_report_and_masks_are_one_study_of_one_patient(pacs, chinese):
    mask = np.random.default_rng(5).integers(0, 3, SMALL.shape).astype(np.uint8)
    objects = [*chinese, report(chinese[0], FINDING), segmentation(chinese, masked(mask))]
    assert [each.outcome for each in send(destination(pacs), objects)] == [Outcome.STORED] * 6
    study = str(reread(chinese[0]).StudyInstanceUID)
    [found_study] = [each for each in pacs.ask("/studies?expand") if each["MainDicomTags"]["StudyInstanceUID"] == study]
    assert len(found_study["Series"]) == 3
    assert found_study["PatientMainDicomTags"]["PatientName"] == NAME
    assert found_study["PatientMainDicomTags"]["PatientID"] == "P-1"
    shown = pacs.ask(f"/dicom-web/studies/{study}/series")
    assert sorted(each["00080060"]["Value"][0] for each in shown) == ["CT", "SEG", "SR"]
    sr, seg = (pydicom.dcmread(io.BytesIO(back(pacs, str(reread(each).SOPInstanceUID)))) for each in objects[4:])
    for made in (sr, seg):
        assert (made.PatientName, made.StudyInstanceUID, made.AccessionNumber) == (NAME, study, "A-1")
        assert made.SpecificCharacterSet == "GB18030"
    read = hd.seg.Segmentation.from_dataset(seg)
    uids = [str(reread(each).SOPInstanceUID) for each in chinese]
    assert np.array_equal(read.get_pixels_by_source_instance(uids, combine_segments=True), mask)
    groups = hd.sr.ComprehensiveSR.from_dataset(sr).content.get_image_measurement_groups()
    assert [group.get_measurements()[0].value for group in groups] == [0.9312, 0.0688]
    [metadata] = pacs.ask(f"/dicom-web/studies/{study}/series/{sr.SeriesInstanceUID}/metadata")
    assert metadata["00100010"]["Value"][0]["Ideographic"] == "王^小东"


def test_a_repeat_is_taken_once(pacs, chinese):
    first = report(chinese[1], FINDING)
    later = report(chinese[1], found(unix=FINDING.unix + 3600))
    ends = [*send(destination(pacs), [first]), *send(destination(pacs), [later])]
    assert [each.outcome for each in ends] == [Outcome.STORED] * 2
    uid = ends[0].sop_instance
    assert uid == ends[1].sop_instance
    kept = pydicom.dcmread(io.BytesIO(back(pacs, uid)))
    assert (kept.ContentTime, first != later) == (reread(first).ContentTime, True)


def test_a_sender_that_the_pacs_does_not_know_is_told_so(pacs, chinese):
    for changes in ({"calling": "STRANGER"}, {"ae_title": "NOBODY"}):
        there = destination(pacs, **changes)
        [ended] = send(there, [report(chinese[0], FINDING)])
        assert ended.outcome is Outcome.LATER
        assert "AE title" in ended.said or "refused" in ended.said or "takes none" in ended.said
        with pytest.raises(Unreachable):
            echo(there)


def test_echo_tells_that_all_is_well(pacs):
    echo(destination(pacs))


def test_one_association_serves_many_sendings(pacs, chinese):
    with Sender(destination(pacs)) as sender:
        sender.send([report(chinese[2], FINDING)])
        kept = sender._association
        sender.send([report(chinese[3], FINDING)])
        assert sender._association is kept
        sender.echo()
        assert sender._association is not kept
        [ended] = sender.send([report(chinese[3], FINDING)])
        assert ended.outcome is Outcome.STORED
