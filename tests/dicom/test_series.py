from __future__ import annotations

import copy
import dataclasses
import hashlib
import math

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import RLELossless

from fedmed.dicom.limits import Limits
from fedmed.dicom.reasons import Reason, Untrusted
from fedmed.dicom.series import _permute, load
from fedmed.dicom.survey import Survey, survey
from fedmed.dicom.synthetic.ct_phantom import Protocol, synthesise, write
from fedmed.dicom.synthetic.traps import TRAPS
from fedmed.dicom.volume import Volume

PROTOCOL = Protocol(slices=9, rows=20, columns=16, gap_mm=12, spacing_mm=(18.0, 20.0))


@pytest.fixture
def sound():
    return synthesise(3, "series", PROTOCOL)


def surveyed(slices, folder) -> Survey:
    write(slices, folder)
    return survey(folder, pixels=False)


def volume_of(slices, folder, **options) -> Volume:
    found = surveyed(slices, folder)
    (stack,) = found.stacks
    return load(stack, found.instances, **options)


def units(volume: Volume) -> np.ndarray:
    return volume.voxels * volume.slope[:, None, None] + volume.intercept[:, None, None]


def changed(slices, k=None, **values):
    for dataset in slices if k is None else [slices[k]]:
        for keyword, value in values.items():
            setattr(dataset, keyword, value)
    return slices


def test_it_knows_whose_it_is_and_what_its_voxels_are(sound, tmp_path):
    volume = volume_of(sound.slices, tmp_path)
    first = sound.slices[0]
    assert (volume.study, volume.series) == (first.StudyInstanceUID, first.SeriesInstanceUID)
    assert (volume.patient, volume.accession, volume.modality) == (first.PatientID, first.AccessionNumber, "CT")
    assert volume.pixel_sha256 == hashlib.sha256(sound.stored.tobytes()).hexdigest()
    assert volume.slope.dtype == volume.intercept.dtype == np.float32
    assert volume_of(sound.slices, tmp_path, digest=False).pixel_sha256 == ""


@pytest.mark.parametrize("workers", [1, 3])
def test_compressed_slices_in_threads_are_the_same(sound, tmp_path, workers):
    for dataset in sound.slices:
        dataset.compress(RLELossless, generate_instance_uid=False)
    np.testing.assert_array_equal(volume_of(sound.slices, tmp_path, workers=workers).voxels, sound.stored)


def test_a_file_that_changed_since_it_was_surveyed_is_named_by_its_uid(sound, tmp_path):
    found = surveyed(TRAPS["truncated-file"].change(sound.slices), tmp_path)
    TRAPS["truncated-file"].spoil(sorted(tmp_path.iterdir()))
    with pytest.raises(Untrusted, match=sound.slices[4].SOPInstanceUID) as caught:
        load(found.stacks[0], found.instances, workers=2)
    assert caught.value.reason is Reason.UNREADABLE


def test_a_refused_stack_is_refused_here_too(sound, tmp_path):
    found = surveyed(TRAPS["missing-slices"].change([*sound.slices, *sound.slices[:0]]), tmp_path)
    missing = dataclasses.replace(found.stacks[0], grid=None, refusal=Untrusted(Reason.MISSING_SLICES, "One."))
    with pytest.raises(Untrusted, match="One"):
        load(missing, found.instances)


def test_a_volume_over_the_limits_is_refused_before_it_is_allocated(sound, tmp_path):
    found = surveyed(sound.slices, tmp_path)
    size = sound.stored.nbytes
    load(found.stacks[0], found.instances, limits=Limits(decoded_bytes=size))
    with pytest.raises(Untrusted, match=f"has {size} bytes") as caught:
        load(found.stacks[0], found.instances, limits=Limits(decoded_bytes=size - 1))
    assert caught.value.reason is Reason.TOO_LARGE


@pytest.mark.parametrize("signed", [False, True])
def test_eight_bits_are_widened_and_foreign_bits_cleared(sound, tmp_path, signed):
    kind = "i1" if signed else "u1"
    stored = (sound.stored >> 4).astype(np.uint8).view(kind) >> signed
    for dataset, plane in zip(sound.slices, stored, strict=True):
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
        dataset.PixelRepresentation, dataset.PixelData = int(signed), plane.tobytes()
    volume = volume_of(sound.slices, tmp_path)
    assert volume.voxels.dtype == (np.int16 if signed else np.uint16)
    np.testing.assert_array_equal(volume.voxels, stored)


def test_bits_outside_bits_stored_are_no_values(sound, tmp_path):
    for dataset, plane in zip(sound.slices, sound.stored, strict=True):
        dataset.PixelData = (plane | 0xF000).tobytes()
    np.testing.assert_array_equal(volume_of(sound.slices, tmp_path).voxels, sound.stored)


