from __future__ import annotations

import subprocess
import sys
import warnings
from collections import Counter
from hashlib import sha256
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from fedmed.dicom.deid.actions import Policy
from fedmed.dicom.deid.engine import deidentify
from fedmed.dicom.limits import Limits
from fedmed.dicom.reasons import Reason, Untrusted
from tests.dicom.deid.objects import KEYS, OTHER_KEYS, item, nested, put, reread, small_ct, to_bytes

SEG = "pydicom-data/liver.dcm"


def refused(dataset: Dataset, reason: Reason, **options: object) -> str:
    with pytest.raises(Untrusted) as caught:
        deidentify(dataset, KEYS, **options)
    assert caught.value.reason is reason
    return caught.value.detail


def test_identifiers_get_pseudonyms_and_the_rest_of_the_patient_goes():
    dataset = small_ct(PatientName="Doe^Jane", PatientID="4711", AccessionNumber="A-99", StudyID="S1")
    dataset.PatientBirthDate = "19500101"
    out, findings = deidentify(dataset, KEYS)
    assert out.PatientID == KEYS.identifier("patient", "4711")
    assert out.PatientName == out.PatientID
    assert out.AccessionNumber == KEYS.identifier("accession", "A-99")
    assert out.StudyID == KEYS.identifier("study", "S1")
    assert not out.PatientBirthDate
    assert not out.PatientSex
    for keyword in ("PatientAge", "PatientWeight", "OtherPatientIDs", "AdditionalPatientHistory"):
        assert keyword not in out
    assert findings.pixels == "untouched"


def test_uids_are_mapped_but_for_those_of_the_standard():
    dataset = small_ct()
    dataset.ReferencedImageSequence = Sequence(
        [item(ReferencedSOPClassUID="1.2.840.10008.5.1.4.1.1.2", ReferencedSOPInstanceUID=dataset.SOPInstanceUID)]
    )
    out, _ = deidentify(dataset, KEYS)
    for keyword in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        assert out[keyword].value == KEYS.uid(dataset[keyword].value)
    assert out.SOPClassUID == dataset.SOPClassUID
    [reference] = out.ReferencedImageSequence
    assert reference.ReferencedSOPClassUID == "1.2.840.10008.5.1.4.1.1.2"
    assert reference.ReferencedSOPInstanceUID == out.SOPInstanceUID
    assert out.file_meta.MediaStorageSOPInstanceUID == out.SOPInstanceUID


def test_dates_of_a_patient_move_together_and_times_stay():
    dataset = small_ct(PatientID="4711", StudyDate="20210304", StudyTime="101112", AcquisitionDate="20210305")
    later = small_ct(PatientID="4711", StudyDate="20210404", AcquisitionDateTime="20210404101112.5+0100")
    first, second = deidentify(dataset, KEYS)[0], deidentify(later, KEYS)[0]
    assert first.StudyDate != "20210304"
    assert first.StudyTime == "101112"
    moved = [one.StudyDate for one in (first, second)]
    assert (pydicom.valuerep.DA(moved[1]) - pydicom.valuerep.DA(moved[0])).days == 31
    assert second.AcquisitionDateTime == f"{moved[1]}101112.5+0100"
    assert second.LongitudinalTemporalInformationModified == "MODIFIED"


def test_malformed_dates_go_and_the_object_stays_valid():
    dataset = small_ct()
    for tag in (0x00080020, 0x00080022, 0x00080021, 0x00321040):
        put(dataset, tag, "DA", "JANE DOE")
    out, _ = deidentify(dataset, KEYS)
    assert out.StudyDate == out.AcquisitionDate == "" or not (out.StudyDate or out.AcquisitionDate)
    assert out.SeriesDate == "19000101"
    assert "StudyArrivalDate" not in out


