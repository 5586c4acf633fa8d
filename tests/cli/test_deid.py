from __future__ import annotations

import base64
import csv
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pydicom
import pytest

from tests.cli.spoken import spoken
from tests.dicom.deid.objects import small_ct, to_bytes

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
Said = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path, monkeypatch) -> Said:
    """The command, with its own home."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("FEDMED_KEY", raising=False)
    return partial(spoken, "data")


@pytest.fixture
def scans(tmp_path) -> Path:
    folder = tmp_path / "scans"
    folder.mkdir()
    for number in range(3):
        dataset = small_ct(
            PatientName="Doe^Jane", PatientID="4711", AccessionNumber="A-99", SOPInstanceUID=f"1.2.3.{number}"
        )
        (folder / f"Jane_{number}.dcm").write_bytes(to_bytes(dataset))
    (folder / "screen.dcm").write_bytes(to_bytes(small_ct(ConversionType="WSD", SOPInstanceUID="1.2.4")))
    (folder / "A-99.txt").write_text("Jane Doe, MRN 0012345, has a nodule of 5 mm")
    (tmp_path / "labels.csv").write_text("accession,label,comment,mask\nA-99,1,Jane is well,Jane.png\nB-1,0,,\n")
    (tmp_path / "Jane.png").write_bytes(base64.b64decode(PIXEL))
    return folder


def test_a_folder_is_deidentified_verified_and_told(run, scans, tmp_path):
    assert run("key", tmp_path / "site.key")[0] == 0
    out = tmp_path / "out"
    code, said, heard = run(
        "deid", scans, out, "--key", tmp_path / "site.key", "--verify", "--json", "--labels", tmp_path / "labels.csv",
        "--report", tmp_path / "report.json",
    )  # fmt: skip
    assert code == 0, heard
    facts = json.loads(said)
    assert facts == json.loads((tmp_path / "report.json").read_text())
    assert facts["written"] == 3
    [aside] = facts["quarantined"]
    assert (Path(aside["path"]).name, aside["reason"]) == ("screen.dcm", "burned-in-text")
    assert facts["verify"]["left"] == facts["verify"]["gone"] == facts["verify"]["changed"] == {}
    assert facts["verify"]["searched"] > 30
    assert "5 of 5 files" in heard
    copies = [pydicom.dcmread(path) for path in sorted(out.rglob("*.dcm"))]
    assert len(copies) == 3
    [report] = (out / "reports").iterdir()
    assert report.stem == copies[0].AccessionNumber
    assert "Jane" not in report.read_text()
    [mask] = (out / "masks").iterdir()
    assert "Jane" not in mask.name
    with (out / "labels.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["accession", "label", "comment", "mask"],
            [copies[0].AccessionNumber, "1", "[name] is well", f"masks/{mask.name}"],
        ]
    assert facts["labels"] == {"rows": 1, "unmatched": 1}


def test_two_processes_give_the_same_copies(run, scans, tmp_path):
    run("key", tmp_path / "site.key")
    for out in ("one", "two"):
        assert run("deid", scans, tmp_path / out, "--key", tmp_path / "site.key")[0] == 0
    found = [
        {str(path.relative_to(tmp_path / out)): path.read_bytes() for path in (tmp_path / out).rglob("*") if path.is_file()}
        for out in ("one", "two")
    ]
    assert found[0] == found[1]
    assert len(found[0]) == 4


def test_the_first_run_makes_a_key_that_later_ones_use(run, scans, tmp_path):
    code, said, heard = run("deid", scans, tmp_path / "one")
    assert code == 0
    assert "made a new key" in heard
    assert "3 objects de-identified, 1 set aside" in said
    assert "burned-in-text" in said
    assert "made a new key" not in run("deid", scans, tmp_path / "two")[2]
    assert [path.name for path in (tmp_path / "one").iterdir()] == [path.name for path in (tmp_path / "two").iterdir()]
    assert (tmp_path / "home" / ".config" / "fedmed" / "site.key").stat().st_mode & 0o777 == 0o600


def test_what_would_mix_originals_and_copies_is_refused(run, scans, tmp_path):
    code, _, heard = run("deid", scans, scans / "out")
    assert (code, "keep originals and copies apart" in heard) == (3, True)
    code, _, heard = run("deid", scans, tmp_path / "out", "--report", tmp_path / "out" / "report.json")
    assert (code, "write it elsewhere" in heard) == (3, True)
    assert not (tmp_path / "out").exists()


def test_a_key_that_is_not_there_or_not_private_is_refused(run, scans, tmp_path):
    code, _, heard = run("deid", scans, tmp_path / "out", "--key", tmp_path / "none.key")
    assert (code, "fedmed data key" in heard) == (5, True)
    run("key", tmp_path / "site.key")
    (tmp_path / "site.key").chmod(0o644)
    code, _, heard = run("deid", scans, tmp_path / "out", "--key", tmp_path / "site.key")
    assert (code, "chmod 600" in heard) == (5, True)


def test_what_is_left_is_an_error(scans, tmp_path, monkeypatch, capsys):
    from fedmed.cli import deid
    from fedmed.dicom.deid import folder
    from fedmed.privacy import keys

    keys.create(tmp_path / "site.key")
    spoilt = folder.encoded

    def leaking(dataset: pydicom.Dataset) -> bytes:
        dataset.ProtocolName = "for DOE"
        return spoilt(dataset)

    monkeypatch.setattr(folder, "encoded", leaking)
    options = deid.Options(scans, tmp_path / "out", tmp_path / "site.key", verify=True)
    with pytest.raises(deid.SomethingLeft, match="3 copies"):
        deid.run(options)
    assert "header: name or identifier" in capsys.readouterr().out


def test_stores_are_filled_and_emptied(run, scans, tmp_path):
    run("key", tmp_path / "site.key")
    labels = ("--labels", tmp_path / "labels.csv")
    code, said, heard = run("import", scans, "--store", tmp_path / "store", "--key", tmp_path / "site.key", *labels)
    assert code == 0, heard
    assert "labels: 1 row joined, 1 left out" in said
    assert "3 objects imported with a de-identified copy, 1 without" in said
    code, said, _ = run("export", tmp_path / "out", "--store", tmp_path / "store", "--key", tmp_path / "site.key")
    assert (code, said.startswith("5 files")) == (0, True)
    assert len(list((tmp_path / "out").rglob("*.dcm"))) == 3
    [mask] = (tmp_path / "out" / "masks").iterdir()
    assert mask.name in (tmp_path / "out" / "labels.csv").read_text()
    run("key", tmp_path / "other.key")
    assert run("export", tmp_path / "no", "--store", tmp_path / "store", "--key", tmp_path / "other.key")[0] == 5
    assert run("import", scans, "--store", scans / "store")[0] == 3
