"""Comprehensive SR: what it states, whose it is, and that foreign readers take it."""

from __future__ import annotations

import io
import subprocess
import time

import highdicom as hd
import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.sr._concepts_dict import concepts

from fedmed.dicom.reasons import NoImage, Reason, Untrusted
from fedmed.dicom.results.origin import read_origin
from fedmed.dicom.results.report import report, report_on
from tests.dicom.results.samples import FINDING, found, group_texts, items, masked, reread, series, source

PASSED = {
    "PatientID": "P1",
    "PatientName": "Doe^Jane",
    "PatientBirthDate": "19700102",
    "PatientSex": "F",
    "StudyDate": "20260102",
    "StudyTime": "030405",
    "AccessionNumber": "A17",
    "StudyID": "S3",
    "ReferringPhysicianName": "Who^Dr",
    "StudyDescription": "Thorax",
    "StudyInstanceUID": "1.2",
}


def groups(content: bytes) -> list[dict]:
    return [group_texts(group) for group in items(reread(content), "Imaging Measurements", "Measurement Group")]


def test_it_is_the_same_patient_and_study_and_a_new_series_and_instance():
    made = reread(report(source(), FINDING))
    assert {keyword: str(made[keyword].value) for keyword in PASSED} == PASSED
    assert (made.Modality, made.SOPClassUID.name, made.InstanceNumber) == ("SR", "Comprehensive SR Storage", 12)
    assert made.SeriesInstanceUID != "1.2.1"
    assert made.SOPInstanceUID != "1.2.3"
    assert (made.CompletionFlag, made.VerificationFlag, made.PreliminaryFlag) == ("COMPLETE", "UNVERIFIED", "PRELIMINARY")
    assert (made.ManufacturerModelName, made.SoftwareVersions, made.DeviceSerialNumber) == ("chest", "1.2.0", "box-7")


def test_each_class_has_its_probability_and_says_which_model_found_it():
    first, second = groups(report(source(), FINDING))
    assert first["Finding"], second["Finding"] == (["Pneumonia"], ["clear"])
    assert first["Probability"], second["Probability"] == ([0.9312], [0.0688])
    for group in (first, second):
        assert group["Algorithm Name"], group["Algorithm Version"] == (["chest"], ["1.2.0"])
        assert group["Algorithm Parameters"] == [
            f"package digest: {'ab' * 32}",
            f"pipeline fingerprint: {'cd' * 32}",
            "precision: int8",
        ]
        assert group["Source of Measurement"] == ["1.2.3"]
        assert group["Intended use"] == ["Research use only, not for diagnosis"]
    assert first["Tracking Unique Identifier"] != second["Tracking Unique Identifier"]


def test_it_says_where_it_was_computed_where_that_was_not_the_device():
    [first, *_] = groups(report(source(), found(computed_on="box-9")))
    assert first["Algorithm Parameters"][-1] == "computed on: box-9"
    assert reread(report(source(), found(computed_on="box-9"))).DeviceSerialNumber == "box-7"


def test_it_says_not_for_diagnosis_only_where_the_release_does():
    research, diagnosis = (report(source(), found(is_research=flag)) for flag in (True, False))
    assert "not for diagnosis" in reread(research).SeriesDescription
    assert "diagnosis" not in reread(diagnosis).SeriesDescription
    assert not [group for group in groups(diagnosis) if "Intended use" in group]


def test_a_long_name_of_a_model_leaves_the_warning_standing():
    described = reread(report(source(), found(model="m" * 64))).SeriesDescription
    assert len(described) <= 64
    assert described.endswith("(research, not for diagnosis)")


def test_the_device_observes_and_the_images_are_listed():
    made = reread(report(source(), FINDING))
    assert [item.TextValue for item in items(made, "Device Observer Name")] == ["box-7"]
    [image] = items(made, "Image Library", "Image Library Group", "Source")
    assert image.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == "1.2.3"
    [study] = made.CurrentRequestedProcedureEvidenceSequence
    [of_series] = study.ReferencedSeriesSequence
    assert (study.StudyInstanceUID, of_series.SeriesInstanceUID) == ("1.2", "1.2.1")
    [evidence] = of_series.ReferencedSOPSequence
    assert evidence.ReferencedSOPClassUID == "1.2.840.10008.5.1.4.1.1.1"


