from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.dicom.deid.objects import small_ct, to_bytes


@pytest.fixture
def scans(tmp_path) -> Path:
    folder = tmp_path / "scans"
    folder.mkdir()
    for number in range(3):
        dataset = small_ct(PatientName="Doe^Jane", AccessionNumber="A-99", SOPInstanceUID=f"1.2.3.{number}")
        (folder / f"{number}.dcm").write_bytes(to_bytes(dataset))
    (folder / "screen.dcm").write_bytes(to_bytes(small_ct(ConversionType="WSD", SOPInstanceUID="1.2.4")))
    (folder / "notes.md").write_text("none of it is DICOM")
    (tmp_path / "labels.csv").write_text("accession,label\nA-99,1\nB-1,0\n")
    return folder


def test_what_is_imported_and_exported_is_said_as_json(said, scans, tmp_path):
    place = ("--store", tmp_path / "store", "--key", tmp_path / "site.key", "--json")
    said("data", "key", tmp_path / "site.key")
    code, out, heard = said("data", "import", scans, "--labels", tmp_path / "labels.csv", *place)
    assert code == 0, heard
    told = json.loads(out)
    [aside] = told.pop("quarantined")
    assert told == {"written": 3, "not_dicom": 1, "labels": {"rows": 1, "unmatched": 1}}
    assert (Path(aside["path"]).name, aside["reason"]) == ("screen.dcm", "burned-in-text")
    assert "import: 5 of 5 files" in heard
    code, out, heard = said("data", "export", tmp_path / "out", *place)
    assert (code, json.loads(out), heard) == (0, {"written": 4, "out": str(tmp_path / "out")}, "export: 4 files\n")
    assert len([path for path in (tmp_path / "out").rglob("*") if path.is_file()]) == 4


def test_without_labels_none_are_told(said, scans, tmp_path):
    said("data", "key", tmp_path / "site.key")
    place = ("--store", tmp_path / "store", "--key", tmp_path / "site.key")
    assert "labels" not in json.loads(said("data", "import", scans, *place, "--json")[1])
    assert said("data", "export", tmp_path / "out", *place)[1] == f"3 files written to {tmp_path / 'out'}\n"


def test_an_error_leaves_standard_output_empty(said, scans, tmp_path):
    said("data", "key", tmp_path / "site.key")
    place = ("--store", tmp_path / "store", "--key", tmp_path / "site.key", "--json")
    code, out, heard = said("data", "export", tmp_path / "out", *place)
    assert (code, out, "holds no de-identified copies" in heard) == (5, "", True)
