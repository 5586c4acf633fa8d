from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from fedmed.dicom.synthetic.ct_phantom import Protocol, synthesise, write
from fedmed.dicom.synthetic.traps import write_trap

PROTOCOL = Protocol(slices=8, rows=20, columns=16, gap_mm=8, spacing_mm=(18.0, 20.0))
FILE_KEYS = {"path", "status", "reason", "shape", "pixel_sha256", "sentence"}
SERIES_KEYS = {"series", "stack", "status", "reason", "shape", "spacing_mm", "affine", "modality", "files", "sentence"}
LIGHT = """
import io, sys
from contextlib import redirect_stdout
from fedmed.cli.app import call
for arguments in (["data", "--help"], ["data", "scan", "--help"], ["data", "quarantine", "release", "--help"]):
    with redirect_stdout(io.StringIO()) as said:
        assert call(arguments) == 0
    assert said.getvalue().strip()
    assert not {"numpy", "pydicom", "rich.progress"} & set(sys.modules), arguments
"""


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """A sound series, one with slices missing, one with a file cut off, a radiograph, and a text."""
    folder = tmp_path_factory.mktemp("scans")
    series = synthesise(1, "sound", PROTOCOL)
    write(series.slices, folder / "sound")
    write_trap("irregular-spacing", folder / "uneven", 2, PROTOCOL)
    write_trap("truncated-file", folder / "cut", 3, PROTOCOL)
    picture = synthesise(4, "picture", PROTOCOL).slices[0]
    picture.Modality, picture.SOPClassUID = "DX", "1.2.840.10008.5.1.4.1.1.1.1"
    del picture.ImagePositionPatient, picture.ImageOrientationPatient
    write([picture], folder / "picture")
    (folder / "read.me").write_text("hello")
    return folder, series


def lines(out: str) -> tuple[dict, dict]:
    objects = [json.loads(line) for line in out.splitlines()]
    files = {found["path"]: found for found in objects if "path" in found}
    series = {found["series"]: found for found in objects if "series" in found}
    assert len(files) + len(series) == len(objects)
    return files, series


def test_help_loads_nothing_heavy():
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("workers", [0, 2])
def test_json_has_one_object_a_file_and_one_a_series(said, scans, workers):
    folder, sound = scans
    code, out, _ = said("data", "scan", folder, "--json", "--workers", workers)
    assert code == 0, "what is quarantined is a result"
    files, series = lines(out)
    assert all(set(found) == FILE_KEYS for found in files.values())
    assert all(set(found) == SERIES_KEYS for found in series.values())
    assert len(files) == 26
    assert files["read.me"] | {"sentence": ""} == dict.fromkeys(FILE_KEYS) | {
        "path": "read.me",
        "status": "not-dicom",
        "sentence": "",
    }
    assert files["sound/0000.dcm"]["shape"] == [20, 16]
    assert len(files["sound/0000.dcm"]["pixel_sha256"]) == 16
    cut = files["cut/0004.dcm"]
    assert (cut["status"], cut["reason"], cut["pixel_sha256"]) == ("quarantined", "truncated", None)
    whole = series[str(sound.slices[0].SeriesInstanceUID)]
    assert (whole["status"], whole["reason"], whole["shape"], whole["modality"]) == ("ok", None, [8, 20, 16], "CT")
    np.testing.assert_allclose(whole["spacing_mm"], [8, 18, 20], atol=1e-4)
    np.testing.assert_allclose(whole["affine"], sound.affine, atol=1e-3)
    reasons = sorted(found["reason"] for found in series.values() if found["status"] == "quarantined")
    assert reasons == ["irregular-spacing", "truncated"]
    (picture,) = [found for found in series.values() if found["modality"] == "DX"]
    assert (picture["status"], picture["affine"], picture["spacing_mm"]) == ("ok", None, [None, 18.0, 20.0])


def test_headers_alone_are_read_without_pixels(said, scans):
    files, series = lines(said("data", "scan", scans[0], "--json", "--no-pixels")[1])
    assert {found["pixel_sha256"] for found in files.values()} == {None}
    # a file that is too short shows without decoding: its pixels are counted, not read
    assert sorted(found["reason"] for found in series.values() if found["reason"]) == ["irregular-spacing", "truncated"]


def test_a_person_reads_a_table_and_why(fedmed, scans):
    done = fedmed("data", "scan", scans[0])
    assert done.returncode == 0
    assert "8 x 20 x 16" in done.stdout
    assert "8 x 18 x 20" in done.stdout
    assert "1 volume set aside, irregular-spacing: The distances between its slices differ." in done.stdout
    assert "26 files (24 ok, 1 quarantined, 1 not-dicom); 2 of 4 volumes can be used" in done.stdout
    assert done.stderr == "pixels: 26 files\nheaders: 26 files\n"


def test_what_is_not_there_is_an_error(said, tmp_path):
    code, out, err = said("data", "scan", tmp_path / "nowhere")
    assert (code, out) == (3, "")
    assert "no such folder" in err


def test_scan_fills_the_quarantine_and_a_release_empties_it(said, scans, tmp_path):
    folder, store = scans[0], tmp_path / "set-aside"
    scan = ("data", "scan", folder, "--json", "--workers", 0, "--quarantine", store)
    here = ("--quarantine", store)
    said(*scan)
    records = json.loads(said("data", "quarantine", "list", *here, "--json")[1])
    assert sorted((record["level"], record["reason"]) for record in records) == [
        ("file", "truncated"),
        ("series", "irregular-spacing"),
        ("series", "truncated"),
    ]
    names = {record["reason"]: record["id"] for record in records if record["level"] == "series"}
    shown = json.loads(said("data", "quarantine", "show", names["irregular-spacing"], *here, "--json")[1])
    assert shown["where"] == str(folder / "uneven")
    assert shown["sentence"] == "The distances between its slices differ."
    why = ("--who", "Dr. Wen", "--why", "looked at it")
    code, _, err = said("data", "quarantine", "release", names["truncated"], *why, *here)
    assert code == 2
    assert "no person can overrule" in err
    code, out, _ = said("data", "quarantine", "release", names["irregular-spacing"][:6], *why, *here)
    assert code == 0
    assert "released by Dr. Wen" in out
    _, series = lines(said(*scan)[1])
    assert sorted(str(found["reason"]) for found in series.values()) == ["None", "None", "None", "truncated"]
    left = json.loads(said("data", "quarantine", "list", *here, "--json")[1])
    assert {record["reason"] for record in left} == {"truncated"}


def test_the_quarantine_is_shown_to_a_person(said, fedmed, scans, tmp_path):
    store = tmp_path / "set-aside"
    assert said("data", "quarantine", "list", "--quarantine", store)[:2] == (0, "nothing is set aside\n")
    said("data", "scan", scans[0], "--workers", 0, "--quarantine", store)
    listed = fedmed("data", "quarantine", "list", "--quarantine", store)
    assert listed.returncode == 0
    assert "cannot be" in listed.stdout
    name = next(line.split()[0] for line in listed.stdout.splitlines() if "irregular-spacing" in line)
    code, out, _ = said("data", "quarantine", "show", name, "--quarantine", store)
    assert code == 0
    assert "Gaps run from" in out
    code, _, err = said("data", "quarantine", "show", "zz", "--quarantine", store)
    assert code == 2
    assert "give one id" in err
    (store / f"{name}.json").write_text("{}")
    code, out, err = said("data", "quarantine", "list", "--json", "--quarantine", store)
    assert code == 0
    assert len(json.loads(out)) == 2
    assert "damaged record" in err
