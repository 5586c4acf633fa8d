from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pydicom
import pytest

from fedmed.dicom.synthetic.ct_phantom import Protocol, synthesise, write

SMALL = Protocol(slices=12, rows=64, columns=72, gap_mm=10, spacing_mm=(5.0, 5.2), noise_hu=10)


def fingerprint(folder: Path) -> str:
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(folder.iterdir()))).hexdigest()


def test_the_same_seed_and_name_write_the_same_files(tmp_path):
    for folder, seed, name in (("a", 3, "ct"), ("b", 3, "ct"), ("c", 4, "ct"), ("d", 3, "other")):
        write(synthesise(seed, name, SMALL).slices, tmp_path / folder)
    prints = [fingerprint(tmp_path / folder) for folder in "abcd"]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 3


def test_it_shows_a_body_with_lungs_at_the_densities_of_ct():
    series = synthesise(1, "ct", SMALL)
    hu = series.stored.astype(int) - 1024
    assert series.stored.shape == SMALL.shape
    assert hu[:, 0, 0].mean() == pytest.approx(-1000, abs=15)
    middle, left = SMALL.slices // 2, int((72 - 1) / 2 + 72 / 5.2)
    assert hu[middle, 32, left] == pytest.approx(-820, abs=60)
    assert hu[middle, 32, 36] == pytest.approx(40, abs=60)
    assert 0.1 < (np.abs(hu + 820) < 80).mean() < 0.5
    assert hu.max() > 350, "a spine"


def test_lesions_lie_in_the_lungs_and_the_mask_says_where():
    with_none, with_some = synthesise(1, "ct", SMALL), synthesise(1, "ct", SMALL, lesions=5)
    assert not with_none.mask.any()
    assert len(with_some.lesions) == 5
    assert with_some.mask.sum() > 5
    hu = with_some.stored.astype(int) - 1024
    assert np.abs(hu[with_some.mask] - 60).mean() < 30
    still = synthesise(1, "ct", Protocol(slices=12, rows=64, columns=72, gap_mm=10, spacing_mm=(5.0, 5.2), noise_hu=0), 5)
    air = synthesise(1, "ct", Protocol(slices=12, rows=64, columns=72, gap_mm=10, spacing_mm=(5.0, 5.2), noise_hu=0))
    assert (air.stored[still.mask].astype(int) - 1024 == -820).mean() > 0.95
    np.testing.assert_array_equal(still.stored != air.stored, still.mask)


def test_headers_are_valid_and_of_nobody(tmp_path):
    series = synthesise(2, "ct", SMALL)
    headers = [pydicom.dcmread(path) for path in write(series.slices, tmp_path)]
    assert len({header.SOPInstanceUID for header in headers}) == SMALL.slices
    assert len({header.SeriesInstanceUID for header in headers}) == 1
    assert all(header.SOPInstanceUID.is_valid and str(header.PatientName).startswith("Phantom^P") for header in headers)
    for k, header in enumerate(headers):
        np.testing.assert_allclose(header.ImagePositionPatient, (series.affine @ [k, 0, 0, 1])[:3], atol=1e-4)
        np.testing.assert_array_equal(header.pixel_array, series.stored[k])
    # The middle of the grid is the origin of the patient.
    middle = series.affine @ [*((np.array(SMALL.shape) - 1) / 2), 1]
    np.testing.assert_allclose(middle[:3], 0, atol=1e-3)
