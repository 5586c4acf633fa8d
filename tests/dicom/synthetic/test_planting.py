from __future__ import annotations

import numpy as np
import pydicom
import pytest

from fedmed.dicom.synthetic.ct_phantom import Protocol, synthesise, write
from fedmed.dicom.synthetic.lesions import Lesion
from fedmed.dicom.synthetic.planting import Box, plant
from fedmed.errors import DataError

PROTOCOL = Protocol(slices=12, rows=64, columns=64, gap_mm=10, spacing_mm=(5.0, 5.0))


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("source")
    series = synthesise(1, "source", PROTOCOL)
    write(series.slices[::-1], folder)
    (folder / "DIRFILE").write_bytes((folder / "0000.dcm").read_bytes())
    dataset = pydicom.dcmread(folder / "DIRFILE")
    del dataset.PixelData
    dataset.save_as(folder / "DIRFILE")
    return folder, series


def test_only_the_lesions_change_and_every_identifier_does(source, tmp_path):
    folder, series = source
    planted = plant(folder, tmp_path / "out", [Lesion((70, 0, 0), 18, 90)], "site-1/case-3")
    headers = [pydicom.dcmread(path) for path in planted.paths]
    pixels = np.stack([header.pixel_array for header in headers])
    assert planted.mask.sum() > 20
    np.testing.assert_array_equal(pixels[~planted.mask], series.stored[~planted.mask])
    assert (pixels[planted.mask] == 90 + 1024).all()
    np.testing.assert_allclose(planted.affine, series.affine, atol=1e-3)
    before = series.slices[0]
    for header in headers:
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "PatientID", "AccessionNumber"):
            assert header[keyword].value != before[keyword].value
    assert {header.SeriesInstanceUID for header in headers} == {planted.series}
    assert {header.StudyInstanceUID for header in headers} == {planted.study}
    assert len({header.SOPInstanceUID for header in headers} - {d.SOPInstanceUID for d in series.slices}) == len(headers)


def test_the_same_identity_writes_the_same_files(source, tmp_path):
    folder, _ = source
    written = [plant(folder, tmp_path / name, [], identity) for name, identity in (("a", "x"), ("b", "x"), ("c", "y"))]
    first, same, other = ([path.read_bytes() for path in planted.paths] for planted in written)
    assert first == same
    assert first != other


def test_a_box_is_cut_and_lies_where_it_lay(source, tmp_path):
    folder, series = source
    box = Box((2, 10), (8, 40), (16, None))
    planted = plant(folder, tmp_path / "out", [Lesion((70, 0, 0), 18)], "p", box)
    assert planted.mask.shape == (8, 32, 48)
    whole = plant(folder, tmp_path / "whole", [Lesion((70, 0, 0), 18)], "p")
    np.testing.assert_array_equal(planted.mask, whole.mask[2:10, 8:40, 16:])
    headers = [pydicom.dcmread(path) for path in planted.paths]
    np.testing.assert_array_equal(headers[3].pixel_array, pydicom.dcmread(whole.paths[5]).pixel_array[8:40, 16:])
    np.testing.assert_allclose(headers[3].ImagePositionPatient, (series.affine @ [5, 8, 16, 1])[:3], atol=1e-3)


@pytest.mark.parametrize(
    "change", [{"PhotometricInterpretation": "MONOCHROME1"}, {"BitsAllocated": 8}, {"RescaleSlope": 2}, {"Modality": "MR"}]
)
def test_what_it_cannot_change_rightly_is_refused(tmp_path, change):
    slices = synthesise(1, "source", PROTOCOL).slices[:4]
    for dataset in slices if "Modality" in change else slices[1:2]:
        for keyword, value in change.items():
            setattr(dataset, keyword, value)
    write(slices, tmp_path / "in")
    with pytest.raises(DataError):
        plant(tmp_path / "in", tmp_path / "out", [], "p")
    assert not (tmp_path / "out").exists()


def test_an_empty_box_is_refused(source, tmp_path):
    with pytest.raises(DataError, match="holds no voxel"):
        plant(source[0], tmp_path / "out", [], "p", Box(rows=(90, 99)))


def test_the_real_chest_series_takes_lesions(shared_data, tmp_path):
    box = Box((20, 30), (200, 264), (120, 184))
    planted = plant(
        shared_data / "ct" / "acrin_chest_petct_49", tmp_path / "out", [Lesion((-149, -190, -602), 15)], "p", box
    )
    assert planted.mask.shape == (10, 64, 64)
    assert planted.mask.any()
    pixels = np.stack([pydicom.dcmread(path).pixel_array for path in planted.paths])
    assert (pixels[planted.mask] == 60 + 1024).all()
