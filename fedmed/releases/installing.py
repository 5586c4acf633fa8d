"""A release comes into a slot: its manifest, then its files, each gone on with where it was cut off, and none kept that is
not what was signed.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from fedmed.clock import Clock
from fedmed.errors import ReleaseRefused, StoreError, Unreachable
from fedmed.releases.channel import path_of
from fedmed.releases.fetching import BLOBS, MANIFESTS, Fetcher, whole
from fedmed.releases.manifest import File, Manifest, read_manifest, sha256_of
from fedmed.releases.slots import Content
from fedmed.releases.slotstore import SlotStore
from fedmed.store.disk import Disk, replace_file
from fedmed.wire.tensors import sha256

PART = ".part"
SPARE = 1 << 26
"""Bytes that stay free on the disk."""
STALLED_S, LEAST_RATE = 60.0, 1024
"""A file that comes slower than so many bytes/s over so long is given up until the next time; what came is kept."""


def fill(store: SlotStore, slot: int, content: Content, fetcher: Fetcher, clock: Clock) -> None:
    """Bring a release into a slot, from where it was cut off.

    Raises ReleaseRefused for what is not as signed (nothing of it is kept), Unreachable, StoreError.
    """
    manifest = store.manifest(slot, content)
    if manifest is None:
        manifest = _manifest(store, slot, content, fetcher, clock)
    with store.writing(f"slot {slot}"):
        _clear(store, slot, manifest)
        for name, file in sorted(manifest.files.items()):
            if not _is_there(store.package(slot) / name, file):
                pull(store.disk, fetcher, clock, file, store.package(slot) / name)
        store.disk.sync_folder(store.package(slot))


def _manifest(store: SlotStore, slot: int, content: Content, fetcher: Fetcher, clock: Clock) -> Manifest:
    manifest, data = fetch_manifest(content.manifest, content.length, content.counter, content.package, fetcher, clock)
    with store.writing(f"the manifest of slot {slot}"):
        replace_file(store.disk, store.manifest_file(slot), data)
    return manifest


def fetch_manifest(
    digest: str, length: int, counter: int, package: str, fetcher: Fetcher, clock: Clock
) -> tuple[Manifest, bytes]:
    """A release's manifest, and its bytes, as they were signed. Raises ReleaseRefused, Unreachable."""
    data = whole(fetcher, f"{MANIFESTS}/{digest}.{path_of(counter)}", length, clock)
    if data is None:
        raise Unreachable(f"the manifest of release {counter} is not there; try again later")
    if len(data) != length or sha256(data) != digest:
        raise ReleaseRefused(f"the manifest of release {counter} is not the one that was signed; nothing was changed")
    manifest = read_manifest(data)
    if (manifest.counter, manifest.package) != (counter, package):
        raise ReleaseRefused(f"the manifest of release {counter} is another's; tell who signs the channel")
    return manifest, data


def _clear(store: SlotStore, slot: int, manifest: Manifest) -> None:
    """Nothing but files of this release, whole or begun; a begun one of another release is not what this one names so."""
    place = store.package(slot)
    begun = {part_of(place, file).name for file in manifest.files.values()}
    for path in place.iterdir():
        if path.name not in manifest.files and path.name not in begun:
            store.disk.remove(path)
    needed = sum(file.bytes for name, file in manifest.files.items() if not (place / name).exists())
    if (free := shutil.disk_usage(place).free) < needed + SPARE:
        raise StoreError(
            f"{place}: {free} bytes are free, and a release needs {needed + SPARE}; make room; what runs, runs on"
        )


def _is_there(path: Path, file: File) -> bool:
    return path.exists() and path.stat().st_size == file.bytes and sha256_of(path) == file.sha256


def pull(disk: Disk, fetcher: Fetcher, clock: Clock, file: File, target: Path) -> None:
    """Fetch a file of a package to `target`, from where it was cut off, and only as it was signed; its folder is not synced.

    Raises as `fill`; OSError.
    """
    part = part_of(target.parent, file)
    if not part.exists():
        disk.close(disk.create(part))
    if part.stat().st_size < file.bytes:
        _pour(disk, part, file, fetcher, clock)
    if part.stat().st_size != file.bytes or sha256_of(part) != file.sha256:
        disk.remove(part)
        raise ReleaseRefused(f"{target.name} of a release is not what was signed; it was thrown away")
    disk.rename(part, target)


def part_of(folder: Path, file: File) -> Path:
    """Where a file is until it is whole."""
    return folder / f"{file.sha256}{PART}"


def _pour(disk: Disk, part: Path, file: File, fetcher: Fetcher, clock: Clock) -> None:
    begun = offset = part.stat().st_size
    since = clock.now()
    pieces = fetcher.pieces(f"{BLOBS}/{file.sha256}", offset)
    if pieces is None:
        raise Unreachable(f"{part.name} of a release is not there; try again later")
    handle = disk.reopen(part)
    try:
        for piece in pieces:
            piece = piece[: file.bytes + 1 - offset]  # endless data: one byte too many tells enough
            disk.write(handle, piece, offset)
            offset += len(piece)
            waited = clock.now() - since
            if offset > file.bytes or (waited > STALLED_S and (offset - begun) / waited < LEAST_RATE):
                break
    finally:
        disk.sync(handle)
        disk.close(handle)
    if offset < file.bytes:
        raise Unreachable(f"{part.name} came to {offset} of {file.bytes} bytes; it is gone on with the next time")