def test_the_object_says_what_was_done():
    out, findings = deidentify(small_ct(), KEYS)
    assert out.PatientIdentityRemoved == "YES"
    assert "2026c" in out.DeidentificationMethod
    codes = [one.CodeValue for one in out.DeidentificationMethodCodeSequence]
    assert codes == list(findings.options) == ["113100", "113105", "113107", "113109"]
    assert {one.CodingSchemeDesignator for one in out.DeidentificationMethodCodeSequence} == {"DCM"}


def test_without_options_the_basic_profile_speaks():
    dataset = small_ct(StudyDate="20210304", SeriesDescription="Abdomen", DeviceSerialNumber="SN1", StationName="CT1")
    out, findings = deidentify(dataset, KEYS, Policy(modified_dates=False, device=False, descriptors=False))
    assert findings.options == ("113100",)
    assert not out.StudyDate
    assert "SeriesDescription" not in out
    assert out.DeviceSerialNumber == out.StationName == "REMOVED"
    assert out.LongitudinalTemporalInformationModified == "REMOVED"


def test_descriptions_stay_less_who_they_name():
    dataset = small_ct(
        PatientName="Doe^Jane",
        SeriesDescription="T2 FLAIR sag Jane DOE",
        StudyDescription="CT abdomen 12/03/2021 Zyxwv^Q MRN 998877",
    )
    out, _ = deidentify(dataset, KEYS)
    assert out.SeriesDescription == "T2 FLAIR sag"
    assert out.StudyDescription == "CT abdomen MRN"


def test_the_original_is_left_as_it_was():
    dataset = small_ct()
    before = to_bytes(dataset)
    deidentify(dataset, KEYS)
    assert to_bytes(dataset) == before


def test_another_key_gives_nothing_that_links():
    dataset = small_ct(PatientID="4711")
    one, other = deidentify(dataset, KEYS)[0], deidentify(dataset, OTHER_KEYS)[0]
    for keyword in ("PatientID", "StudyInstanceUID", "SOPInstanceUID", "StudyDate", "FrameOfReferenceUID"):
        assert one[keyword].value != other[keyword].value


CODE = """
import sys
from pathlib import Path
from hashlib import sha256
from tests.dicom.deid.objects import KEYS, to_bytes, small_ct
from fedmed.dicom.deid.engine import deidentify
print(sha256(to_bytes(deidentify(small_ct(PatientName="Doe^Jane"), KEYS)[0])).hexdigest())
"""


def test_two_processes_give_the_same_bytes():
    ours = sha256(to_bytes(deidentify(small_ct(PatientName="Doe^Jane"), KEYS)[0])).hexdigest()
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", CODE],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
            env={"PYTHONPATH": ":".join(sys.path), "PYTHONHASHSEED": seed},
        )
        assert done.stdout.strip() == ours


def test_a_second_pass_takes_nothing_more():
    once, first = deidentify(small_ct(), KEYS)
    twice, second = deidentify(reread(once), KEYS)
    assert {int(one.tag) for one in twice} == {int(one.tag) for one in once}
    assert second.done["removed"] == second.done["private"] == 0
    assert first.done["private"] > 0
    assert once.PixelData == twice.PixelData


def test_what_only_the_meta_information_names_is_taken_from_it():
    dataset = small_ct()
    uid = str(dataset.SOPInstanceUID)
    del dataset.SOPInstanceUID, dataset.SOPClassUID
    out, _ = deidentify(dataset, KEYS)
    assert out.SOPInstanceUID == KEYS.uid(uid)
    assert "SOPInstanceUID" not in dataset


def test_what_cannot_be_made_safe_is_refused():
    document = small_ct(EncapsulatedDocument=b"%PDF Jane Doe")
    refused(document, Reason.DOCUMENT)
    refused(small_ct(DirectoryRecordSequence=Sequence([])), Reason.MEDIA_DIRECTORY)
    nameless = small_ct()
    del nameless.SOPInstanceUID, nameless.file_meta.MediaStorageSOPInstanceUID
    refused(nameless, Reason.BAD_ATTRIBUTE)
    for syntax, reason in (("", Reason.NO_TRANSFER_SYNTAX), ("1.2.3", Reason.UNKNOWN_TRANSFER_SYNTAX)):
        dataset = small_ct()
        dataset.file_meta.TransferSyntaxUID = syntax
        refused(dataset, reason)


