"""Every file of the zoo ends as EXPECTED.tsv says: pydicom's digest, no pixels, or set aside with a reason."""

from __future__ import annotations

import csv
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest

from fedmed.dicom.inspection import FileRecord, inspect_file
from fedmed.dicom.instance import read_instance
from fedmed.dicom.pixels import decode
from fedmed.dicom.reasons import Reason, Status
from fedmed.dicom.sources import Source, walk

SET_ASIDE = {
    "fo-dicom/CR-MONO1-10-chest": Reason.NO_TRANSFER_SYNTAX,
    "fo-dicom/GH1146.dcm": Reason.TRUNCATED,
    "fo-dicom/GH177_D_CLUNIE_CT1_IVRLE_BigEndian_undefined_length.dcm": Reason.UNREADABLE,
    "fo-dicom/genFile.dcm": Reason.DECODE_FAILED,
    "fo-dicom/multiframe.dcm": Reason.DECODE_FAILED,
    "misc/tag_after_pixel": Reason.DECODE_FAILED,
    "pydicom/MR_truncated.dcm": Reason.TRUNCATED,
    "pydicom/badVR.dcm": Reason.BAD_ATTRIBUTE,
    "pydicom/nested_priv_SQ.dcm": Reason.BAD_ATTRIBUTE,
}
# pydicom comes to the end of these and finds no pixels; they are damaged before that end.
DAMAGED_BEFORE_PIXELS = {
    "fo-dicom/GH179B.dcm": Reason.UNREADABLE,
    "fo-dicom/GH626.dcm": Reason.UNREADABLE,
    "pydicom/rtplan_truncated.dcm": Reason.UNREADABLE,
}
# The decoders behind EXPECTED.tsv give up on these; ours give what a file of the same pixels holds.
BEYOND_EXPECTED = {
    "pydicom-data/liver_deflate.dcm": "pydicom-data/liver.dcm",
    "pydicom-data/liver_rle.dcm": "pydicom-data/liver.dcm",
    "pydicom-data/liver_nonbyte_aligned_deflate.dcm": "pydicom-data/liver_nonbyte_aligned.dcm",
    "pydicom-data/liver_nonbyte_aligned_rle.dcm": "pydicom-data/liver_nonbyte_aligned.dcm",
}
# 12-bit JPEG, which the decoders behind EXPECTED.tsv read not or otherwise, and an uncompressed file of the same picture.
EXTENDED_JPEG = {
    "wg04/MR1_JPLY": "wg04/MR1_UNC.zst",
    "wg04/NM1_JPLY": "wg04/NM1_UNC.zst",
    "wg04/XA1_JPLY": "wg04/XA1_JPLL",
    "pydicom/JPGExtended.dcm": "wg04/NM1_UNC.zst",
}
GE = "misc/PrivateGEImplicitVRBigEndianTransferSyntax16Bits.dcm"
TWINS = [
    ["wg04/CT1_J2KR", "wg04/CT1_JLSL", "wg04/CT1_JPLL", "wg04/CT1_RLE", "fo-dicom/D_CLUNIE_CT1_RLE_FRAGS.dcm"],
    ["wg04/CT2_J2KR", "wg04/CT2_JLSL", "wg04/CT2_JPLL", "wg04/CT2_RLE"],
    ["wg04/MR1_UNC.zst", "wg04/MR1_JLSL", "wg04/MR1_JPLL", "wg04/MR1_RLE"],
    ["wg04/MR4_J2KR", "wg04/MR4_JLSL", "wg04/MR4_JPLL"],
    ["wg04/NM1_UNC.zst", "wg04/NM1_J2KR", "wg04/NM1_JLSL", "wg04/NM1_JPLL"],
    ["wg04/US1_UNC.zst", "wg04/US1_J2KR", "wg04/US1_RLE"],
    ["wg04/XA1_JLSL", "wg04/XA1_JPLL"],
    ["pydicom-data/emri_small.dcm", "pydicom-data/emri_small_RLE.dcm", "pydicom-data/emri_small_jpeg_ls_lossless.dcm"],
    ["pydicom/MR_small.dcm", "pydicom/MR_small_RLE.dcm", "pydicom/MR_small_jp2klossless.dcm", "pydicom/MR_small_padded.dcm"],
    ["misc/JPEG2000-RGB.dcm", "misc/JPEGLS-RGB.dcm", "misc/losslessJPEG-RGB.dcm"],
    ["misc/JPEG2000-YBR_FULL.dcm", "misc/RLE-YBR_FULL.dcm"],
    ["pydicom-data/color-pl.dcm", "pydicom-data/color-px.dcm"],
    ["pydicom/rtdose.dcm", "pydicom/rtdose_rle.dcm"],
]
LOSSY_SYNTAXES = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.81", "1.2.840.10008.1.2.4.91")


@pytest.fixture(scope="module")
def sources(shared_data: Path) -> dict[str, Source]:
    return {source.name: source for source in walk(shared_data / "dicom_zoo")}


