"""Every codec there and back, sign and width included, and what happens where imagecodecs is not installed."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from fedmed.dicom.decoders import codecs, compressed, plugins
from fedmed.dicom.inspection import inspect_file
from fedmed.dicom.pixels import decode
from fedmed.dicom.reasons import Reason, Status, Untrusted
from fedmed.dicom.sources import of_file
from tests.dicom.files import compressed as file_of
from tests.dicom.files import dataset, opened

imagecodecs = pytest.importorskip("imagecodecs")

J2K, J2K_LOSSY, HTJ2K = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91", "1.2.840.10008.1.2.4.201"
JPEG_LS, JPEG_LOSSLESS, JPEG = "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.50"


def smooth(kind: str, bits: int, samples: int = 1, rows: int = 24, columns: int = 17) -> np.ndarray:
    """A ramp over all that the bits can hold, with a little noise."""
    info = np.iinfo(kind)
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if info.min else (0, (1 << bits) - 1)
    shape = (rows, columns) if samples == 1 else (rows, columns, samples)
    ramp = np.linspace(low, high, rows * columns * samples).reshape(shape)
    return np.clip(ramp + np.random.default_rng(1).normal(0, 3, shape), low, high).astype(kind)


ENCODERS = {
    JPEG_LS: lambda values: imagecodecs.jpegls_encode(values, level=0),
    JPEG_LOSSLESS: lambda values: imagecodecs.ljpeg_encode(values, bitspersample=8 * values.itemsize),
    J2K: lambda values: imagecodecs.jpeg2k_encode(values, level=0, codecformat="J2K", reversible=True),
    HTJ2K: lambda values: imagecodecs.htj2k_encode(values, reversible=True),
}


@pytest.mark.parametrize("syntax", ENCODERS)
@pytest.mark.parametrize(("kind", "bits"), [("<u1", 8), ("<u2", 12), ("<u2", 16), ("<i2", 12), ("<i2", 16)])
def test_lossless_grey_comes_back(syntax: str, kind: str, bits: int) -> None:
    values = smooth(kind, bits)
    words = values
    if syntax in (JPEG_LS, JPEG_LOSSLESS) and values.dtype.kind == "i":  # these know no sign: the words are written
        words = values.view("<u2")
        words = words & ((1 << bits) - 1) if bits < 16 else words
    frame = bytes(ENCODERS[syntax](words))
    np.testing.assert_array_equal(decode(opened(file_of(dataset(values, bits), [frame], syntax))), values)


@pytest.mark.parametrize("syntax", [JPEG_LS, J2K, HTJ2K, JPEG_LOSSLESS])
def test_lossless_colour_comes_back(syntax: str) -> None:
    values = smooth("u1", 8, samples=3)
    jpeg = {"lossless": True, "colorspace": "RGB", "outcolorspace": "RGB"}
    frame = bytes(imagecodecs.jpeg8_encode(values, **jpeg) if syntax == JPEG_LOSSLESS else ENCODERS[syntax](values))
    found = dataset(values, photometric="RGB", samples=3)
    np.testing.assert_array_equal(decode(opened(file_of(found, [frame], syntax))), values)


@pytest.mark.parametrize("signed_stream", [False, True])
def test_a_jpeg2000_stream_of_the_other_sign_is_read_by_its_bits(signed_stream: bool) -> None:
    """Bits Stored 13, as in J2K_pixelrep_mismatch.dcm of pydicom's test files."""
    values = smooth("<u2", 12) if signed_stream else smooth("<i2", 13)
    words = values.astype("<i2") if signed_stream else (values.view("<u2") & 0x1FFF).astype("<u2")
    frame = bytes(imagecodecs.jpeg2k_encode(words, level=0, codecformat="J2K", reversible=True, bitspersample=13))
    found = dataset(values, 13)
    np.testing.assert_array_equal(decode(opened(file_of(found, [frame], J2K))), values)


def test_frames_in_several_fragments_and_without_offset_table() -> None:
    values = np.stack([smooth("<u2", 12, rows=8) + number for number in range(3)])
    frames = [bytes(ENCODERS[J2K](frame)) for frame in values]
    whole = opened(file_of(dataset(values, 16, frames=3), frames, J2K, table=False))
    np.testing.assert_array_equal(decode(whole), values)
    np.testing.assert_array_equal(decode(whole, workers=3), values)


