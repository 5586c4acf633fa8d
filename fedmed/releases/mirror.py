"""A clinic's copy of the federation's releases, for its devices: verified as it comes in, verified again by each device.

trusted.json    what is trusted of the federation     metadata, targets, blobs    as the federation serves them
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fedmed.clock import Clock
from fedmed.errors import ConfigError, StoreError
from fedmed.releases import pruning
from fedmed.releases.channel import Release
from fedmed.releases.fetching import BLOBS, METADATA, TARGETS, Fetcher, manifest_name, whole
from fedmed.releases.installing import fetch_manifest, pull
from fedmed.releases.manifest import sha256_of
from fedmed.releases.pruning import Surplus
from fedmed.releases.trusting import MOST, Trusted, View, pinned, read_trusted, refresh
from fedmed.store.disk import Disk, replace_file
from fedmed.store.locks import alone, is_held

TRUSTED, _COPYING = "trusted.json", ".copying"
_MOST_TRUSTED = 1 << 22


@dataclass(frozen=True)
class Mirror:
    """The copy in one folder. The hub brings it up to date while the staff's commands do: each change is under a lock."""

    folder: Path
    clock: Clock
    disk: Disk = field(default_factory=Disk)

    def pin(self, fetcher: Fetcher, fingerprint: str) -> None:
        """Trust the federation by its first root's SHA-256 (hex), which was told by another way.

        Raises ConfigError where another one is trusted already, ReleaseRefused, Unreachable, StoreError.
        """
        name = f"{METADATA}/1.root.json"
        root = whole(fetcher, name, MOST["root"], self.clock)
        if root is None:
            raise ConfigError("the center has no channel of releases yet; its operator begins one: fedmed release init")
        trusted = pinned(root, fingerprint, TARGETS)
        if (self.folder / TRUSTED).exists() and (self.folder / name).read_bytes() != root:
            raise ConfigError(f"{self.folder} trusts another root of releases; a federation's root never begins anew")
        with self._writing():
            self._put(name, root)
            if not (self.folder / TRUSTED).exists():
                self._put(TRUSTED, trusted.encoded())

    def update(self, fetcher: Fetcher) -> View:
        """Bring metadata up to date, and copy it. Raises ReleaseRefused, Unreachable: then devices see what was before."""
        seen = _Seen(fetcher)
        with self._writing():
            view = refresh(self._trusted(), seen, self.clock, lambda kept: self._put(TRUSTED, kept.encoded()))
            for name, data in {**seen.roots, **_metadata(self._trusted())}.items():
                path = self.folder / name
                if not path.exists() or path.read_bytes() != data:
                    self._put(name, data)
        return view

    def copy(self, release: Release, fetcher: Fetcher) -> None:
        """Fetch a release's manifest and files, each from where it was cut off. Raises as `installing.fill`."""
        manifest, data = fetch_manifest(
            release.manifest, release.length, release.counter, release.package, fetcher, self.clock
        )
        with self._writing(_COPYING):  # for as long as it takes: metadata goes on
            self._put(manifest_name(release), data)
            self.disk.make_folder(self.folder / BLOBS)
            for file in manifest.files.values():
                place = self.folder / BLOBS / file.sha256
                if not place.exists() or sha256_of(place) != file.sha256:
                    pull(self.disk, fetcher, self.clock, file, place)
                else:
                    self.disk.date(place, self.clock.unix())  # young again: it is about to be countersigned
            self.disk.sync_folder(self.folder / BLOBS)

    def prune(self, own: Path, record: Callable[[Surplus], object]) -> Surplus:
        """Remove what neither this copy's editions need nor those of the clinic's own channel in `own`.

        `record` is told first. While a release is copied nothing is removed. Raises StoreError.
        """
        with self._writing():
            handle = os.open(self.folder / _COPYING, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                if is_held(handle):
                    return Surplus()
                now = self.clock.unix()
                editions, clinic = (pruning.editions_of(folder, now) for folder in (self.folder, own))
                found = pruning.surplus(self.folder, editions, now, clinic)
                if found.files:
                    record(found)
                    pruning.remove(self.disk, found)
                return found
            finally:
                os.close(handle)

    @contextmanager
    def _writing(self, lock: str = ".lock") -> Iterator[None]:
        try:
            self.disk.make_folder(self.folder)
            with alone(self.folder / lock):
                yield
        except OSError as error:
            raise StoreError(f"{self.folder} cannot be written ({error.strerror}); make room, then try again") from error

    def _trusted(self) -> Trusted:
        try:
            with (self.folder / TRUSTED).open("rb") as file:
                return read_trusted(file.read(_MOST_TRUSTED))
        except FileNotFoundError as error:
            raise ConfigError(f"{self.folder} trusts no root of releases yet; say: fedmed clinic release init") from error
        except OSError as error:
            raise StoreError(f"{self.folder / TRUSTED} cannot be read ({error.strerror}); put a copy back") from error

    def _put(self, name: str, data: bytes) -> None:
        path = self.folder / name
        try:
            self.disk.make_folder(path.parent)
            replace_file(self.disk, path, data)
        except OSError as error:
            raise StoreError(f"{path} cannot be written ({error.strerror}); make room, then try again") from error


class _Seen:
    """A fetcher that remembers the roots that came by."""

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher
        self.roots: dict[str, bytes] = {}

    def pieces(self, name: str, offset: int) -> Iterator[bytes] | None:
        """See `Fetcher`."""
        pieces = self._fetcher.pieces(name, offset)
        return pieces if pieces is None or not name.endswith(".root.json") else self._remembered(name, pieces)

    def _remembered(self, name: str, pieces: Iterator[bytes]) -> Iterator[bytes]:
        self.roots[name] = b""
        for piece in pieces:
            self.roots[name] += piece
            yield piece


def _metadata(trusted: Trusted) -> dict[str, bytes]:
    """By the names under which they are served; the timestamp last."""
    files = {}
    for role in ("targets", "snapshot"):
        data = trusted.get(role)
        files[f"{METADATA}/{json.loads(data)['signed']['version']}.{role}.json"] = data
    return {**files, f"{METADATA}/timestamp.json": trusted.get("timestamp")}
