from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import RLELossless

from fedmed.clock import SystemClock
from fedmed.dicom.case import Case
from fedmed.dicom.reasons import Reason
from fedmed.dicom.synthetic.ct_phantom import Protocol, synthesise, write
from fedmed.dicom.synthetic.traps import TRAPS
from fedmed.dicom.volume import Volume
from fedmed.store.intake import take_in, volumes
from fedmed.store.quarantine import Quarantine

PROTOCOL = Protocol(slices=12, rows=20, columns=16, gap_mm=8, spacing_mm=(18.0, 20.0))


@pytest.fixture
def quarantine(tmp_path) -> Quarantine:
    return Quarantine(tmp_path / "quarantine", SystemClock())


def put(folder, name, trap=None):
    series = synthesise(9, name, PROTOCOL)
    paths = write(TRAPS[trap].change(series.slices) if trap else series.slices, folder / name)
    if trap and TRAPS[trap].spoil:
        TRAPS[trap].spoil(paths)
    return series


def garble(paths: list[Path]) -> None:
    """Compress all slices, and spoil the code of one: its header and its lengths stay as they were."""
    for path in paths:
        dataset = pydicom.dcmread(path)
        dataset.compress(RLELossless, generate_instance_uid=False)
        dataset.save_as(path)
    content = bytearray(paths[3].read_bytes())
    content[-400:-8] = bytes([127] * 392)
    paths[3].write_bytes(content)


def reasons(quarantine) -> dict[str, list[str]]:
    records, faults = quarantine.records()
    assert not faults
    found: dict[str, list[str]] = {}
    for record in records:
        found.setdefault(record.case.level, []).append(record.case.reason.value)
    return found


def test_one_poisoned_file_costs_its_series_and_nothing_else(tmp_path, quarantine):
    scans = tmp_path / "scans"
    good = [put(scans, name) for name in ("a", "b")]
    put(scans, "c")
    garble(sorted((scans / "c").iterdir()))
    found = take_in(scans, quarantine)
    assert reasons(quarantine) == {}, "headers alone do not tell"
    results = list(volumes(found, quarantine, workers=2))
    loaded = [result for result in results if isinstance(result, Volume)]
    for series in good:
        (volume,) = [volume for volume in loaded if volume.series == series.slices[0].SeriesInstanceUID]
        np.testing.assert_array_equal(volume.voxels, series.stored)
    (case,) = [result for result in results if isinstance(result, Case)]
    assert case.reason is Reason.DECODE_FAILED
    assert case.where == str(scans / "c")
    assert reasons(quarantine) == {"series": ["decode-failed"]}


def test_with_pixels_the_survey_tells_before_a_volume_is_asked_for(tmp_path, quarantine):
    put(tmp_path / "scans", "c", "truncated-file")
    found = take_in(tmp_path / "scans", quarantine, pixels=True, workers=0)
    assert reasons(quarantine) == {"file": ["truncated"], "series": ["truncated"]}
    assert list(volumes(found, quarantine)) == []


@pytest.mark.parametrize("pixels", [False, True])
@pytest.mark.parametrize("trap", ["missing-slices", "truncated-file", "huge-dimensions"])
def test_what_was_mended_is_forgotten_and_what_was_not_keeps_its_date(tmp_path, quarantine, trap, pixels):
    def run() -> list[Volume]:
        found = take_in(tmp_path / "scans", quarantine, pixels=pixels, workers=0)
        return [result for result in volumes(found, quarantine) if isinstance(result, Volume)]

    put(tmp_path / "scans", "c", trap)
    assert run() == []
    before, _ = quarantine.records()
    assert run() == []
    assert quarantine.records()[0] == before != []
    put(tmp_path / "scans", "c")
    assert len(run()) == 1
    assert reasons(quarantine) == {}


def test_a_release_lets_these_bytes_in_and_no_others(tmp_path, quarantine):
    series = put(tmp_path / "scans", "c", "irregular-spacing")
    found = take_in(tmp_path / "scans", quarantine)
    assert list(volumes(found, quarantine)) == []
    (record,), _ = quarantine.records()
    quarantine.release(record.id, "Dr. Wen", "the table was moved by hand")
    for _ in range(2):
        (volume,) = volumes(take_in(tmp_path / "scans", quarantine), quarantine)
        np.testing.assert_array_equal(volume.voxels, series.stored)
        assert volume.spacing_mm[0] == pytest.approx(8)
    path = tmp_path / "scans" / "c" / "0001.dcm"
    path.write_bytes(path.read_bytes()[:-2] + b"\x01\x01")
    assert list(volumes(take_in(tmp_path / "scans", quarantine), quarantine)) == []
    assert reasons(quarantine) == {"series": ["irregular-spacing"]}


@pytest.mark.parametrize("trap", ["truncated-file", "missing-slices", "duplicate-slice", "huge-dimensions"])
def test_nothing_of_a_patient_is_in_a_record(tmp_path, quarantine, trap):
    series = put(tmp_path / "scans", "c", trap)
    take_in(tmp_path / "scans", quarantine, pixels=True, workers=0)
    texts = [path.read_text() for path in quarantine.folder.iterdir()]
    assert texts
    first = series.slices[0]
    for text in texts:
        for secret in (str(first.PatientName), str(first.PatientID), str(first.AccessionNumber)):
            assert secret not in text
