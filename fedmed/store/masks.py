"""Masks that are no DICOM: their pixels alone, for their headers have room for names."""

from __future__ import annotations

import gzip
import struct
import zlib
from io import BytesIO
from pathlib import Path

from fedmed.errors import DataError

MAX_BYTES = 4 * 1024**3
"""Of a mask, unpacked."""
PNG = b"\x89PNG\r\n\x1a\n"
# The chunks that a picture cannot be drawn without (PNG, ISO/IEC 15948, clause 5.6), and its transparency.
_CHUNKS = frozenset((b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS"))
_NIFTI_HEADER, _NIFTI_DATA = 348, 352
# Of a NIfTI-1 header: data_type, db_name, descrip, aux_file, intent_name; texts that any program fills as it likes.
_TEXTS = ((4, 10), (14, 18), (148, 80), (228, 24), (328, 16))
_OFFSET, _MAGIC = 108, (344, b"n+1\0")


def only_pixels(name: str, data: bytes) -> bytes:
    """A PNG or NIfTI-1 file, plain or gzipped, with its pixels and geometry and without texts and extensions.

    Raises DataError for other files, and for one that is not whole or larger than `MAX_BYTES`. `name` is used for errors.
    """
    if data.startswith(PNG):
        return _png(name, data)
    if data.startswith(b"\x1f\x8b"):
        # No time and no file name in the new wrapping.
        return gzip.compress(_nifti(name, _unpacked(name, data)), mtime=0)
    return _nifti(name, data)


def _png(name: str, data: bytes) -> bytes:
    pieces, place = [PNG], len(PNG)
    while place + 12 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, place)
        end = place + 12 + size
        if end > len(data):
            break
        if kind in _CHUNKS:
            pieces.append(data[place:end])
        if kind == b"IEND":
            return b"".join(pieces)
        place = end
    raise DataError(f"{name}: is not a whole PNG file")


def _unpacked(name: str, data: bytes) -> bytes:
    try:
        with gzip.GzipFile(fileobj=BytesIO(data)) as file:
            found = file.read(MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{name}: cannot be unpacked ({error})") from error
    if len(found) > MAX_BYTES:
        raise DataError(f"{name}: more than {MAX_BYTES} bytes unpacked")
    return found


def _nifti(name: str, data: bytes) -> bytes:
    order = next((order for order in "<>" if data[:4] == struct.pack(f"{order}i", _NIFTI_HEADER)), None)
    if order is None or len(data) < _NIFTI_DATA or data[_MAGIC[0] : _NIFTI_HEADER] != _MAGIC[1]:
        raise DataError(f"{name}: masks are PNG or NIfTI-1 in one file (.nii, .nii.gz); this is neither")
    header = bytearray(data[:_NIFTI_HEADER])
    [start] = struct.unpack_from(f"{order}f", header, _OFFSET)
    if not _NIFTI_DATA <= start <= len(data):
        raise DataError(f"{name}: its voxels begin at byte {start}, of {len(data)}")
    for place, size in _TEXTS:
        header[place : place + size] = bytes(size)
    struct.pack_into(f"{order}f", header, _OFFSET, _NIFTI_DATA)
    return bytes(header) + bytes(4) + data[int(start) :]


def read_mask(folder: Path, cell: str) -> tuple[bytes, str]:
    """The pixels alone of the mask that a table in `folder` names, and the ending that such a file's name has.

    Raises DataError for a file that is not there, lies outside of `folder`, or is no mask.
    """
    source = (folder / cell).resolve()
    if not source.is_relative_to(folder.resolve()) or not source.is_file():
        raise DataError(f"{cell}: a mask must be a file below the folder of its table, {folder}")
    try:
        if source.stat().st_size > MAX_BYTES:
            raise DataError(f"{cell}: {source.stat().st_size} bytes; at most {MAX_BYTES} are copied")
        content = source.read_bytes()
    except OSError as error:
        raise DataError(f"{cell}: cannot be read ({error.strerror})") from error
    return only_pixels(cell, content), ".nii.gz" if source.name.endswith(".nii.gz") else source.suffix.lower()