def test_the_limits_hold():
    deep = item(CodeValue="x")
    for _ in range(6):
        deep = item(RequestAttributesSequence=nested(deep))
    refused(small_ct(RequestAttributesSequence=nested(deep)), Reason.TOO_LARGE, limits=Limits(depth=8))
    refused(small_ct(), Reason.TOO_LARGE, limits=Limits(elements=50))


def test_no_refusal_names_anybody():
    dataset = small_ct(PatientName="Doe^Jane", PatientID="Jane4711", BurnedInAnnotation="YES")
    assert "ane" not in refused(dataset, Reason.BURNED_IN_TEXT)


@pytest.mark.parametrize("file", ["MR_small.dcm", "MR_small_bigendian.dcm", "rtplan.dcm", "image_dfl.dcm"])
def test_other_encodings_stay_what_they_are(file):
    dataset = pydicom.dcmread(str(get_testdata_file(file, download=False)))
    dataset.BurnedInAnnotation = "NO"
    out = reread(deidentify(dataset, KEYS)[0])
    assert out.file_meta.TransferSyntaxUID == dataset.file_meta.TransferSyntaxUID
    assert out.get("PixelData") == dataset.get("PixelData")
    assert out.get("Rows") == dataset.get("Rows")
    assert len(list(out.iterall())) > 40


@pytest.mark.parametrize("charset", ["ISO_IR 192", "GB18030", "ISO 2022 IR 87"])
def test_names_in_any_character_set_go(charset):
    name = "やまだ^たろう" if "87" in charset else "王^小东"
    charsets = ["", charset] if "87" in charset else charset
    dataset = small_ct(SpecificCharacterSet=charsets, PatientName=name, Manufacturer="Neusoft")
    dataset.SeriesDescription = f"CT {name.split('^')[1]} thorax"
    out = to_bytes(deidentify(reread(dataset), KEYS)[0])
    for part in name.split("^"):
        for encoding in ("utf-8", "gb18030", "iso2022_jp"):
            if len(part) > 1:
                assert part.encode(encoding, "ignore").strip(b"\x1b$B(") not in out or not part.encode(encoding, "ignore")
    again = pydicom.dcmread(pydicom.filebase.DicomBytesIO(out))
    assert again.SeriesDescription == "CT thorax"
    assert again.Manufacturer == "Neusoft"


def test_an_element_that_cannot_be_parsed_neither_survives_nor_hurts():
    dataset = small_ct()
    for tag, vr, data in (
        (0x00180050, "DS", b"JANE DOE"),
        (0x00181151, "IS", b"JANE DOE"),
        (0x00180089, "IS", b"1\\JANE"),
        (0x00189305, "FD", b"JANED"),
        (0x00280301, "CS", b"NO^JANE "),
        (0x00280008, "US", b"JANEDOE."),
        (0x00280120, None, b"US..JANE DOE"),
        (0x00120023, "ZZ", b"JANE"),
    ):
        dataset[tag] = pydicom.dataelem.RawDataElement(pydicom.tag.Tag(tag), vr, len(data), data, 0, False, True)
    out, findings = deidentify(dataset, KEYS)
    assert b"JANE" not in to_bytes(out)
    assert findings.done["malformed"] >= 5


def test_a_real_private_element_that_raises_when_it_is_read(shared_data: Path):
    path = sorted((shared_data / "ct" / "philips_phantom_5mm_28").iterdir())[3]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(path)
    out, findings = deidentify(dataset, KEYS)
    assert findings.done["private"] > 20
    assert len(to_bytes(out)) < path.stat().st_size
    assert out.PixelData == dataset.PixelData