@pytest.mark.parametrize(("signed", "bits"), [(False, 12), (False, 16), (True, 12), (True, 16)])
def test_monochrome1_is_mirrored_at_the_middle_of_its_bits(sound, tmp_path, signed, bits):
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    straight = np.clip(sound.stored.astype(np.int64) - (2000 if signed else 0), low, high)
    kind = "<i2" if signed else "<u2"
    changed(
        sound.slices, BitsStored=bits, HighBit=bits - 1, PixelRepresentation=int(signed), RescaleSlope=2, RescaleIntercept=-7
    )
    for k, (dataset, plane) in enumerate(zip(sound.slices, straight, strict=True)):
        dataset.PhotometricInterpretation, dataset.RescaleSlope = "MONOCHROME1", f"{1 + k / 4}"
        dataset.PixelData = (low + high - plane).astype(kind).tobytes()
    volume = volume_of(sound.slices, tmp_path)
    slope = 1 + np.arange(len(straight)) / 4
    np.testing.assert_allclose(units(volume), straight * slope[:, None, None] - 7, rtol=1e-6)


def with_table(slices, entries: list[np.ndarray], first: int):
    for dataset, table in zip(slices, entries, strict=True):
        del dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType
        item = Dataset()
        item.add_new("LUTDescriptor", "US", [len(table), first, 16])
        item.ModalityLUTType = "HU"
        item.add_new("LUTData", "OW", table.astype("<u2").tobytes())
        dataset.ModalityLUTSequence = Sequence([item])
    return slices


@pytest.mark.parametrize("inverted", [False, True])
def test_a_modality_table_is_applied_slice_by_slice(sound, tmp_path, inverted):
    tables = [(np.arange(4096) * (k + 3) + 5).astype(np.uint16) for k in range(9)]
    slices = with_table(sound.slices, tables, 0)
    if inverted:
        changed(slices, PhotometricInterpretation="MONOCHROME1")
    volume = volume_of(slices, tmp_path)
    wanted = np.stack([table[plane] for table, plane in zip(tables, sound.stored, strict=True)]).astype(np.float64)
    if inverted:
        wanted = np.array([float(table[0]) + float(table[-1]) for table in tables])[:, None, None] - wanted
    np.testing.assert_array_equal(units(volume), wanted)
    assert volume.voxels.dtype == np.uint16


def test_padding_stays_apart_behind_a_modality_table(sound, tmp_path):
    tables = [np.arange(4096)[::-1]] * 9
    slices = with_table(sound.slices, tables, 0)
    for dataset in slices:
        dataset.add_new("PixelPaddingValue", "US", 0)
        dataset.add_new("PixelPaddingRangeLimit", "US", 99)
    volume = volume_of(slices, tmp_path)
    hidden = sound.stored <= 99
    assert hidden.any()
    np.testing.assert_array_equal((volume.voxels >= volume.padding[0]) & (volume.voxels <= volume.padding[1]), hidden)
    np.testing.assert_array_equal(volume.voxels[~hidden], 4095 - sound.stored[~hidden])


@pytest.mark.parametrize(
    ("vr", "value", "limit", "signed", "wanted"),
    [
        ("US", 63536, None, True, (-2000, -2000)),
        ("SS", -2000, None, True, (-2000, -2000)),
        ("SS", -2000, -1990, True, (-2000, -1990)),
        ("US", 4095, 4090, False, (4090, 4095)),
        ("SS", -1, None, False, (65535, 65535)),
    ],
)
def test_padding_is_signed_as_the_pixels_are(sound, tmp_path, vr, value, limit, signed, wanted):
    changed(sound.slices, PixelRepresentation=int(signed), BitsStored=16, HighBit=15)
    for dataset in sound.slices:
        dataset.add_new("PixelPaddingValue", vr, value)
        if limit is not None:
            dataset.add_new("PixelPaddingRangeLimit", vr, limit)
    assert volume_of(sound.slices, tmp_path).padding == wanted


def test_one_slice_is_a_volume_of_depth_one(sound, tmp_path):
    volume = volume_of(sound.slices[2:3], tmp_path / "thick")
    assert volume.voxels.shape == (1, 20, 16)
    assert volume.spacing_mm == (12.0, 18.0, 20.0)
    del sound.slices[2].SliceThickness
    unknown = volume_of(sound.slices[2:3], tmp_path / "unknown")
    assert math.isnan(unknown.spacing_mm[0])
    assert np.isfinite(unknown.affine).all()


def test_a_radiograph_is_a_volume_without_a_place(sound, tmp_path):
    picture = changed(sound.slices[:1], Modality="DX", SOPClassUID="1.2.840.10008.5.1.4.1.1.1.1")[0]
    del picture.ImagePositionPatient, picture.ImageOrientationPatient, picture.PixelSpacing
    picture.ImagerPixelSpacing = [0.2, 0.3]
    volume = volume_of([picture], tmp_path)
    assert not volume.located
    assert volume.spacing_mm[1:] == (0.2, 0.3)
    np.testing.assert_allclose(volume.affine @ [0, 1, 1, 1], [0.3, 0.2, 0, 1])