def test_private_codes_are_declared_and_standard_ones_are_in_the_dictionary():
    made = reread(report(source(), FINDING))
    declared = {item.CodingSchemeDesignator for item in made.CodingSchemeIdentificationSequence}
    used = [each for each in made.iterall() if each.keyword == "CodingSchemeDesignator"]
    assert {each.value for each in used if each.value.startswith("99")} == {"99FEDMED"} == declared
    known = {scheme: {value for named in concepts[scheme].values() for value in named} for scheme in ("DCM", "SCT")}
    for item in coded(made):
        if item.CodingSchemeDesignator in known and item.CodeValue != "233604007":
            assert item.CodeValue in known[item.CodingSchemeDesignator], item.CodeMeaning


def coded(made):
    return [
        item
        for each in made.iterall()
        if each.VR == "SQ"
        for item in each.value
        if "CodeValue" in item and "CodingSchemeDesignator" in item
    ]


def test_a_repeat_after_a_crash_is_the_same_bytes():
    assert report(source(), FINDING) == report(source(), FINDING)
    later = reread(report(source(), found(unix=FINDING.unix + 60)))
    assert later.SOPInstanceUID == reread(report(source(), FINDING)).SOPInstanceUID


def test_the_moment_is_in_the_sources_time_zone(monkeypatch):
    made = reread(report(source(TimezoneOffsetFromUTC="+0800"), found(unix=1_800_000_000.0)))
    assert (made.ContentDate, made.ContentTime[:6], made.TimezoneOffsetFromUTC) == ("20270115", "160000", "+0800")
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        made = reread(report(source(), found(unix=1_800_000_000.0)))
    finally:
        monkeypatch.undo()
        time.tzset()
    assert (made.ContentDate, made.ContentTime[:6]) == ("20270115", "030000")


def test_a_series_without_findings_is_told_as_absent():
    sources = series()
    made = report_on([read_origin(each) for each in sources], masked(np.zeros((4, 12, 10), np.uint8)))
    assert [group["Presence of property"] for group in groups(made)] == [["Absent"], ["Absent"]]
    assert len(groups(made)[0]["Source of Measurement"]) == 4


CHINESE = {
    "GB18030": "Wang^XiaoDong=王^小东",
    "GBK": "Wang^XiaoDong=王^小东",
    "ISO_IR 192": "Wang^XiaoDong=王^小东",
    "ISO_IR 100": "Müller^Jörg",
    "ISO_IR 144": "Люкceмбypг",
}


@pytest.mark.parametrize("declared", CHINESE)
def test_names_keep_their_characters_byte_for_byte(declared):
    content = source(SpecificCharacterSet=declared, PatientName=CHINESE[declared])
    before, after = reread(content), reread(report(content, FINDING))
    assert after.SpecificCharacterSet == before.SpecificCharacterSet
    assert after.PatientName == CHINESE[declared]
    assert after.PatientName.original_string == before.PatientName.original_string


def test_chinese_with_escape_sequences_stays_as_it_is_or_becomes_utf_8():
    """The example of PS3.5 annex K.2."""
    name, study = b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab", b"\x1b$)A\xd0\xa1"
    content = source(SpecificCharacterSet=["", "ISO 2022 IR 58"], PatientName="N" * len(name), StudyDescription="DDDDDD")
    content = content.replace(b"N" * len(name), name).replace(b"DDDDDD", study)
    made = report(content, FINDING)
    assert name in made
    assert study in made
    assert list(reread(made).SpecificCharacterSet) == ["", "ISO 2022 IR 58"]
    rewritten = reread(report(content, found(classes=("Entzündung", "clear"), concepts={})))
    assert (rewritten.SpecificCharacterSet, str(rewritten.PatientName)) == ("ISO_IR 192", "Zhang^XiaoDong=张^小东")
    assert rewritten.StudyDescription == "小"


def test_a_japanese_name_keeps_its_escape_sequences():
    name = "Yamada^Tarou=山田^太郎=やまだ^たろう"
    content = source(SpecificCharacterSet=["", "ISO 2022 IR 87"], PatientName=name)
    made = reread(report(content, FINDING))
    assert (list(made.SpecificCharacterSet), str(made.PatientName)) == (["", "ISO 2022 IR 87"], name)
    assert made.PatientName.original_string == reread(content).PatientName.original_string


