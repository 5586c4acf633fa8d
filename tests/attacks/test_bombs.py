"""Files made to exhaust whoever opens them: each must end as a record, with little memory."""

from __future__ import annotations

import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from fedmed.dicom.inspection import FileRecord, inspect_file
from fedmed.dicom.limits import Limits
from fedmed.dicom.reasons import Reason, Status
from fedmed.dicom.sources import of_bytes, walk
from tests.dicom.files import UNDEFINED, by_hand, dataset, element, encoded, item

MEGABYTE = 1024**2


@contextmanager
def memory(most: int) -> Iterator[None]:
    """Fails where more than `most` bytes were allocated at a time, NumPy's arrays included."""
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak <= most


def ended(data: bytes, limits: Limits | None = None) -> FileRecord:
    return inspect_file(of_bytes("bomb", data), limits or Limits())


def sized(rows: int, columns: int, frames: int = 1, syntax: str = "1.2.840.10008.1.2.1", pixels: bytes = bytes(64)) -> bytes:
    found = dataset(np.zeros((2, 2), "<u2"))
    found.Rows, found.Columns, found.NumberOfFrames = rows, columns, frames
    del found.PixelData
    data = encoded(found)
    told = element(0x00020010, "UI", b"1.2.840.10008.1.2.1\0")
    assert told in data
    lies = element(0x00020010, "UI", syntax.encode() + b"\0" * (len(syntax) % 2))
    tail = element(0x7FE00010, "OB", item(b"") + item(pixels) + b"\xfe\xff\xdd\xe0\0\0\0\0", UNDEFINED)
    return data.replace(told, lies) + (
        tail if syntax.startswith("1.2.840.10008.1.2.4") else element(0x7FE00010, "OW", pixels)
    )


@pytest.mark.parametrize("sizes", [(65_535, 65_535, 1), (8192, 8192, 20_000), (16_000, 16_000, 16), (65_535, 1, 20_000)])
@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.90"])
def test_huge_sizes_with_few_bytes(sizes, syntax: str) -> None:
    with memory(2 * MEGABYTE):
        record = ended(sized(*sizes, syntax=syntax))
    assert record.reason in (Reason.TOO_LARGE, Reason.TRUNCATED)


def test_codestreams_that_are_larger_than_their_header_says() -> None:
    size = struct.pack(">2sH H 8I H", b"\xff\x51", 41, 0, 60_000, 60_000, 0, 0, 60_000, 60_000, 0, 0, 1) + b"\7\1\1"
    jpeg = b"\xff\xd8\xff\xc0\0\x0b\x08\xff\xff\xff\xff\1\1\x11\0\xff\xd9"
    for syntax, frame in (("90", b"\xff\x4f" + size + b"\xff\xd9"), ("50", jpeg), ("80", jpeg.replace(b"\xc0", b"\xf7"))):
        with memory(2 * MEGABYTE):
            record = ended(sized(100, 100, syntax=f"1.2.840.10008.1.2.4.{syntax}", pixels=frame + b"\0" * (len(frame) % 2)))
        assert (record.status, record.reason) == (Status.QUARANTINED, Reason.DECODE_FAILED)


def test_a_jpeg_of_countless_scans() -> None:
    frame = b"\xff\xd8" + b"\xff\xda\0\x02" * 5000 + b"\xff\xd9"
    record = ended(sized(100, 100, syntax="1.2.840.10008.1.2.4.50", pixels=frame))
    assert "scans" in record.detail


def test_countless_tiles_and_components() -> None:
    for tile, parts in ((1, 1), (4096, 16_384)):
        size = (
            struct.pack(">2sH H 8I H", b"\xff\x51", 38 + 3 * parts, 0, 4096, 4096, 0, 0, tile, tile, 0, 0, parts)
            + b"\7\1\1" * parts
        )
        frame = b"\xff\x4f" + size + b"\xff\xd9"
        record = ended(sized(4096, 4096, syntax="1.2.840.10008.1.2.4.90", pixels=frame + b"\0" * (len(frame) % 2)))
        assert record.reason is Reason.DECODE_FAILED


def test_deep_sequences() -> None:
    nested = b""
    for _ in range(3000):
        nested = element(0x00081140, "SQ", item(nested, UNDEFINED) + b"\xfe\xff\xdd\xe0\0\0\0\0", UNDEFINED)
    assert ended(by_hand(nested)).reason is Reason.TOO_LARGE