def test_frames_of_an_enhanced_object_in_two_echoes_are_two_volumes(sound, tmp_path):
    (whole,) = TRAPS["enhanced-multi-frame"].change(sound.slices)
    twice = copy.deepcopy(whole)
    twice.NumberOfFrames = 18
    groups = list(whole.PerFrameFunctionalGroupsSequence)
    second = copy.deepcopy(groups)
    for group in second:
        group.FrameContentSequence[0].StackID = "2"
    twice.PerFrameFunctionalGroupsSequence = Sequence(groups + second)
    twice.PixelData = whole.PixelData + bytes(len(whole.PixelData))
    found = surveyed([twice], tmp_path)
    volumes = [load(stack, found.instances) for stack in found.stacks]
    np.testing.assert_array_equal(volumes[0].voxels, sound.stored)
    assert volumes[1].voxels.shape == sound.stored.shape
    assert not volumes[1].voxels.any()


@settings(max_examples=60, deadline=None)
@given(order=st.integers(1, 12).flatmap(lambda n: st.permutations(range(n))))
def test_frames_are_put_in_order_in_place(order):
    voxels = np.arange(len(order))[:, None, None].repeat(3, axis=2)
    wanted = voxels[order].copy()
    _permute(voxels, list(order))
    np.testing.assert_array_equal(voxels, wanted)


REAL = {
    "acrin_chest_petct_49": (49, (4.0, 1.3671875, 1.3671875)),
    "philips_phantom_5mm_28": (28, (5.0, 0.451171875, 0.451171875)),
    "philips_phantom_tilt_54": (54, (2.5 * math.cos(math.radians(18.5)), 0.482421875, 0.482421875)),
}


def real(shared_data, name) -> tuple[Volume, list[Dataset]]:
    folder = shared_data / "ct" / name
    found = survey(folder, pixels=False)
    (stack,) = found.stacks
    headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in folder.iterdir()]
    slices = [header for header in headers if "ImagePositionPatient" in header]
    return load(stack, found.instances), sorted(slices, key=lambda header: float(header.ImagePositionPatient[2]))


@pytest.mark.parametrize("name", REAL)
def test_real_series_lie_where_their_tags_say(shared_data, name):
    volume, headers = real(shared_data, name)
    count, spacing = REAL[name]
    assert volume.voxels.shape == (count, 512, 512)
    np.testing.assert_allclose(volume.spacing_mm, spacing, atol=2e-4)
    for k, header in enumerate(headers):
        first = np.array(header.ImagePositionPatient, float)
        np.testing.assert_allclose((volume.affine @ [k, 0, 0, 1])[:3], first, atol=1e-5)
        row, column = np.array(header.ImageOrientationPatient, float).reshape(2, 3)
        corner = first + row * header.PixelSpacing[1] * 511 + column * header.PixelSpacing[0] * 511
        np.testing.assert_allclose((volume.affine @ [k, 511, 511, 1])[:3], corner, atol=1e-4)


@pytest.mark.parametrize("name", REAL)
def test_real_series_equal_simpleitk_voxel_by_voxel(shared_data, name):
    sitk = pytest.importorskip("SimpleITK")
    volume, _ = real(shared_data, name)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(shared_data / "ct" / name)))
    image = reader.Execute()
    np.testing.assert_array_equal(units(volume), sitk.GetArrayFromImage(image))
    assert volume.padding is None
    direction = np.array(image.GetDirection()).reshape(3, 3)
    np.testing.assert_allclose(image.GetSpacing()[::-1][1:], volume.spacing_mm[1:], atol=1e-6)
    np.testing.assert_allclose(image.GetOrigin(), volume.affine[:3, 3], atol=1e-4)
    theirs = direction * image.GetSpacing()
    ours = volume.affine[:3, [2, 1, 0]]
    if "tilt" not in name:
        np.testing.assert_allclose(ours, theirs, atol=1e-4)
        return
    # SimpleITK keeps three orthonormal directions, which a tilted gantry has not: its last slice lies beside the patient's.
    np.testing.assert_allclose(ours[:, :2], theirs[:, :2], atol=1e-4)
    shear = math.degrees(math.acos(ours[:, 2] @ ours[:, 1] / np.linalg.norm(ours[:, 2]) / np.linalg.norm(ours[:, 1])))
    assert shear == pytest.approx(90 + 18.5, abs=0.01)
    lost = np.linalg.norm(ours[:, 2] * 53 - theirs[:, 2] * 53)
    assert lost > 40, "millimetres between where SimpleITK and the tags put the last slice"