@pytest.mark.parametrize(
    ("declared", "expected"),
    [("GB18030", "GB18030"), ("ISO_IR 192", "ISO_IR 192"), ("ISO_IR 100", "ISO_IR 192"), (None, "ISO_IR 192")],
)
def test_names_of_classes_beyond_the_sources_set_make_it_utf_8(declared, expected):
    name = "Müller^Jörg" if declared == "ISO_IR 100" else "Doe^Jane"
    content = source(PatientName=name, **({"SpecificCharacterSet": declared} if declared else {}))
    made = reread(report(content, found(classes=("肺炎", "clear"), concepts={})))
    assert made.SpecificCharacterSet == expected
    assert made.PatientName == name
    [group, _] = items(made, "Imaging Measurements", "Measurement Group")
    assert group_texts(group)["Finding"] == ["肺炎"]


def undeclared() -> bytes:
    """As many boxes write it: a name in GBK, and no Specific Character Set."""
    return source(PatientName="NAME^X").replace(b"NAME^X", "王^".encode("gbk") + b"abc")


def test_a_name_in_an_undeclared_set_is_passed_on_as_it_stands():
    assert "王^".encode("gbk") + b"abc" in report(undeclared(), FINDING)
    with pytest.raises(Untrusted) as refused:
        report(undeclared(), found(classes=("肺炎", "clear"), concepts={}))
    assert refused.value.reason is Reason.BAD_TEXT


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_any_probability_is_read_back(probabilities):
    classes = tuple(f"class {number}" for number in range(len(probabilities)))
    made = reread(report(source(), found(classes=classes, probabilities=tuple(probabilities), concepts={})))
    read = [
        item.MeasuredValueSequence[0]
        for group in items(made, "Imaging Measurements", "Measurement Group")
        for item in group.ContentSequence
        if item.ValueType == "NUM"
    ]
    assert [each.FloatingPointValue for each in read] == probabilities
    assert [float(each.NumericValue) for each in read] == pytest.approx(probabilities, rel=1e-9, abs=1e-9)
    assert all(len(str(each.NumericValue)) <= 16 for each in read)


def test_highdicom_reads_it_back():
    read = hd.sr.srread(io.BytesIO(report(source(), FINDING)))
    read_groups = read.content.get_image_measurement_groups()
    assert [group.finding_type.meaning for group in read_groups] == ["Pneumonia", "clear"]
    assert [group.get_measurements()[0].value for group in read_groups] == [0.9312, 0.0688]


def test_dcmtk_reads_all_of_it(tmp_path):
    (tmp_path / "sr.dcm").write_bytes(report(source(), FINDING))
    shown = subprocess.run(["dsrdump", "+Pl", tmp_path / "sr.dcm"], capture_output=True, text=True, check=True)
    assert not shown.stderr
    for part in ("Doe^Jane", "Pneumonia", '"0.9312"', f"package digest: {'ab' * 32}", "UNVERIFIED", "not for diagnosis"):
        assert part in shown.stdout


def test_the_zoo_gives_reports_or_reasons(shared_data):
    ended: dict[str, int] = {}
    for path in sorted((shared_data / "dicom_zoo").glob("*/*"))[::2]:
        if not path.is_file() or path.stat().st_size > 300_000:
            continue
        try:
            content = report(path.read_bytes(), FINDING)
        except (Untrusted, NoImage) as error:
            key = error.reason.value if isinstance(error, Untrusted) else error.status.value
        else:
            assert reread(content).PatientID == (reread_header(path).get("PatientID") or "")
            key = "reported"
        ended[key] = ended.get(key, 0) + 1
    assert ended.pop("reported") > 30
    assert set(ended) <= {"unreadable", "no-patient", "bad-attribute", "not-dicom"}


def reread_header(path):
    return pydicom.dcmread(path, stop_before_pixels=True)


def test_a_report_in_place_of_another_names_it_as_its_predecessor():
    made = reread(report(source(), found(replaces=("1.2.840.10008.5.1.4.1.1.88.33", "1.9", "1.9.1"))))
    [study] = made.PredecessorDocumentsSequence
    [series] = study.ReferencedSeriesSequence
    assert (study.StudyInstanceUID, series.SeriesInstanceUID) == ("1.2", "1.9")
    assert series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == "1.9.1"
    assert "PredecessorDocumentsSequence" not in reread(report(source(), FINDING))
    mask = ("1.2.840.10008.5.1.4.1.1.66.4", "1.9", "1.9.1")  # no document
    assert "PredecessorDocumentsSequence" not in reread(report(source(), found(replaces=mask)))
