from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from fedmed.dicom import single_frame
from fedmed.dicom.single_frame import Image, read_image
from fedmed.errors import DataError


def dicom(stored: np.ndarray, bits_stored: int = 12, photometric: str = "MONOCHROME2", **attributes) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset.Modality = "CT"
    dataset.Rows, dataset.Columns = stored.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, photometric
    dataset.BitsAllocated = stored.dtype.itemsize * 8
    dataset.BitsStored, dataset.HighBit = bits_stored, bits_stored - 1
    dataset.PixelRepresentation = int(stored.dtype.kind == "i")
    dataset.PixelData = stored.tobytes() + b"\0" * (stored.nbytes % 2)
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def saved(folder: Path, dataset: Dataset) -> Path:
    path = folder / "one.dcm"
    dataset.save_as(path, enforce_file_format=True)
    return path


def test_slope_and_intercept_give_modality_units(tmp_path: Path) -> None:
    stored = np.array([[0, 1000], [2000, 4095]], dtype="<u2")
    image = read_image(saved(tmp_path, dicom(stored, RescaleSlope=0.5, RescaleIntercept=-1024)))
    assert image.pixels.dtype == np.float32
    assert image.pixels.tolist() == [[-1024, -524], [-24, 1023.5]]
    assert image.modality == "CT"


def test_signed_values_with_short_bits_stored(tmp_path: Path) -> None:
    stored = np.array([[-2048, -1], [0, 2047]], dtype="<i2")
    assert read_image(saved(tmp_path, dicom(stored))).pixels.tolist() == stored.tolist()


def test_sign_is_extended_from_bits_stored_not_from_the_word(tmp_path: Path) -> None:
    # -1 in 12 bits with the upper four bits left 0, as old writers do.
    stored = np.array([[0x0FFF, 0x0800], [0, 0x07FF]], dtype="<i2")
    assert read_image(saved(tmp_path, dicom(stored))).pixels.tolist() == [[-1, -2048], [0, 2047]]


def test_overlay_bits_above_bits_stored_are_no_pixels(tmp_path: Path) -> None:
    stored = np.array([[0xF123, 0x8000]], dtype="<u2")
    assert read_image(saved(tmp_path, dicom(stored))).pixels.tolist() == [[0x123, 0]]


def test_a_high_bit_that_the_standard_no_longer_allows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="High Bit 15"):
        read_image(saved(tmp_path, dicom(np.zeros((2, 2), "<u2"), HighBit=15)))


@pytest.mark.parametrize(("kind", "lowest", "highest"), [("<u2", 0, 4095), ("<i2", -2048, 2047)])
def test_monochrome1_is_mirrored_within_what_the_bits_hold(tmp_path: Path, kind: str, lowest: int, highest: int) -> None:
    stored = np.array([[lowest, highest, 7]], dtype=kind)
    image = read_image(saved(tmp_path, dicom(stored, photometric="MONOCHROME1", RescaleSlope=2, RescaleIntercept=10)))
    expected = [2 * value + 10 for value in (highest, lowest, lowest + highest - 7)]
    assert image.pixels.tolist() == [expected]


def test_eight_bits_of_odd_length(tmp_path: Path) -> None:
    stored = np.arange(9, dtype=np.uint8).reshape(3, 3)
    assert read_image(saved(tmp_path, dicom(stored, bits_stored=8))).pixels.tolist() == stored.tolist()


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({}, None),
        ({"PixelSpacing": [0.5, 0.7]}, (0.5, 0.7)),
        ({"ImagerPixelSpacing": [0.2, 0.2]}, (0.2, 0.2)),
        ({"PixelSpacing": [0.5, 0.7], "ImagerPixelSpacing": [0.2, 0.2]}, (0.5, 0.7)),
    ],
)
def test_spacing_is_that_in_the_patient_before_that_at_the_detector(tmp_path: Path, attributes, expected) -> None:
    assert read_image(saved(tmp_path, dicom(np.zeros((2, 2), "<u2"), **attributes))).spacing_mm == expected


@pytest.mark.parametrize(
    ("attributes", "complaint"),
    [
        ({"NumberOfFrames": 3, "PixelData": bytes(96)}, "3 frames"),
        ({"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3, "PixelData": bytes(96)}, "RGB"),
        ({"Rows": 60_000, "Columns": 60_000}, "60000 x 60000 pixels"),
        ({"Rows": 0}, "0 x 4 pixels"),
        ({"Rows": 40}, "cannot be decoded"),
        ({"PixelSpacing": [0, 1]}, "pixel spacing is 0.0"),
        ({"RescaleSlope": "1E308", "RescaleIntercept": "1E308"}, "no numbers up to 1e"),
    ],
)
def test_refuses_by_name_what_is_no_single_grey_image(tmp_path: Path, attributes, complaint) -> None:
    dataset = dicom(np.ones((4, 4), "<u2"))
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    path = saved(tmp_path, dataset)
    with pytest.raises(DataError, match=complaint) as refused:
        read_image(path)
    assert str(path) in str(refused.value)


def test_refuses_missing_pixels(tmp_path: Path) -> None:
    dataset = dicom(np.zeros((2, 2), "<u2"))
    del dataset.PixelData
    with pytest.raises(DataError, match="no integer pixels"):
        read_image(saved(tmp_path, dataset))


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n" + bytes(200), bytes(128) + b"DICM"])
def test_refuses_what_is_no_dicom(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "one.dcm"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"one\.dcm"):
        read_image(path)


def test_refuses_what_is_not_there_or_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_image(tmp_path / "absent.dcm")
    path = saved(tmp_path, dicom(np.zeros((2, 2), "<u2")))
    monkeypatch.setattr(single_frame, "MAX_BYTES", 100)
    with pytest.raises(DataError, match="at most 100"):
        read_image(path)


@pytest.mark.parametrize("share", [0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.999])
def test_a_cut_off_file_is_refused(tmp_path: Path, share: float) -> None:
    path = saved(tmp_path, dicom(np.zeros((4, 4), "<u2")))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(DataError, match=r"one\.dcm"):
        read_image(path)


def test_every_file_of_the_zoo_is_an_image_or_refused_by_name(shared_data: Path) -> None:
    read: dict[str, Image] = {}
    refusals: dict[str, str] = {}
    files = [path for path in (shared_data / "dicom_zoo").rglob("*") if path.is_file() and path.suffix != ".tsv"]
    for path in files:
        try:
            read[path.name] = read_image(path)
        except DataError as refused:
            refusals[path.name] = str(refused)
    assert all(name in message for name, message in refusals.items())
    assert len(read) + len(refusals) >= 100
    assert read["MR_small.dcm"].pixels.shape == (64, 64)
    np.testing.assert_array_equal(read["MR_small.dcm"].pixels, read["MR_small_RLE.dcm"].pixels)
    np.testing.assert_array_equal(read["MR_small.dcm"].pixels, read["MR_small_expb.dcm"].pixels)
    assert len(read) >= 25
