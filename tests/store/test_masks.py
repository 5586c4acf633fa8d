from __future__ import annotations

import gzip
import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.errors import DataError
from fedmed.store import masks
from fedmed.store.masks import only_pixels, read_mask

NAME = b"Jane Doe"


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(*more: bytes) -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 8, 0, 0, 0, 0))
    return masks.PNG + head + b"".join(more) + chunk(b"IDAT", zlib.compress(b"\0\1\2\0\3\4")) + chunk(b"IEND", b"")


def nifti(voxels: bytes = bytes(range(64)), order: str = "<", extension: bytes = b"") -> bytes:
    header = bytearray(348)
    struct.pack_into(f"{order}i", header, 0, 348)
    struct.pack_into(f"{order}8h", header, 40, 3, 4, 4, 4, 1, 1, 1, 1)
    struct.pack_into(f"{order}2h", header, 70, 2, 8)
    struct.pack_into(f"{order}f", header, 108, 352 + len(extension))
    for place, size in ((4, 10), (14, 18), (148, 80), (228, 24), (328, 16)):
        header[place : place + size] = NAME.ljust(size, b"\0")[:size]
    header[344:348] = b"n+1\0"
    return bytes(header) + bytes((bool(extension), 0, 0, 0)) + extension + voxels


def test_texts_of_a_png_go():
    spoilt = png(chunk(b"tEXt", b"Author\0" + NAME), chunk(b"tIME", bytes(7)), chunk(b"eXIf", NAME)) + NAME
    assert only_pixels("a", spoilt) == png()
    assert only_pixels("a", png()) == png()


@pytest.mark.parametrize("order", ["<", ">"])
def test_texts_and_extensions_of_a_nifti_go_and_voxels_stay(order):
    extension = struct.pack("<2i", 32, 6) + NAME.ljust(24)
    cleaned = only_pixels("a", nifti(order=order, extension=extension))
    assert NAME not in cleaned
    assert cleaned[352:] == bytes(range(64))
    assert cleaned[40:56] == nifti(order=order)[40:56]
    assert only_pixels("a", cleaned) == cleaned


def test_a_zipped_nifti_has_no_name_and_no_time():
    wrapped = BytesIO()
    with gzip.GzipFile("Jane Doe.nii", "wb", fileobj=wrapped) as file:
        file.write(nifti())
    cleaned = only_pixels("a", wrapped.getvalue())
    assert NAME not in cleaned
    assert cleaned[4:8] == bytes(4)
    assert gzip.decompress(cleaned) == only_pixels("a", nifti())


def test_nibabel_reads_what_is_left(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    made = nibabel.Nifti1Image(np.arange(24, dtype=np.int16).reshape(2, 3, 4), np.diag([1.5, 2, 3, 1]))
    made.header["descrip"] = NAME
    nibabel.save(made, tmp_path / "mask.nii.gz")
    (tmp_path / "clean.nii.gz").write_bytes(only_pixels("a", (tmp_path / "mask.nii.gz").read_bytes()))
    again = nibabel.load(tmp_path / "clean.nii.gz")
    assert (again.get_fdata() == made.get_fdata()).all()
    assert (again.affine == made.affine).all()
    assert not again.header["descrip"].tobytes().strip(b"\0")


@pytest.mark.parametrize(
    "data",
    [b"", b"GIF89a", png()[:-20], nifti()[:351], gzip.compress(b"x" * 400), gzip.compress(nifti())[:-9]],
    ids=["nothing", "gif", "half-png", "half-nifti", "no-nifti", "half-gzip"],
)
def test_what_is_no_whole_mask_is_refused(data):
    with pytest.raises(DataError):
        only_pixels("a", data)


def test_a_bomb_is_refused(monkeypatch):
    monkeypatch.setattr(masks, "MAX_BYTES", 1000)
    with pytest.raises(DataError, match="unpacked"):
        only_pixels("a", gzip.compress(nifti(bytes(10_000))))


@given(st.binary(max_size=400))
def test_any_bytes_are_stripped_or_refused(data):
    for begin in (b"", masks.PNG, nifti()[:300], b"\x1f\x8b"):
        try:
            assert only_pixels("a", begin + data)
        except DataError:
            continue


def test_a_mask_is_read_with_its_ending(tmp_path):
    (tmp_path / "Jane Doe.nii.gz").write_bytes(gzip.compress(nifti()))
    content, ending = read_mask(tmp_path, "Jane Doe.nii.gz")
    assert ending == ".nii.gz"
    assert gzip.decompress(content) == only_pixels("a", nifti())


@pytest.mark.parametrize("cell", ["none.png", "../outside.png", "/etc/passwd", "."])
def test_a_mask_that_is_not_beside_its_table_is_refused(tmp_path, cell):
    (tmp_path / "outside.png").write_bytes(png())
    (tmp_path / "tables").mkdir()
    with pytest.raises(DataError, match="below the folder of its table"):
        read_mask(tmp_path / "tables", cell)
