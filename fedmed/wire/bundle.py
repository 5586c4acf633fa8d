"""An app as one file: a zip whose bytes follow from its files alone, so that one digest stands for one app.

Stored, not compressed, sorted, and of one date: another machine, another day and another zlib make the same bytes. What is
read comes from the center: names lead nowhere, sizes are counted while reading, and nothing is written.
"""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from fedmed.errors import ConfigError, ProtocolRefused

MOST_BYTES, MOST_UNPACKED, MOST_FILES = 2 << 20, 8 << 20, 256
"""Of an app that a clinic's own staff can read."""
SUFFIXES = (".py", ".toml", ".md", ".yaml", ".yml", ".json", ".jsonl")
_PART = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}"
_NAME = re.compile(rf"(\.info/)?({_PART}/){{0,8}}{_PART}")  # `.info/` is what `flwr build` adds
_DATE = (1980, 1, 1, 0, 0, 0)
_FILE = 0o100644 << 16
_LINK = 0o120000


def files_in(folder: Path) -> dict[str, bytes]:
    """Content by path of every file of an app's folder; caches and hidden files stay out.

    Raises ConfigError for what an app cannot hold, naming the file.
    """
    found: dict[str, bytes] = {}
    for path in sorted(folder.rglob("*")):
        inner = path.relative_to(folder)
        if any(part.startswith(".") or part == "__pycache__" for part in inner.parts) or not path.is_file():
            continue
        name = inner.as_posix()
        if path.is_symlink() or not _is_name(name):
            raise ConfigError(
                f"{path} cannot be part of an app, which holds plain files of the kinds {', '.join(SUFFIXES)} and LICENSE "
                "with names of a-z, 0-9, '_', '.', '-'; move it out of the folder"
            )
        found[name] = path.read_bytes()
    if not found:
        raise ConfigError(f"{folder} holds no files of an app; name the folder that holds its pyproject.toml")
    return found


def pack(files: Mapping[str, bytes]) -> bytes:
    """The app of these files. Raises ConfigError where it would be larger than a clinic takes."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, _DATE)
            entry.create_system, entry.external_attr = 3, _FILE  # as on Unix, wherever it is made
            archive.writestr(entry, files[name])
    content = packed.getvalue()
    if len(content) > MOST_BYTES or len(files) > MOST_FILES:
        raise ConfigError(
            f"the app has {len(files)} files and {len(content)} bytes; allowed are {MOST_FILES} and {MOST_BYTES}: keep data "
            "and models out of it"
        )
    return content


def unpack(content: bytes) -> dict[str, bytes]:
    """Content by path of an app's files. Raises ProtocolRefused for anything else than plain small files, naming it."""
    if len(content) > MOST_BYTES:
        raise ProtocolRefused(f"an app of {len(content)} bytes; allowed are {MOST_BYTES}")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return _read(archive)
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, OSError, RuntimeError, NotImplementedError) as error:
        raise ProtocolRefused(
            f"an app that is no whole zip file ({type(error).__name__}); ask the center for it again"
        ) from error


def digest_of(files: Mapping[str, bytes]) -> str:
    """SHA-256 over the paths and contents of an app that lies in a folder and is not packed."""
    made = hashlib.sha256(b"fedmed/app/1")
    for name in sorted(files):
        made.update(f"{name}\0{hashlib.sha256(files[name]).hexdigest()}\n".encode())
    return made.hexdigest()


def sha256(content: bytes) -> str:
    """What a packed app is known by."""
    return hashlib.sha256(content).hexdigest()


def _read(archive: zipfile.ZipFile) -> dict[str, bytes]:
    entries, found, left = archive.infolist(), dict[str, bytes](), MOST_UNPACKED
    if len(entries) > MOST_FILES:
        raise ProtocolRefused(f"an app of {len(entries)} files; allowed are {MOST_FILES}")
    for entry in entries:
        name = entry.filename
        if not _is_name(name) or (entry.external_attr >> 16) & 0o170000 == _LINK:
            raise ProtocolRefused(
                f"an app with the file {name[:100]!r}; allowed are plain files of the kinds {', '.join(SUFFIXES)}"
            )
        if name.casefold() in {each.casefold() for each in found}:
            raise ProtocolRefused(f"an app with two files called {name[:100]!r}")
        with archive.open(entry) as file:
            found[name] = file.read(left + 1)
        left -= len(found[name])
        if left < 0:
            raise ProtocolRefused(f"an app that unpacks to more than {MOST_UNPACKED} bytes")
    return found


def _is_name(name: str) -> bool:
    last = name.rpartition("/")[2]
    return _NAME.fullmatch(name) is not None and (last.endswith(SUFFIXES) or last in ("LICENSE", "CONTENT"))