@pytest.fixture(scope="module")
def expected(shared_data: Path) -> dict[str, dict[str, str]]:
    with (shared_data / "dicom_zoo" / "EXPECTED.tsv").open(encoding="utf-8", newline="") as stream:
        return {row["file"]: row for row in csv.DictReader(stream, delimiter="\t")}


@pytest.fixture(scope="module")
def records(sources: dict[str, Source]) -> dict[str, FileRecord]:
    return {name: inspect_file(source) for name, source in sources.items()}


def pixels(source: Source) -> np.ndarray:
    return decode(read_instance(source))


def test_every_file_is_there(sources, expected) -> None:
    assert len(expected) >= 160
    assert set(expected) <= set(sources)


def test_what_pydicom_decodes_has_its_shape_and_digest(records, expected) -> None:
    decoded = {name for name, row in expected.items() if row["decode"] == "ok"}
    wrong = {}
    for name in decoded - set(EXTENDED_JPEG):
        record, row = records[name], expected[name]
        found = (record.status, "x".join(map(str, record.shape or ())), record.pixel_sha256)
        if found != (Status.OK, row["shape"], row["pix_sha256"]):
            wrong[name] = record
    assert not wrong
    assert len(decoded) >= 128


def test_what_has_no_pixels_says_so(records, expected) -> None:
    without = {name for name, row in expected.items() if row["decode"] == "no-pixels"} - set(DAMAGED_BEFORE_PIXELS)
    assert len(without) >= 11
    assert {records[name].status for name in without} == {Status.NO_PIXELS}


def test_what_is_no_dicom_says_so(records, expected) -> None:
    others = set(records) - set(expected)
    assert {"EXPECTED.tsv", "pydicom/README.txt"} <= others
    assert {records[name].status for name in others} == {Status.NOT_DICOM}


def test_the_rest_is_set_aside_with_the_right_reason_or_decoded_beyond_it(records, expected) -> None:
    reasons = {**SET_ASIDE, **DAMAGED_BEFORE_PIXELS}
    assert {name: record.reason for name, record in records.items() if record.status is Status.QUARANTINED} == reasons
    rest = {name for name, row in expected.items() if row["decode"] not in ("ok", "no-pixels")}
    assert rest == {*SET_ASIDE, *BEYOND_EXPECTED, *EXTENDED_JPEG, GE} - {"pydicom/JPGExtended.dcm"}


@pytest.mark.parametrize("names", [*TWINS, *([beyond, twin] for beyond, twin in BEYOND_EXPECTED.items())])
def test_lossless_twins_are_equal_across_syntaxes(records, names: list[str]) -> None:
    assert len({(records[name].shape, records[name].pixel_sha256) for name in names}) == 1
    assert records[names[0]].pixel_sha256


@pytest.mark.parametrize("name", EXTENDED_JPEG)
def test_twelve_bit_jpeg_is_what_simpleitk_reads_and_close_to_its_original(sources, name: str) -> None:
    simpleitk = pytest.importorskip("SimpleITK")
    found, truth = pixels(sources[name]).astype(int), pixels(sources[EXTENDED_JPEG[name]]).astype(int)
    peer = simpleitk.GetArrayFromImage(simpleitk.ReadImage(sources[name].place[0]))[0].astype(int)
    assert np.abs(found - peer).max() <= 1
    assert abs((found - truth).mean()) < 1
    assert np.corrcoef(found.ravel(), truth.ravel())[0, 1] > 0.98


def test_ge_pixels_are_what_simpleitk_reads(sources) -> None:
    simpleitk = pytest.importorskip("SimpleITK")
    instance = read_instance(sources[GE])
    rescale = instance.header.rescales[0]
    peer = simpleitk.GetArrayFromImage(simpleitk.ReadImage(sources[GE].place[0]))[0]
    np.testing.assert_array_equal(decode(instance) * rescale.slope + rescale.intercept, peer)


def test_lossy_pixels_are_within_a_level_of_another_decoder(sources, expected) -> None:
    """The peers are those of pydicom's plugins that are installed here: gdcm, openjpeg, pyjpegls, pillow."""
    compared = 0
    for name, row in expected.items():
        if row["ts"] not in LOSSY_SYNTAXES or row["decode"] != "ok" or int(row["bytes"]) > 1_000_000:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            peer = pydicom.dcmread(sources[name].place[0]).pixel_array
        difference = np.abs(pixels(sources[name]).astype(int) - peer.astype(int))
        assert difference.max() <= 1, name
        compared += 1
    assert compared >= 20


def test_threads_change_nothing(sources, records) -> None:
    for name in (
        "pydicom-data/emri_small_RLE.dcm",
        "pydicom-data/emri_small_jpeg_ls_lossless.dcm",
        "misc/mr_enh_color_lossy.dcm",
    ):
        assert inspect_file(sources[name], workers=4) == records[name]
