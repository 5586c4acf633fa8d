from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pydicom
import pytest

from fedmed.dicom.reasons import Reason
from fedmed.errors import DataError, StoreError
from fedmed.privacy.keys import SiteKey
from fedmed.store.filling import export, import_files, pseudonyms_of
from fedmed.store.studies import deidentified, originals
from tests.dicom.deid.objects import small_ct, to_bytes

KEY = SiteKey(b"s" * 32)


@pytest.fixture
def scans(tmp_path) -> list[Path]:
    folder = tmp_path / "scans"
    folder.mkdir()
    for number in range(2):
        dataset = small_ct(PatientName="Doe^Jane", PatientID="4711", SOPInstanceUID=f"1.2.3.{number}")
        (folder / f"Jane_{number}.dcm").write_bytes(to_bytes(dataset))
    (folder / "screen.dcm").write_bytes(
        to_bytes(small_ct(PatientName="Doe^Jane", ConversionType="WSD", SOPInstanceUID="1.2.4"))
    )
    (folder / "notes.txt").write_text("Jane")
    (folder / "broken.dcm").write_bytes(bytes(128) + b"DICM" + b"Jane" * 40)
    return sorted(folder.iterdir())


def test_originals_and_copies_lie_in_two_stores(tmp_path, scans):
    outcomes = {one.path.name: one for one in import_files(scans, tmp_path / "store", KEY)}
    kept, copies = originals(tmp_path / "store", KEY), deidentified(tmp_path / "store", KEY)
    assert {name: one.status for name, one in outcomes.items()} == {
        "Jane_0.dcm": "written", "Jane_1.dcm": "written", "broken.dcm": "quarantined", "notes.txt": "not-dicom",
        "screen.dcm": "quarantined",
    }  # fmt: skip
    assert outcomes["screen.dcm"].reason is Reason.BURNED_IN_TEXT
    assert len(kept.addresses()) == 4
    assert len(copies.addresses()) == 2
    assert {kept.get(address) for address in kept.addresses()} == {
        path.read_bytes() for path in scans if path.suffix == ".dcm"
    }


def test_an_originals_facts_lead_to_its_copy_and_not_the_other_way(tmp_path, scans):
    list(import_files(scans, tmp_path / "store", KEY))
    kept, copies = originals(tmp_path / "store", KEY), deidentified(tmp_path / "store", KEY)
    facts = [kept.facts(address) for address in kept.addresses()]
    with_copy = [one for one in facts if "copy" in one]
    assert len(with_copy) == 2
    for one in with_copy:
        assert copies.facts(one["copy"])["instance"] == one["after"]["instance"]
        assert one["after"]["instance"] == pseudonyms_of(KEY).uid(one["before"]["instance"])
        assert "4711" not in str(copies.facts(one["copy"]))
        copy = pydicom.dcmread(BytesIO(copies.get(one["copy"])))
        assert copy.PatientIdentityRemoved == "YES"


def test_importing_twice_changes_nothing(tmp_path, scans):
    for _ in range(2):
        list(import_files(scans, tmp_path / "store", KEY))
    assert len(originals(tmp_path / "store", KEY).addresses()) == 4
    assert len(deidentified(tmp_path / "store", KEY).addresses()) == 2


def test_copies_are_exported_under_pseudonyms(tmp_path, scans):
    list(import_files(scans, tmp_path / "store", KEY))
    assert export(tmp_path / "store", KEY, tmp_path / "out") == 2
    found = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(found) == 2
    assert not [path for path in found if "Jane" in str(path.relative_to(tmp_path)) or b"Jane" in path.read_bytes()]
    with pytest.raises(DataError, match="not an empty folder"):
        export(tmp_path / "store", KEY, tmp_path / "out")
    with pytest.raises(StoreError, match="fedmed data import"):
        export(tmp_path / "none", KEY, tmp_path / "other")
