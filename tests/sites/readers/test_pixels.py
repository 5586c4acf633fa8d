from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fedmed.dicom.synthetic.phantom import write_hospitals
from fedmed.errors import DataError, MissingPart
from fedmed.sites.readers import pixels
from fedmed.sites.readers.pixels import Grid, read_pixels

WHOLE = Grid(size=8, field_of_view_mm=None, colour=False, standardise=False)
RAMP = np.arange(64, dtype=np.uint8).reshape(8, 8) * 3


def saved(folder: Path, image: Image.Image, name: str = "a.png", **options) -> Path:
    image.save(folder / name, **options)
    return folder / name


def test_grey_png_is_scaled_to_one(tmp_path: Path) -> None:
    np.testing.assert_allclose(read_pixels(saved(tmp_path, Image.fromarray(RAMP)), WHOLE), RAMP / 255, atol=1e-6)


def test_sixteen_bits_are_not_clipped_to_eight(tmp_path: Path) -> None:
    deep = RAMP.astype(np.uint16) * 300
    np.testing.assert_allclose(read_pixels(saved(tmp_path, Image.fromarray(deep)), WHOLE), deep / 65535, atol=1e-6)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P", "1"])
def test_every_png_mode_becomes_grey(tmp_path: Path, mode: str) -> None:
    image = read_pixels(saved(tmp_path, Image.fromarray(RAMP).convert(mode)), WHOLE)
    assert image.shape == (8, 8)
    assert 0 <= image.min() < image.max() <= 1


def test_jpeg_is_read_and_turned_as_its_camera_says(tmp_path: Path) -> None:
    wide = Image.fromarray(np.tile(np.array([[0, 0, 255, 255]], np.uint8).repeat(8, axis=1), (32, 1)))
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = read_pixels(saved(tmp_path, wide, "a.jpg", quality=95, exif=exif), WHOLE)
    assert upright[0].mean() < 0.1 < 0.9 < upright[-1].mean()


def test_colour_keeps_channels(tmp_path: Path) -> None:
    red = Image.new("RGB", (8, 8), (255, 0, 0))
    image = read_pixels(saved(tmp_path, red), Grid(8, None, True, False))
    assert image.shape == (3, 8, 8)
    assert image.mean(axis=(1, 2)).tolist() == [1, 0, 0]


def test_dicom_is_told_by_its_content_not_by_its_name(tmp_path: Path) -> None:
    folder = write_hospitals(tmp_path, 0, share=0.01)[0]
    path = next(folder.rglob("*.dcm")).rename(folder / "scan.png")
    image = read_pixels(path, Grid(32, 280.0, False, True))
    assert image.shape == (32, 32)
    assert abs(image.mean()) < 1e-5
    with pytest.raises(DataError, match="colour"):
        read_pixels(path, Grid(32, None, True, True))


@pytest.mark.parametrize("content", [b"", b"text", b"GIF89a" + bytes(50), b"\x89PNG\r\n\x1a\n" + bytes(60), b"\xff\xd8\xff"])
def test_what_is_no_image_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.png"):
        read_pixels(tmp_path / "a.png", WHOLE)


def test_a_cut_off_picture_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.uint8)))
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(DataError, match=r"a\.png: cannot be decoded"):
        read_pixels(path, WHOLE)


def test_too_many_pixels_are_refused_before_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path, Image.fromarray(RAMP))
    monkeypatch.setattr(pixels, "MAX_PIXELS", 63)
    with pytest.raises(DataError, match="8 x 8 pixels; at most 63"):
        read_pixels(path, WHOLE)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    with pytest.raises(DataError, match="too many pixels"):
        read_pixels(path, WHOLE)


def test_without_pillow_the_part_to_install_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path, Image.fromarray(RAMP))
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingPart, match=r"fedmed\[fl\]"):
        read_pixels(path, WHOLE)
