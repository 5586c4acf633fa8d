from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest

from fedmed.dicom.reasons import Reason, Status
from fedmed.dicom.series import load
from fedmed.dicom.survey import survey
from fedmed.dicom.synthetic.ct_phantom import Protocol, synthesise
from fedmed.dicom.synthetic.traps import PADDED_ROWS, PADDING, TRAPS, write_trap
from fedmed.dicom.volume import Volume

PROTOCOL = Protocol(slices=16, rows=24, columns=20, gap_mm=10, spacing_mm=(14.0, 18.0))
TRUTH = synthesise(7, "trap", PROTOCOL)
HU = TRUTH.stored.astype(np.float32) - 1024
RIGHT = [name for name, trap in TRAPS.items() if trap.reason is None]
REFUSED = [name for name, trap in TRAPS.items() if trap.reason is not None]


def surveyed(name, folder, pixels=True):
    write_trap(name, folder, 7, PROTOCOL)
    return survey(folder, pixels=pixels, workers=0)


def only_volume(name, folder) -> Volume:
    found = surveyed(name, folder)
    (stack,) = found.stacks
    return load(stack, found.instances)


def units(volume: Volume) -> np.ndarray:
    return volume.voxels * volume.slope[:, None, None] + volume.intercept[:, None, None]


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_right_is_refused_with_its_reason(name, tmp_path):
    found = surveyed(name, tmp_path)
    assert [stack.refusal and stack.refusal.reason for stack in found.stacks] == [TRAPS[name].reason]
    bad_files = {Reason.TOO_LARGE, Reason.TRUNCATED} & {TRAPS[name].reason}
    assert sum(file.status is Status.QUARANTINED for file in found.files) == len(bad_files)
    (case, *_) = [case for case in found.cases if case.level == "series"]
    assert case.reason is TRAPS[name].reason
    assert case.detail


@pytest.mark.parametrize("name", sorted(set(REFUSED) - {"truncated-file"}))
def test_headers_alone_tell_it(name, tmp_path):
    found = surveyed(name, tmp_path, pixels=False)
    assert [stack.refusal and stack.refusal.reason for stack in found.stacks] == [TRAPS[name].reason]


@pytest.mark.parametrize(
    "name", ["shuffled-instance-number", "no-instance-number", "descending", "monochrome1", "enhanced-multi-frame"]
)
def test_the_volume_is_that_of_the_sound_series(name, tmp_path):
    volume = only_volume(name, tmp_path)
    np.testing.assert_array_equal(units(volume), HU)
    np.testing.assert_allclose(volume.affine, TRUTH.affine, atol=1e-3)
    np.testing.assert_allclose(volume.spacing_mm, (10, 14, 18), atol=1e-4)
    assert volume.voxels.dtype == np.uint16
    assert volume.padding is None
    assert volume.located


def test_a_tilted_gantry_is_kept_as_shear(tmp_path):
    volume = only_volume("gantry-tilt", tmp_path)
    np.testing.assert_array_equal(units(volume), HU)
    np.testing.assert_allclose(volume.affine[:3, 0], [0, 0, 10], atol=1e-4)
    np.testing.assert_allclose(
        volume.affine[:3, 1], [0, 14 * math.cos(math.radians(15)), -14 * math.sin(math.radians(15))], atol=1e-4
    )
    assert volume.spacing_mm[0] == pytest.approx(10 * math.cos(math.radians(15)), abs=1e-4)


def test_a_coronal_series_goes_from_front_to_back(tmp_path):
    volume = only_volume("coronal", tmp_path)
    # The normal of (1, 0, 0) x (0, 0, -1) is +y: towards the back.
    np.testing.assert_allclose(volume.affine[:3, 0], [0, 2.5, 0], atol=1e-6)
    np.testing.assert_allclose(volume.affine[:3, 1], [0, 0, -14], atol=1e-6)
    np.testing.assert_array_equal(units(volume), HU)


def test_inverted_and_straight_storage_give_the_same_values(tmp_path):
    inverted = only_volume("monochrome1", tmp_path)
    assert (inverted.slope == -1).all()
    assert inverted.voxels.max() > 4000, "kept as stored; the slope turns it"


def test_padding_is_kept_as_stored_values_apart_from_the_image(tmp_path):
    volume = only_volume("padding", tmp_path)
    assert volume.padding == (PADDING, PADDING)
    assert volume.voxels.dtype == np.int16
    padded = (volume.voxels >= volume.padding[0]) & (volume.voxels <= volume.padding[1])
    assert padded[:, :PADDED_ROWS].all()
    assert not padded[:, PADDED_ROWS:].any()
    np.testing.assert_array_equal(units(volume)[~padded], HU[~padded])


def test_every_slice_has_its_own_slope(tmp_path):
    volume = only_volume("per-slice-slope", tmp_path)
    np.testing.assert_allclose(volume.slope, 1 + 0.05 * np.arange(16), rtol=1e-6)
    np.testing.assert_array_equal(volume.intercept, 0)
    np.testing.assert_array_equal(volume.voxels, TRUTH.stored)


def test_a_localiser_leaves_the_slices_as_they_are(tmp_path):
    found = surveyed("localiser", tmp_path)
    slices, scout = found.stacks
    assert not found.cases
    np.testing.assert_array_equal(units(load(slices, found.instances)), HU)
    assert load(scout, found.instances).voxels.shape == (1, 22, 20)


def test_every_trap_is_tested():
    own = {"gantry-tilt", "coronal", "padding", "per-slice-slope", "localiser"}
    same = {"shuffled-instance-number", "no-instance-number", "descending", "monochrome1", "enhanced-multi-frame"}
    assert own | same == set(RIGHT)


@pytest.mark.parametrize("name", ["missing-slices", "enhanced-multi-frame"])
def test_the_same_seed_writes_the_same_trap(name, tmp_path):
    prints = [
        hashlib.sha256(b"".join(path.read_bytes() for path in write_trap(name, tmp_path / str(k), 7, PROTOCOL))).digest()
        for k in range(2)
    ]
    assert prints[0] == prints[1]
