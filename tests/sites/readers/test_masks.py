from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from fedmed.errors import ConfigError, DataError
from fedmed.sites.readers.masks import MasksOptions, read_masks
from tests.dicom.test_single_frame import dicom

AFFINE = np.diag([2.0, 1.0, 3.0, 1.0])


def picture(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def square(side: int = 20, value: int = 255) -> np.ndarray:
    mask = np.zeros((side, side), np.uint8)
    mask[5:12, 6:15] = value
    return mask


def images(folder: Path, sites: dict[str, int], lines: str = "") -> Path:
    """PNG images whose bright square is their mask."""
    for site, count in sites.items():
        rows = ["path,mask,patient" + (",split" if lines else "")]
        for number in range(count):
            picture(folder / site / f"{number}.png", square() // 2)
            picture(folder / site / f"{number}_mask.png", square())
            rows.append(f"{number}.png,{number}_mask.png,p{number // 2}" + lines)
        (folder / site / "manifest.csv").write_text("\n".join(rows) + "\n")
    return folder


def volumes(folder: Path, scan: np.ndarray, mask: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    (folder / "north").mkdir(parents=True)
    nibabel.Nifti1Image(scan, AFFINE).to_filename(folder / "north" / "scan.nii.gz")
    nibabel.Nifti1Image(mask, affine).to_filename(folder / "north" / "mask.nii.gz")
    (folder / "north" / "manifest.csv").write_text("path,mask\nscan.nii.gz,mask.nii.gz\n")
    return folder


def read(folder: Path, **options):
    return read_masks(folder, MasksOptions(**({"size": (20, 20), "labels": (0, 255)} | options)), 0)


def test_images_and_masks_of_two_sites(tmp_path):
    cases = read(images(tmp_path, {"north": 3, "south": 2}))
    assert cases.x.shape == cases.y.shape == (5, 20, 20)
    assert (cases.x.dtype, cases.y.dtype, cases.spatial) == (np.float32, np.uint8, 2)
    assert cases.site.tolist() == ["north"] * 3 + ["south"] * 2
    assert cases.patient.tolist() == ["p0", "p0", "p1", "p0", "p0"]
    assert np.array_equal(cases.y[0], square(value=1))
    np.testing.assert_allclose(cases.x[0], square() // 2 / 255, atol=1e-6)


def test_on_another_grid_image_and_mask_go_together(tmp_path):
    cases = read(images(tmp_path, {"north": 1}), size=(32, 48))
    assert cases.x.shape == cases.y.shape == (1, 32, 48)
    inside = cases.y[0] == 1
    assert cases.x[0][inside].min() > cases.x[0][~inside].mean() * 2


def test_colour_and_a_split_of_its_own(tmp_path):
    folder = images(tmp_path, {"north": 2}, lines=",test")
    cases = read(folder, colour=True)
    assert cases.x.shape == (2, 3, 20, 20)
    assert cases.split.tolist() == ["test", "test"]


def test_a_dicom_image_with_a_png_mask_is_cut_by_millimetres(tmp_path):
    (tmp_path / "north").mkdir()
    stored = np.arange(400, dtype="<u2").reshape(20, 20)
    dicom(stored, PixelSpacing=[2.0, 2.0]).save_as(tmp_path / "north" / "a.dcm", enforce_file_format=True)
    picture(tmp_path / "north" / "m.png", square())
    (tmp_path / "north" / "manifest.csv").write_text("path,mask\na.dcm,m.png\n")
    cases = read(tmp_path, size=(10, 10), spacing_mm=(4.0, 4.0))
    assert cases.x.shape == (1, 10, 10)
    assert cases.y[0, 3:6, 4:7].all()


def test_volumes_have_slices_rows_and_columns(tmp_path):
    scan, mask = np.zeros((6, 8, 4), np.int16), np.zeros((6, 8, 4), np.uint8)
    scan[1, 2, 3], mask[1, 2, 3] = 500, 2
    cases = read(volumes(tmp_path, scan, mask), size=(4, 8, 6), spacing_mm=(3.0, 1.0, 2.0), labels=(0, 2))
    assert (cases.x.shape, cases.y.shape, cases.spatial) == ((1, 4, 8, 6), (1, 4, 8, 6), 3)
    # right, anterior, superior in the file; slices, rows and columns run to superior, posterior and left
    assert np.argwhere(cases.y[0]).tolist() == [[3, 5, 4]]
    assert cases.x[0, 3, 5, 4] == 500


@pytest.mark.parametrize(
    ("mask", "options", "why"),
    [
        (square(19), {}, r"line 2: .*0_mask\.png: has shape \(19, 19\), its image \(20, 20\)"),
        (square(value=7), {}, r"line 2: .*0_mask\.png: holds the labels \[7\]; data.options knows \[0, 255\]"),
        (square(value=0), {}, r"line 2: .*0_mask\.png: has nothing drawn in it"),
        (np.zeros((20, 20, 3), np.uint8), {}, r"line 2: .*picture of mode RGB; a mask has one channel"),
        (square(), {"spacing_mm": (1.0, 1.0)}, r"line 2: .*0\.png: states no pixel spacing"),
        (square(), {"size": (4, 20, 20)}, r"line 2: .*0\.png: data.options.size has 3 sides; NIfTI volumes need three"),
    ],
)
def test_what_is_wrong_is_named_by_file_and_line(tmp_path, mask, options, why):
    folder = images(tmp_path, {"north": 1})
    picture(folder / "north" / "0_mask.png", mask)
    with pytest.raises(DataError, match=why) as refused:
        read(folder, **options)
    assert "manifest.csv" in str(refused.value)


def test_every_line_at_fault_is_named_at_once(tmp_path):
    folder = images(tmp_path, {"north": 3})
    for number in (0, 2):
        picture(folder / "north" / f"{number}_mask.png", square(value=9))
    with pytest.raises(DataError, match=r"(?s)line 2: .*line 4: "):
        read(folder)


def test_an_empty_mask_can_be_kept(tmp_path):
    folder = images(tmp_path, {"north": 1})
    picture(folder / "north" / "0_mask.png", square(value=0))
    assert not read(folder, empty="keep").y.any()


def test_a_jpeg_is_no_mask(tmp_path):
    folder = images(tmp_path, {"north": 1})
    picture(folder / "north" / "0_mask.jpg", square())
    (folder / "north" / "manifest.csv").write_text("path,mask\n0.png,0_mask.jpg\n")
    with pytest.raises(DataError, match=r"0_mask\.jpg: is jpeg; the mask of an image is a PNG"):
        read(folder)


def test_a_mask_may_not_leave_the_site_or_serve_twice(tmp_path):
    folder = images(tmp_path / "data", {"north": 1})
    picture(tmp_path / "outside.png", square())
    (folder / "north" / "manifest.csv").write_text("path,mask\n0.png,../../outside.png\n")
    with pytest.raises(DataError, match=r"mask '../../outside.png' leaves the site's folder"):
        read(folder)
    picture(folder / "north" / "1.png", square())
    (folder / "north" / "manifest.csv").write_text("path,mask\n0.png,0_mask.png\n1.png,0_mask.png\n")
    with pytest.raises(DataError, match=r"line 3: mask '0_mask\.png' is already on line 2"):
        read(folder)


def test_a_mask_beside_its_volume_is_refused(tmp_path):
    scan, mask = np.zeros((6, 8, 4), np.int16), np.ones((6, 8, 4), np.uint8)
    beside = AFFINE.copy()
    beside[0, 3] = 5.0
    with pytest.raises(DataError, match=r"mask\.nii\.gz: lies up to 5\.00 mm beside its image"):
        read(volumes(tmp_path / "a", scan, mask, beside), size=(4, 8, 6), labels=(0, 1))
    with pytest.raises(DataError, match=r"mask\.nii\.gz: has shape \(4, 8, 5\), its image \(4, 8, 6\)"):
        read(volumes(tmp_path / "b", scan, mask[:5]), size=(4, 8, 6), labels=(0, 1))


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"spacing_mm": (1.0, 1.0, 1.0)}, "one positive length for each"),
        ({"spacing_mm": (0.0, 1.0)}, "one positive length for each"),
        ({"size": (0, 4)}, "sides must be positive"),
        ({"labels": (0, 0)}, "one value of its own"),
        ({"labels": (0, 1, 2)}, "one value of its own"),
        ({"colour": True, "size": (4, 4, 4)}, "volumes have one channel"),
    ],
)
def test_options_that_do_not_fit_together_are_refused(tmp_path, options, why):
    with pytest.raises(ConfigError, match=why):
        read(tmp_path, **options)
