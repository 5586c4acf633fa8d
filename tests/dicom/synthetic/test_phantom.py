from __future__ import annotations

import csv
import hashlib
from pathlib import Path

import numpy as np
import pydicom
import pytest

from fedmed.dicom.single_frame import read_image
from fedmed.dicom.synthetic.phantom import HOSPITALS, write_hospitals
from fedmed.dicom.synthetic.thorax import Beam, radiograph


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hospitals")
    write_hospitals(folder, 5, share=0.1)
    return folder


def rows(hospital: Path) -> list[dict[str, str]]:
    with (hospital / "manifest.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def fingerprint(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        digest.update(str(path.relative_to(folder)).encode())
        digest.update(path.read_bytes() if path.is_file() else b"")
    return digest.hexdigest()


def test_the_same_seed_writes_the_same_files(hospitals: Path, tmp_path: Path) -> None:
    write_hospitals(tmp_path / "again", 5, share=0.1)
    write_hospitals(tmp_path / "other", 6, share=0.1)
    assert fingerprint(tmp_path / "again") == fingerprint(hospitals)
    assert fingerprint(tmp_path / "other") != fingerprint(hospitals)


def test_every_hospital_has_its_manifest_size_and_prevalence(hospitals: Path) -> None:
    for hospital in HOSPITALS:
        found = rows(hospitals / hospital.name)
        assert len(found) == max(4, round(hospital.patients * 0.1))
        assert len({row["patient"] for row in found}) == len(found)
        assert sum(row["label"] == "opacity" for row in found) == round(len(found) * hospital.prevalence)


def test_the_scanners_differ_in_every_way_a_reader_must_handle(hospitals: Path) -> None:
    headers = [pydicom.dcmread(next((hospitals / hospital.name).rglob("*.dcm"))) for hospital in HOSPITALS]
    for keyword in ("Rows", "ImagerPixelSpacing", "BitsStored", "PhotometricInterpretation", "PixelRepresentation"):
        assert len({str(header.get(keyword)) for header in headers}) > 1, keyword
    assert len({(header.RescaleSlope, header.RescaleIntercept) for header in headers}) > 2
    for header in headers:
        # PS3.3 C.8.11.3: a DX image For Presentation is not rescaled.
        assert header.Modality == "CR" or (header.RescaleSlope, header.RescaleIntercept) == (1, 0)


def test_identifiers_are_synthetic_unique_and_valid(hospitals: Path) -> None:
    headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in hospitals.rglob("*.dcm")]
    uids = [header.SOPInstanceUID for header in headers]
    assert len(set(uids)) == len(uids)
    assert all(uid.is_valid and uid.startswith("2.25.") for uid in uids)
    assert all(str(header.PatientName).startswith("Phantom^") and not header.PatientBirthDate for header in headers)


def test_what_is_read_back_is_bright_over_the_spine_whatever_the_scanner(hospitals: Path) -> None:
    for hospital in HOSPITALS:
        scanner = hospital.scanner
        image = read_image(next((hospitals / hospital.name).rglob("*.dcm")))
        assert image.pixels.shape == (scanner.rows, scanner.columns)
        assert image.spacing_mm == (scanner.spacing_mm, scanner.spacing_mm)
        middle = image.pixels[:, scanner.columns // 2 - 4 : scanner.columns // 2 + 4].mean()
        assert middle > image.pixels.mean(), hospital.name
        top = (1 << scanner.bits_stored) - 1
        low = scanner.intercept - scanner.slope * (1 << scanner.bits_stored - 1) * scanner.signed
        assert image.pixels.min() >= low
        assert image.pixels.max() <= low + scanner.slope * top


def test_an_opacity_only_adds_absorption_inside_the_chest() -> None:
    still = Beam(gain=1.0, gamma=1.0, noise=0.0, blur=0.0)
    for seed in range(5):
        clear = radiograph(96, 96, 3.5, still, False, np.random.default_rng(seed))
        opaque = radiograph(96, 96, 3.5, still, True, np.random.default_rng(seed))
        difference = opaque - clear
        assert difference.max() > 0.04
        assert difference.min() >= -1e-6
        assert difference[:, [0, -1]].max() < 1e-6, "outside the body nothing changes"
