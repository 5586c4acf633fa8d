from __future__ import annotations

import warnings
from pathlib import Path

import pydicom
import pytest

from fedmed.dicom.deid.folder import Job, deidentify_files, files_of, read, refuse_places
from fedmed.dicom.limits import Limits
from fedmed.dicom.reasons import Reason, Untrusted
from fedmed.errors import DataError
from tests.dicom.deid.objects import KEYS, small_ct, to_bytes


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    folder = tmp_path / "Doe^Jane 4711"
    (folder / "deep").mkdir(parents=True)
    for number in range(3):
        dataset = small_ct(
            PatientName="Doe^Jane", PatientID="Jane4711", SOPInstanceUID=f"1.2.3.{number}", StudyDate="20210304"
        )
        (folder / "deep" / f"Jane_{number}.dcm").write_bytes(to_bytes(dataset))
    (folder / "deep" / "again.dcm").write_bytes((folder / "deep" / "Jane_1.dcm").read_bytes())
    (folder / "broken").write_bytes(bytes(128) + b"DICM" + b"Jane" * 40)
    (folder / "readme.md").write_text("Jane")
    (folder / "letter.txt").write_text("Jane")
    (folder / "link.dcm").symlink_to(folder / "deep" / "Jane_1.dcm")
    return folder


def run(scans: Path, out: Path) -> dict[str, tuple[str, Reason | None]]:
    outcomes = deidentify_files(files_of(scans), Job(out, KEYS, verify=True, people=True))
    return {one.path.name: (one.status, one.reason) for one in outcomes}


def content(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def test_each_file_is_decided_for_itself(scans, tmp_path):
    assert run(scans, tmp_path / "out") == {
        "Jane_0.dcm": ("written", None),
        "Jane_1.dcm": ("written", None),
        "Jane_2.dcm": ("written", None),
        "again.dcm": ("quarantined", Reason.DUPLICATE_INSTANCE),
        "broken": ("quarantined", Reason.NO_TRANSFER_SYNTAX),
        "readme.md": ("not-dicom", None),
        "letter.txt": ("text", None),
    }


def test_no_name_of_a_file_or_folder_leaves(scans, tmp_path):
    run(scans, tmp_path / "out")
    found = content(tmp_path / "out")
    assert len(found) == 3
    for place, data in found.items():
        patient, study, series, instance = Path(place).parts
        copy = pydicom.dcmread(pydicom.filebase.DicomBytesIO(data))
        assert (patient, study, series, instance) == (
            copy.PatientID, copy.StudyInstanceUID, copy.SeriesInstanceUID, f"{copy.SOPInstanceUID}.dcm",
        )  # fmt: skip
        assert "Jane" not in place
        assert b"Jane" not in data


def test_two_runs_give_the_same_bytes(scans, tmp_path):
    run(scans, tmp_path / "one")
    run(scans, tmp_path / "two")
    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_an_outcome_knows_both_names_and_who_was_named(scans, tmp_path):
    [one] = deidentify_files([scans / "deep" / "Jane_0.dcm"], Job(tmp_path / "out", KEYS, people=True))
    assert one.identity.before["patient"] == "Jane4711"
    assert one.identity.after["patient"] == KEYS.identifier("patient", "Jane4711")
    assert one.identity.after["instance"] == KEYS.uid("1.2.3.0")
    assert "Doe^Jane" in one.people.names
    assert one.check is None


def test_what_is_too_large_is_not_opened(scans):
    with pytest.raises(Untrusted) as caught:
        read(scans / "deep" / "Jane_0.dcm", Limits(file_bytes=1000))
    assert caught.value.reason is Reason.TOO_LARGE
    with pytest.raises(DataError, match="part by part"):
        files_of(scans, Limits(files=2))


def test_a_full_disk_is_an_error_not_a_half_file(scans, small_disk):
    paths = [scans / "deep" / "Jane_0.dcm"]
    (small_disk / "fill").write_bytes(bytes(990_000))
    small_disk.joinpath("out").mkdir()
    big = small_ct(NumberOfFrames=40)
    big.PixelData = big.PixelData * 40
    (scans / "big.dcm").write_bytes(to_bytes(big))
    with pytest.raises(DataError, match="cannot be written"):
        list(deidentify_files([scans / "big.dcm", *paths], Job(small_disk / "out", KEYS)))
    assert not [path for path in (small_disk / "out").rglob("*") if path.is_file()]


def test_places_that_mix_originals_and_copies_are_refused(scans, tmp_path):
    for out in (scans, scans / "out", scans / ".." / scans.name / "x", tmp_path):
        with pytest.raises(DataError, match="keep originals and copies apart"):
            refuse_places(scans, out)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "old.dcm").write_bytes(b"x")
    with pytest.raises(DataError, match="not an empty folder"):
        refuse_places(scans, tmp_path / "full")
    with pytest.raises(DataError, match="no folder"):
        refuse_places(tmp_path / "none", tmp_path / "out")
    refuse_places(scans, tmp_path / "out")


def test_real_series_leave_nothing_and_lose_nothing(shared_data, tmp_path):
    for name in ("acrin_chest_petct_49", "philips_phantom_tilt_54"):
        paths = files_of(shared_data / "ct" / name)[:12]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            outcomes = list(deidentify_files(paths, Job(tmp_path / name, KEYS, verify=True)))
        written = [one for one in outcomes if one.check]
        assert len(written) >= 11
        assert not [one.check.leaks for one in written if one.check.leaks]
        assert not [one.check.gone for one in written if one.check.gone]
        assert not [one.check.changed for one in written if one.check.changed]
        assert all(one.check.searched > 10 for one in written)
        assert not [one.findings.lost for one in written if one.findings.lost]


def test_the_zoo_leaves_nothing(shared_data, tmp_path):
    paths = [path for path in files_of(shared_data / "dicom_zoo") if path.stat().st_size < 600_000]
    outcomes = list(deidentify_files(paths, Job(tmp_path / "out", KEYS, verify=True)))
    checked = [one.check for one in outcomes if one.check]
    assert len(checked) > 40
    assert not [check.leaks for check in checked if check.leaks]
    assert not [check.changed for check in checked if check.changed]
    # Phantoms' makers are called as their clinics are; two values are malformed.
    gone = {name for check in checked for name in check.gone}
    assert gone <= {"Manufacturer", "ManufacturerModelName", "NumberOfFrames", "PixelPaddingValue", "ConceptCodeSequence"}
