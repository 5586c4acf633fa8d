"""What a release is made of: the files of one package by size and SHA-256, under a counter that is given once."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedmed.errors import DataError, ReleaseRefused
from fedmed.wire.canonical import canonical, digest

MOST_BYTES, MOST_FILES = 1 << 16, 64
"""Of a manifest; in a package."""
MOST_SIZE = 1 << 33
"""Bytes of a package."""
MOST_COUNTER = 99_999_999
LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,63}")
"""A release's name and version."""
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_KIND, _VERSION, _PIECE = "fedmed-release", 1, 1 << 20


@dataclass(frozen=True)
class File:
    """One file of a package."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """One release."""

    counter: int
    """From 1, given once in a federation, and larger for each release."""
    name: str
    version: str
    files: Mapping[str, File]

    @property
    def package(self) -> str:
        """Digest of the files, whatever the counter, as hex."""
        return digest({name: [file.bytes, file.sha256] for name, file in self.files.items()})

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.bytes for file in self.files.values())

    def encoded(self) -> bytes:
        """Canonical JSON."""
        files = {name: {"bytes": file.bytes, "sha256": file.sha256} for name, file in self.files.items()}
        own = {"counter": self.counter, "name": self.name, "release": self.version, "files": files}
        return canonical({"kind": _KIND, "version": _VERSION, "package": self.package, **own})


def read_manifest(content: bytes) -> Manifest:
    """What `encoded` wrote. Raises ReleaseRefused for anything else."""
    if len(content) > MOST_BYTES:
        raise ReleaseRefused(f"a manifest of {len(content)} bytes; allowed are {MOST_BYTES}")
    try:
        said = json.loads(content)
        if not isinstance(said, dict) or said.get("kind") != _KIND or said.get("version") != _VERSION:
            raise ValueError("it is none of this version")
        files = {name: _file(name, each) for name, each in said["files"].items()}
        found = Manifest(said["counter"], said["name"], said["release"], files)
        _check(found)
        if found.encoded() != content:
            raise ValueError("it is not written as fedmed writes one")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ReleaseRefused(f"a manifest that cannot be used ({error}); let the release be proposed anew") from error
    return found


def of_folder(folder: Path, counter: int, name: str, version: str) -> Manifest:
    """The manifest of a package's folder. Raises DataError for links, folders in it, other names, too many or too large."""
    try:
        found = sorted(folder.iterdir())
        files = {path.name: File(path.stat().st_size, sha256_of(path)) for path in found if _is_plain(path)}
        made = Manifest(counter, name, version, files)
        _check(made)
        return made
    except OSError as error:
        raise DataError(f"{folder} cannot be read as a package ({error.strerror}); name the folder of one") from error
    except ValueError as error:
        raise DataError(f"{folder} is no package that can be released: {error}") from error


def sha256_of(path: Path) -> str:
    """Hex. Raises OSError."""
    made = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            made.update(piece)
    return made.hexdigest()


def _is_plain(path: Path) -> bool:
    if path.is_symlink() or not path.is_file():
        raise ValueError(f"{path.name!r} in it is no plain file; a package is a flat folder of files")
    return True


def _file(name: Any, said: Any) -> File:
    if set(said) != {"bytes", "sha256"}:
        raise ValueError(f"file {name!r:.80} has other facts than bytes and sha256")
    return File(said["bytes"], said["sha256"])


def _check(said: Manifest) -> None:
    """Raises ValueError, naming the first fault."""
    if type(said.counter) is not int or not 1 <= said.counter <= MOST_COUNTER:
        raise ValueError(f"the counter {said.counter!r:.40}; allowed are whole numbers from 1 to {MOST_COUNTER}")
    for label in (said.name, said.version):
        if not isinstance(label, str) or not LABEL.fullmatch(label):
            raise ValueError(f"{label!r:.80} as its name or version; allowed are 1 to 64 letters of A-Z, a-z, 0-9, _.+-")
    if not 1 <= len(said.files) <= MOST_FILES:
        raise ValueError(f"{len(said.files)} files; allowed are 1 to {MOST_FILES}")
    for name, file in said.files.items():
        if not _FILE.fullmatch(name):
            raise ValueError(f"a file called {name!r:.80}; allowed are letters, digits, _.- and no folders")
        if type(file.bytes) is not int or file.bytes < 0 or not isinstance(file.sha256, str):
            raise ValueError(f"{name}: its size or digest is none")
        if not _DIGEST.fullmatch(file.sha256):
            raise ValueError(f"{name}: {file.sha256!r:.80} is no SHA-256 in hex")
    if said.size > MOST_SIZE:
        raise ValueError(f"{said.size} bytes; allowed are {MOST_SIZE}")