def test_the_content_of_reports_is_replaced_or_cleaned():
    tree = Sequence(
        [
            item(RelationshipType="CONTAINS", ValueType="TEXT", TextValue="Dr. Jane Roe saw a nodule on 2021-03-04"),
            item(RelationshipType="CONTAINS", ValueType="PNAME", PersonName="Roe^Jane"),
            item(RelationshipType="CONTAINS", ValueType="DATE", Date="20210304"),
            item(RelationshipType="CONTAINS", ValueType="UIDREF", UID="1.2.3.4"),
            item(RelationshipType="CONTAINS", ValueType="NUM", MeasuredValueSequence=Sequence([item(NumericValue="12.5")])),
        ]
    )
    dataset = small_ct(Modality="SR", ContentSequence=tree, StudyDate="20210304", ImageType=["DERIVED", "PRIMARY"])
    replaced, _ = deidentify(dataset, KEYS)
    assert [one.TextValue for one in replaced.ContentSequence] == ["Removed by de-identification"]
    cleaned, findings = deidentify(dataset, KEYS, Policy(structured_content=True))
    text, person, day, uid, number = cleaned.ContentSequence
    assert text.TextValue == "Dr. saw a nodule on"
    assert str(person.PersonName) == "REMOVED"
    assert day.Date == cleaned.StudyDate != "20210304"
    assert KEYS.uid("1.2.3.4") == uid.UID
    assert number.MeasuredValueSequence[0].NumericValue == 12.5
    assert "113104" in findings.options


def test_a_real_segmentation_still_points_to_its_images(shared_data: Path):
    seg = pydicom.dcmread(shared_data / "dicom_zoo" / SEG)
    [series] = seg.ReferencedSeriesSequence
    references = [one.ReferencedSOPInstanceUID for one in series.ReferencedInstanceSequence]
    slices = [small_ct(SOPInstanceUID=uid, SeriesInstanceUID=series.SeriesInstanceUID) for uid in references]
    for one in slices:
        for keyword in ("StudyInstanceUID", "PatientID", "FrameOfReferenceUID"):
            one[keyword] = seg[keyword]
    out, _ = deidentify(seg, KEYS)
    images = [deidentify(one, KEYS)[0] for one in slices]
    assert len(images) == 3
    assert [one.ReferencedSOPInstanceUID for one in out.ReferencedSeriesSequence[0].ReferencedInstanceSequence] == [
        one.SOPInstanceUID for one in images
    ]
    assert {one.SeriesInstanceUID for one in images} == {out.ReferencedSeriesSequence[0].SeriesInstanceUID}
    for keyword in ("StudyInstanceUID", "PatientID", "FrameOfReferenceUID"):
        assert {one[keyword].value for one in images} == {out[keyword].value}
    derivations = {
        source.ReferencedSOPInstanceUID
        for frame in out.PerFrameFunctionalGroupsSequence
        for source in frame.DerivationImageSequence[0].SourceImageSequence
    }
    assert derivations <= {one.SOPInstanceUID for one in images}
    assert (out.pixel_array == seg.pixel_array).all()
    assert out.SegmentSequence[0].SegmentLabel == seg.SegmentSequence[0].SegmentLabel


def test_the_whole_zoo_goes_through(shared_data: Path):
    found = Counter[str]()
    for path in sorted((shared_data / "dicom_zoo").rglob("*")):
        if not path.is_file():
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                dataset = pydicom.dcmread(path)
        except (pydicom.errors.InvalidDicomError, OSError):
            found["unread"] += 1
            continue
        try:
            out, findings = deidentify(dataset, KEYS)
        except Untrusted as error:
            found[error.reason.value] += 1
            continue
        found[findings.pixels] += 1
        again = reread(out)
        assert again.PatientIdentityRemoved == "YES"
        assert not [element.tag for element in again.iterall() if element.tag.is_private]
    assert found["untouched"] + found["none"] + found["regions"] > 85
    assert found["burned-in-text"] > 40
