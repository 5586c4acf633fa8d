"""How files of an authority are fetched: by a name, never more than asked for, never longer than allowed.

Names: `metadata/<version>.<role>.json` and `metadata/timestamp.json`; `targets/<SHA-256>.<counter>.json`, a manifest; and
`blobs/<SHA-256>`, a file of a package. What answers is not trusted: all of it is verified by whoever asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from fedmed.clock import Clock
from fedmed.errors import ReleaseRefused, Unreachable
from fedmed.releases.channel import Release

METADATA, MANIFESTS, BLOBS = "metadata", "targets", "blobs"
TARGETS, COUNTERSIGNED = "targets", "countersigned"
"""The role that states a channel: of the federation, of a clinic."""
NAMES = re.compile(
    r"metadata/([1-9][0-9]{0,8}\.(root|targets|snapshot|countersigned)|timestamp)\.json"
    r"|targets/[0-9a-f]{64}\.[0-9]{8}\.json|blobs/[0-9a-f]{64}"
)
"""All that is ever asked for; who serves them serves nothing else."""
PIECE = 1 << 18
SECONDS = 60.0
"""For one file of metadata; a slower answer is none (TUF specification, 1.5.2: slow retrieval)."""


def manifest_name(release: Release) -> str:
    """Where a release's manifest is: TUF puts the digest before the name (6.2)."""
    return f"{MANIFESTS}/{release.manifest}.{release.path}"


class Fetcher(Protocol):
    """One authority's files, wherever they are."""

    def pieces(self, name: str, offset: int) -> Iterator[bytes] | None:
        """The bytes of a file from `offset` on; None where there is none. Raises Unreachable, also while it is read."""


class FolderFetcher:
    """Files of a folder: a disk that is carried over, a mounted share, the center's own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def pieces(self, name: str, offset: int) -> Iterator[bytes] | None:
        """See `Fetcher`."""
        path = self._folder / name
        if not NAMES.fullmatch(name) or not path.is_file():
            return None
        return self._read(path, offset)

    def _read(self, path: Path, offset: int) -> Iterator[bytes]:
        try:
            with path.open("rb") as file:
                file.seek(offset)
                while piece := file.read(PIECE):
                    yield piece
        except OSError as error:
            raise Unreachable(f"{path} cannot be read ({error.strerror}); try again later") from error


def whole(fetcher: Fetcher, name: str, most: int, clock: Clock) -> bytes | None:
    """A small file; None where there is none. Raises Unreachable, and ReleaseRefused for more than `most` bytes."""
    pieces, got, until = fetcher.pieces(name, 0), bytearray(), clock.now() + SECONDS
    if pieces is None:
        return None
    for piece in pieces:
        got += piece
        if len(got) > most:
            raise ReleaseRefused(f"{name} has more than {most} bytes, which it may have; nothing was changed")
        if clock.now() > until:
            raise Unreachable(f"{name} did not come within {SECONDS:.0f} s; try again later")
    return bytes(got)