@pytest.mark.parametrize("change", [(1, 0, 0), (0, 1, 0), (0, 0, 2)])
def test_a_frame_of_another_size_than_the_header_says_is_refused_before_it_is_decoded(change) -> None:
    values = smooth("u1", 8)
    found = dataset(values)
    found.Rows += change[0]
    found.Columns += change[1]
    found.SamplesPerPixel += change[2]
    if change[2]:
        found.PhotometricInterpretation, found.PlanarConfiguration = "RGB", 0
    for syntax in (JPEG_LS, J2K, JPEG_LOSSLESS):
        with pytest.raises(Untrusted, match="its header says") as error:
            decode(opened(file_of(found, [bytes(ENCODERS[syntax](values))], syntax)))
        assert error.value.reason is Reason.DECODE_FAILED


def test_a_frame_of_more_bits_than_are_allocated_is_refused() -> None:
    with pytest.raises(Untrusted, match="16 bits a sample; 8 are allocated"):
        decode(opened(file_of(dataset(smooth("u1", 8)), [bytes(ENCODERS[J2K](smooth("<u2", 16)))], J2K)))


@pytest.mark.parametrize("syntax", ENCODERS)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_cut_off_frame_is_refused(syntax: str, share: float) -> None:
    values = smooth("<u2", 12, rows=64, columns=64)
    frame = bytes(ENCODERS[syntax](values))
    with pytest.raises(Untrusted) as error:
        decode(opened(file_of(dataset(values, 16), [frame[: int(len(frame) * share)]], syntax)))
    assert error.value.reason in (Reason.DECODE_FAILED, Reason.TRUNCATED)


def colour(**options) -> bytes:
    return bytes(imagecodecs.jpeg8_encode(smooth("u1", 8, 3, 32, 32), level=95, subsampling="444", **options))


def test_colours_of_jpeg_are_told_by_its_markers_before_the_header() -> None:
    values = smooth("u1", 8, 3, 32, 32)
    marked = colour()  # JFIF: YBR, whatever the header says
    assert b"JFIF" in marked
    for photometric in ("RGB", "YBR_FULL", "YBR_FULL_422"):
        found = dataset(values, photometric=photometric, samples=3)
        pixels = decode(opened(file_of(found, [marked], JPEG)))
        assert np.abs(pixels.astype(int) - values).max() < 12, photometric


@pytest.fixture
def without_imagecodecs(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine where it was never installed."""
    found = importlib.util.find_spec
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    for module in (codecs, sys.modules["fedmed.dicom.decoders.rle"]):
        monkeypatch.setattr(module, "find_spec", lambda name: None if name == "imagecodecs" else found(name))


@pytest.mark.usefixtures("without_imagecodecs")
@pytest.mark.parametrize(
    "name", ["MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm", "SC_rgb_rle.dcm"]
)
def test_pydicoms_plugins_give_the_same(shared_data: Path, name: str) -> None:
    path = shared_data / "dicom_zoo" / "pydicom" / name
    assert compressed.backend_for(opened(path.read_bytes()).header.transfer_syntax) is plugins
    record = inspect_file(of_file(path, name))
    assert record.status is Status.OK
    assert record.pixel_sha256 == {"MR": "88617aaa46138fb1", "SC": "169e619557b12114"}[name[:2]]


@pytest.mark.usefixtures("without_imagecodecs")
def test_what_no_plugin_reads_names_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "find_spec", lambda name: None)
    with pytest.raises(
        Untrusted, match=r"JPEG 2000 Lossless .* needs imagecodecs \(fedmed\[imaging\]\), or python-gdcm"
    ) as error:
        compressed.backend_for(J2K)
    assert error.value.reason is Reason.NO_DECODER


def test_the_gpl_plugin_is_never_asked_for() -> None:
    for syntax, choices in plugins.PLUGINS.items():
        for name, modules in choices:
            assert "libjpeg" not in modules
            if name == "pylibjpeg":
                assert syntax not in plugins.JPEG
                assert syntax not in plugins.JPEG_LS


def test_nothing_but_zeros_from_many_bytes_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As nvimgcodec has returned for 12-bit JPEG; true zeros are small in every codec."""
    values = smooth("<u2", 12, rows=200, columns=200)
    for syntax, encode in ENCODERS.items():
        assert not decode(opened(file_of(dataset(values * 0), [bytes(encode(values * 0))], syntax))).any()
    noise = np.random.default_rng(1).integers(0, 4095, (200, 200)).astype("<u2")
    frame = bytes(ENCODERS[JPEG_LS](noise))
    monkeypatch.setattr(imagecodecs, "jpegls_decode", lambda data: noise * 0)
    with pytest.raises(Untrusted, match="nothing but zeros") as error:
        decode(opened(file_of(dataset(noise), [frame], JPEG_LS)))
    assert error.value.reason is Reason.DECODE_FAILED
