"""Whatever the bytes: one record, and no more memory than the limits allow. `benchmarks/fuzz_intake.py` goes on."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from fedmed.dicom.inspection import FileRecord, inspect_file
from fedmed.dicom.limits import Limits
from fedmed.dicom.reasons import Status
from fedmed.dicom.sources import of_bytes, walk
from tests.dicom.files import compressed, dataset, encoded

LIMITS = Limits(
    file_bytes=4 << 20, header_bytes=2 << 20, pixels_per_frame=1 << 20, frames=100, decoded_bytes=8 << 20, elements=9000
)
MOST = 3 * LIMITS.decoded_bytes + LIMITS.file_bytes
ZOO = ["MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm", "SC_rgb_dcmtk_+eb+cy+s4.dcm"]
ZOO += ["rtdose_rle.dcm", "rtdose_expb.dcm", "SC_rgb_jls_lossy_line.dcm", "image_dfl.dcm", "reportsi.dcm", "JPEG2000.dcm"]
WORDS = [0, 1, 0xFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF, 0xE000FFFE, 0xE00DFFFE, 0xE0DDFFFE, 0x00107FE0]


def made() -> list[bytes]:
    """Files of our own: every uncompressed syntax, bits, colours, fragments without sense."""
    grey, colour = np.arange(64, dtype="<u2").reshape(8, 8), np.arange(192, dtype="u1").reshape(8, 8, 3)
    files = [
        encoded(dataset(grey, 12, WindowCenter=5, WindowWidth=9), syntax)
        for syntax in (ImplicitVRLittleEndian, ExplicitVRBigEndian)
    ]
    files.append(encoded(dataset(grey, 12), DeflatedExplicitVRLittleEndian))
    files.append(encoded(dataset(colour, photometric="YBR_FULL", samples=3)))
    files += [
        compressed(dataset(grey), [b"\xff\xd8\xff\xd9" * 4], f"1.2.840.10008.1.2.{end}")
        for end in ("4.50", "4.90", "4.201", "5")
    ]
    return files


def ended(data: bytes) -> FileRecord:
    tracemalloc.start()
    try:
        record = inspect_file(of_bytes("fuzz", data), LIMITS)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= MOST + 4 * len(data)
    assert (record.status is Status.QUARANTINED) == (record.reason is not None)
    assert (record.status is Status.OK) == (record.shape is not None)
    if record.shape:
        assert np.prod(record.shape) <= LIMITS.decoded_bytes
    return record


@st.composite
def faults(draw: st.DrawFn) -> tuple[int, float, int, int]:
    """What to do, where (as a share of the header or of the file), with which value, over how many bytes."""
    return (
        draw(st.integers(0, 5)),
        draw(st.floats(0, 1)),
        draw(st.sampled_from(WORDS) | st.integers(0, 2**32 - 1)),
        draw(st.integers(1, 40)),
    )


def with_faults(data: bytes, many: list[tuple[int, float, int, int]]) -> bytes:
    out = bytearray(data)
    for kind, share, value, length in many:
        within = min(len(out), 2500) if value % 4 else len(out)
        at = int(share * within)
        if kind == 0:
            out[at : at + 4] = value.to_bytes(4, "little")
        elif kind == 1:
            out[at : at + 2] = (value & 0xFFFF).to_bytes(2, "little")
        elif kind == 2 and at < len(out):
            out[at] ^= 1 << value % 8
        elif kind == 3:
            del out[at : at + length]
        elif kind == 4:
            out[at:at] = out[at : at + length]
        elif value % 5 == 0:
            del out[at:]
    return bytes(out)


bounded = settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def zoo(shared_data: Path) -> list[bytes]:
    return [(shared_data / "dicom_zoo" / "pydicom" / name).read_bytes() for name in ZOO]


@bounded
@given(number=st.integers(0, len(ZOO) - 1), many=st.lists(faults(), min_size=1, max_size=6))
def test_damaged_files_of_the_zoo(zoo: list[bytes], number: int, many) -> None:
    ended(with_faults(zoo[number], many))


MADE = made()


@bounded
@given(number=st.integers(0, len(MADE) - 1), many=st.lists(faults(), min_size=1, max_size=6))
def test_damaged_files_of_our_own(number: int, many) -> None:
    ended(with_faults(MADE[number], many))


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300), st.booleans())
def test_noise(noise: bytes, preamble: bool) -> None:
    record = ended(bytes(128) + b"DICM" + noise if preamble else noise)
    assert record.status is not Status.OK


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("1.dcm", MADE[0])
        with archive.open(zipfile.ZipInfo("2.dcm"), "w", force_zip64=True) as member:
            member.write(MADE[1])
        archive.writestr(zipfile.ZipInfo("3.dcm"), MADE[2], zipfile.ZIP_DEFLATED)
    return file.getvalue()


ZIPPED = zipped()
# Where names and sizes stand: the table of contents and the record after it.
CONTENTS = ZIPPED.index(b"PK\1\2")


@bounded
@given(many=st.lists(faults(), min_size=1, max_size=5))
@example(many=[(1, 28.1 / (len(ZIPPED) - CONTENTS), 0, 1)])  # a member without a name
def test_damaged_archives(tmp_path_factory: pytest.TempPathFactory, many) -> None:
    damaged = ZIPPED[:CONTENTS] + with_faults(ZIPPED[CONTENTS:], many)
    path = tmp_path_factory.getbasetemp() / "fuzz.zip"
    path.write_bytes(damaged)
    records = [inspect_file(source, LIMITS) for source in walk(path, LIMITS)]
    assert all((record.status is Status.QUARANTINED) == (record.reason is not None) for record in records)