@pytest.mark.parametrize("tag", [0x00091001, 0x00080008])
def test_millions_of_tiny_elements(tag: int) -> None:
    data = by_hand(element(tag, "CS", b"") * 150_000)
    with memory(16 * MEGABYTE):
        assert ended(data, Limits(elements=50_000)).reason is Reason.TOO_LARGE


def test_millions_of_items_and_fragments() -> None:
    items = element(0x52009230, "SQ", item(b"") * 100_000, UNDEFINED)
    assert ended(by_hand(items), Limits(elements=50_000)).reason is Reason.TOO_LARGE
    frame = item(b"") * 100_000
    record = ended(sized(10, 10, syntax="1.2.840.10008.1.2.4.90", pixels=b"ab").replace(item(b"ab"), frame))
    assert record.status is Status.QUARANTINED


def test_values_longer_than_the_file() -> None:
    for length in (0x7FFFFFFE, 0xFFFFFFFE):
        with memory(MEGABYTE):
            assert ended(by_hand(element(0x00091001, "OB", b"abcd", length))).reason is Reason.UNREADABLE
            assert ended(by_hand(element(0x00281201, "OW", b"abcd", length))).reason is Reason.UNREADABLE


def test_a_deflated_bomb() -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = b"".join(packer.compress(bytes(MEGABYTE)) for _ in range(64)) + packer.flush()
    data = bytes(128) + b"DICM" + element(0x00020010, "UI", b"1.2.840.10008.1.2.1.99") + packed
    with memory(20 * MEGABYTE):
        assert ended(data, Limits(file_bytes=8 * MEGABYTE)).reason is Reason.TOO_LARGE
    with memory(30 * MEGABYTE):
        assert ended(data, Limits(expansion=100)).reason is Reason.TOO_LARGE


def test_a_deflated_frame_that_is_a_bomb() -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    frame = packer.compress(bytes(32 * MEGABYTE)) + packer.flush()
    data = sized(100, 100, syntax="1.2.840.10008.1.2.4.90", pixels=frame + b"\0" * (len(frame) % 2))
    data = data.replace(b"1.2.840.10008.1.2.4.90", b"1.2.840.10008.1.2.8.1\0")
    with memory(2 * MEGABYTE):
        assert ended(data).reason is Reason.DECODE_FAILED


def test_zip_bombs(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "one.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("big.dcm", bytes(64 * MEGABYTE))
        archive.writestr("small.dcm", encoded(dataset(np.zeros((2, 2), "<u2"))))
    with memory(2 * MEGABYTE):
        records = {source.name: inspect_file(source, Limits()) for source in walk(tmp_path, Limits(expansion=500))}
    assert records["one.zip!big.dcm"].reason is Reason.TOO_LARGE
    assert records["one.zip!small.dcm"].status is Status.OK


def test_many_members_of_one_body(tmp_path: Path) -> None:
    """As in David Fifield's bomb, whose entries all point at the same compressed bytes."""
    path = tmp_path / "one.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.dcm", bytes(MEGABYTE // 2))
    content = path.read_bytes()
    at, end = content.index(b"PK\1\2"), content.index(b"PK\5\6")
    entry, count = content[at:end], 400
    record = bytearray(content[end:])
    struct.pack_into("<HHI", record, 8, count, count, len(entry) * count)
    path.write_bytes(content[:at] + entry * count + record)
    records = [inspect_file(source, Limits()) for source in walk(tmp_path, Limits(expansion=1200))]
    assert len(records) < 60
    assert records[-1].reason is Reason.TOO_LARGE


def test_a_zip_whose_table_of_contents_is_a_bomb(tmp_path: Path) -> None:
    record = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 65535, 65535, 0x7FFFFFFF, 0, 0)
    (tmp_path / "one.zip").write_bytes(bytes(1000) + record)
    [source] = walk(tmp_path)
    assert inspect_file(source).reason is Reason.TOO_LARGE


def test_a_palette_that_repeats_itself_without_end() -> None:
    from fedmed.dicom.palettes import palette_colours
    from fedmed.dicom.reasons import Untrusted
    from tests.dicom.files import opened

    found = dataset(np.zeros((2, 2), "u1"), photometric="PALETTE COLOR")
    loop = struct.pack("<3H3H", 0, 1, 7, 2, 65_535, 0) + b"\0\0"
    for colour in ("Red", "Green", "Blue"):
        setattr(found, f"{colour}PaletteColorLookupTableDescriptor", [0, 0, 16])
        setattr(found, f"Segmented{colour}PaletteColorLookupTableData", loop)
    instance = opened(encoded(found))
    with memory(8 * MEGABYTE), pytest.raises(Untrusted, match="palette"):
        palette_colours(instance, np.zeros((2, 2), "u1"))
