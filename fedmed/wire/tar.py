"""Members of a tar file of unknown origin, one by one, without writing any of them anywhere.

Headers are POSIX ustar with pax and GNU long names (pubs.opengroup.org, `pax`, "ustar Interchange Format"). A damaged header
is reported and the next sound one looked for, so that one bad block does not cost the file. Links, devices and names
that lead anywhere are reported, never followed.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from mmap import mmap

BLOCK = 512
MAX_MEMBER_BYTES = 1024**3
MAX_MEMBERS = 5_000_000
MAX_TEXT_BYTES = 64 * 1024  # of what describes a member: pax records, long names
PLAIN, FOLDER, GLOBAL = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE), tarfile.DIRTYPE, tarfile.XGLTYPE


@dataclass(frozen=True)
class Member:
    """A file in a tar."""

    name: str
    data: memoryview


@dataclass(frozen=True)
class Fault:
    """What cannot be used in a tar, and why; `name` is empty where not even that is known."""

    name: str
    reason: str


def members(mapped: mmap) -> Iterator[Member | Fault]:
    """Members and faults in their order."""
    data, offset, given, seen = memoryview(mapped), 0, dict[str, str](), 0
    while offset + BLOCK <= len(data):
        block = bytes(data[offset : offset + BLOCK])
        if not any(block):  # padding, or the end of one of several tars in a row
            offset += BLOCK
            continue
        try:
            header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.HeaderError as error:
            yield Fault("", f"the header at byte {offset} is damaged ({error})")
            offset, given = _next_header(mapped, offset + BLOCK), {}
            continue
        seen += 1
        if seen > MAX_MEMBERS:
            yield Fault("", f"there are more than {MAX_MEMBERS} members; the rest is left out")
            return
        name, size = given.get("path", header.name), _size(given, header)
        start = offset + BLOCK
        if size < 0 or start + size > len(data):
            yield Fault(name, f"{size} bytes are announced, {len(data) - start} are left; the file is cut off")
            return
        offset = start + -(-size // BLOCK) * BLOCK
        if header.type in (tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME):
            given = _described(header, bytes(data[start : start + min(size, MAX_TEXT_BYTES + 1)]), given)
            continue
        given = {}
        if header.type not in (GLOBAL, FOLDER):
            fault = _fault(name, size, header)
            yield Fault(name, fault) if fault else Member(name.removeprefix("./"), data[start : start + size])


def _next_header(mapped: mmap, offset: int) -> int:
    """Offset of the next block that bears the mark of a header, or the end."""
    while (found := mapped.find(b"ustar", offset)) >= 0:
        if found % BLOCK == 257:
            return found - 257
        offset = found + 1
    return len(mapped)


def _size(given: dict[str, str], header: tarfile.TarInfo) -> int:
    told = given.get("size", "")
    return int(told) if told.isdecimal() and len(told) < 20 else header.size


def _described(header: tarfile.TarInfo, text: bytes, before: dict[str, str]) -> dict[str, str]:
    """What this header says of the next one."""
    if len(text) > MAX_TEXT_BYTES:
        return {**before, "path": ""}
    if header.type == tarfile.GNUTYPE_LONGNAME:
        return {**before, "path": text.rstrip(b"\0").decode("utf-8", "surrogateescape")}
    found = dict(before)
    while text:
        length, _, _ = text.partition(b" ")
        if not length.isdigit() or not len(length) + 2 < int(length) <= len(text):
            break
        key, _, value = text[len(length) + 1 : int(length) - 1].partition(b"=")
        found[key.decode("utf-8", "replace")] = value.decode("utf-8", "surrogateescape")
        text = text[int(length) :]
    return found


def _fault(name: str, size: int, header: tarfile.TarInfo) -> str:
    if header.type not in PLAIN or header.sparse is not None:
        return "it is no plain file; links and devices are never followed"
    if size > MAX_MEMBER_BYTES:
        return f"it has {size} bytes; at most {MAX_MEMBER_BYTES} are read"
    own = name.removeprefix("./")
    if not own or not own.isprintable() or set(own) & set("/\\") or ".." in own or len(own) > 200:
        return "its name leads elsewhere or cannot be shown; names are printable, without slashes and '..'"
    return ""
