"""Zip and Zstandard files as sources, bounded before anything is unpacked."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from fedmed.dicom.limits import Limits
from fedmed.dicom.reasons import Reason, Untrusted
from fedmed.dicom.sources import Source, refused, unpacked

MAX_DIRECTORY_BYTES = 32 * 1024**2
"""Of an archive's table of contents, which must be read whole: some 300,000 files."""
ENCRYPTED = 0x1

# What zipfile raises for an archive or member that is damaged or of a kind it does not read.
DAMAGED = (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError, OSError, ValueError, struct.error)


def members(path: Path, whole: Source, limits: Limits) -> Iterator[Source]:
    """One source a file in the zip archive at `path`, in the order of their names; a damaged one is refused by name.

    Their names are shown and never used as paths. Archives in archives are refused: expansions would multiply.
    """
    try:
        _refuse_large_directory(whole)
        archive = zipfile.ZipFile(path)
    except Untrusted as error:
        yield refused(whole.name, error.reason, error.detail)
        return
    except DAMAGED as error:
        yield refused(whole.name, Reason.UNREADABLE, f"It is no readable zip archive ({type(error).__name__}).")
        return
    budget = limits.expansion * whole.size
    for count, entry in enumerate(sorted(archive.infolist(), key=lambda entry: entry.filename)):
        name = f"{whole.name}!{entry.filename.encode('utf-8', 'surrogatepass').decode('utf-8', 'backslashreplace')}"
        if entry.filename.endswith("/"):  # a folder; is_dir() fails on an empty name
            continue
        complaint = _complaint(entry, limits)
        budget -= 0 if complaint else entry.file_size
        if count >= limits.files or budget < 0:
            yield refused(whole.name, Reason.TOO_LARGE, "It unpacks to more files or bytes than the limits allow.")
            return
        yield refused(name, *complaint) if complaint else _member(archive, entry, name, str(path))


def _refuse_large_directory(whole: Source) -> None:
    """zipfile reads the table of contents whole; its size stands at the end (APPNOTE 4.3.16, zip64: 4.3.14)."""
    tail = whole.span(max(0, whole.size - 65_557), min(whole.size, 65_557))
    at = tail.rfind(b"PK\5\6")
    if at < 0 or at + 22 > len(tail):
        raise Untrusted(Reason.UNREADABLE, "It is named .zip and has no end-of-archive record.")
    (size,) = struct.unpack_from("<I", tail, at + 12)
    if size == 0xFFFFFFFF and (wide := tail.rfind(b"PK\6\6", 0, at)) >= 0 and wide + 48 <= len(tail):
        (size,) = struct.unpack_from("<Q", tail, wide + 40)
    if size > MAX_DIRECTORY_BYTES:
        raise Untrusted(Reason.TOO_LARGE, f"Its table of contents has {size} bytes; at most {MAX_DIRECTORY_BYTES} are read.")


def _complaint(entry: zipfile.ZipInfo, limits: Limits) -> tuple[Reason, str] | None:
    if entry.flag_bits & ENCRYPTED:
        return Reason.UNREADABLE, "It is encrypted."
    # Other methods may ask for gigabytes of dictionary before the first byte comes out.
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return Reason.UNREADABLE, f"It is packed by method {entry.compress_type}; stored (0) and deflated (8) are read."
    if entry.file_size > limits.file_bytes:
        return Reason.TOO_LARGE, f"It unpacks to {entry.file_size} bytes; at most {limits.file_bytes} are opened."
    if entry.file_size > limits.expansion * max(entry.compress_size, 1):
        return Reason.TOO_LARGE, f"{entry.compress_size} bytes unpack to {entry.file_size}: a bomb."
    if entry.filename.lower().endswith((".zip", ".zst")):
        return Reason.UNREADABLE, "It is an archive in an archive; unpack the outer one."
    return None


def _member(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, name: str, path: str) -> Source:
    def load(length: int) -> bytes:
        try:
            with archive.open(entry) as stream:
                content = stream.read(min(length, entry.file_size))
                if length >= entry.file_size:
                    stream.read(1)  # at the end, the checksum is compared
                return content
        except DAMAGED as error:
            raise Untrusted(Reason.UNREADABLE, f"It cannot be unpacked ({type(error).__name__}: {error}).") from error

    return unpacked(name, entry.file_size, load, (path, f"{entry.header_offset}/{entry.filename}"))


def zstandard(packed: Source, limits: Limits) -> Source:
    """The one frame of a `.zst` file; its size is taken from the frame's header (RFC 8878 3.1.1.1) and capped."""
    try:
        size = _zstandard_size(packed.head(18))
    except Untrusted as error:
        return refused(packed.name, error.reason, error.detail)
    if size > limits.file_bytes or size > limits.expansion * packed.size:
        return refused(packed.name, Reason.TOO_LARGE, f"{packed.size} bytes unpack to {size}.")

    def load(length: int) -> bytes:
        try:
            import imagecodecs
        except ImportError as error:
            raise Untrusted(Reason.NO_DECODER, "Zstandard needs imagecodecs: install fedmed[imaging].") from error
        try:
            content = bytes(imagecodecs.zstd_decode(packed.head(packed.size), out=size))
        except imagecodecs.ZstdError as error:
            raise Untrusted(Reason.UNREADABLE, f"It cannot be unpacked ({error}).") from error
        if len(content) != size:
            raise Untrusted(Reason.TRUNCATED, f"It unpacks to {len(content)} bytes and promises {size}.")
        return content if length >= size else content[:length]

    return unpacked(packed.name, size, load, packed.place)


def _zstandard_size(head: bytes) -> int:
    if len(head) < 6 or head[:4] != b"\x28\xb5\x2f\xfd":
        raise Untrusted(Reason.UNREADABLE, "It is named .zst and is no Zstandard frame.")
    descriptor = head[4]
    single, flag = descriptor >> 5 & 1, descriptor >> 6
    width = (single, 2, 4, 8)[flag]
    at = 5 + (1 - single) + (0, 1, 2, 4)[descriptor & 3]
    if width == 0 or at + width > len(head):
        raise Untrusted(Reason.TOO_LARGE, "It does not say how large it unpacks.")
    return int.from_bytes(head[at : at + width], "little") + (256 if width == 2 else 0)
