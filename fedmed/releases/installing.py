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
from fedmed.store.disk import replace_file
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
                _file(store, slot, name, file, fetcher, clock)
        store.disk.sync_folder(store.package(slot))


def _manifest(store: SlotStore, slot: int, content: Content, fetcher: Fetcher, clock: Clock) -> Manifest:
    name = f"{MANIFESTS}/{content.manifest}.{path_of(content.counter)}"
    data = whole(fetcher, name, content.length, clock)
    if data is None:
        raise Unreachable(f"the manifest of release {content.counter} is not there; try again later")
    if len(data) != content.length or sha256(data) != content.manifest:
        raise ReleaseRefused(
            f"the manifest of release {content.counter} is not the one that was signed; nothing was changed"
        )
    manifest = read_manifest(data)
    if (manifest.counter, manifest.package) != (content.counter, content.package):
        raise ReleaseRefused(f"the manifest of release {content.counter} is another's; tell who signs the channel")
    with store.writing(f"the manifest of slot {slot}"):
        replace_file(store.disk, store.manifest_file(slot), data)
    return manifest


def _clear(store: SlotStore, slot: int, manifest: Manifest) -> None:
    """Nothing but files of this release, whole or begun; a begun one of another release is not what this one names so."""
    place = store.package(slot)
    begun = {f"{file.sha256}{PART}" for file in manifest.files.values()}
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


def _file(store: SlotStore, slot: int, name: str, file: File, fetcher: Fetcher, clock: Clock) -> None:
    place = store.package(slot)
    part = place / f"{file.sha256}{PART}"
    if not part.exists():
        store.disk.close(store.disk.create(part))
    if part.stat().st_size < file.bytes:
        _pour(store, part, name, file, fetcher, clock)
    if part.stat().st_size != file.bytes or sha256_of(part) != file.sha256:
        store.disk.remove(part)
        raise ReleaseRefused(f"{name} of a release is not what was signed; it was thrown away, and what runs, runs on")
    store.disk.rename(part, place / name)


def _pour(store: SlotStore, part: Path, name: str, file: File, fetcher: Fetcher, clock: Clock) -> None:
    begun = offset = part.stat().st_size
    since = clock.now()
    pieces = fetcher.pieces(f"{BLOBS}/{file.sha256}", offset)
    if pieces is None:
        raise Unreachable(f"{name} of a release is not there; try again later")
    handle = store.disk.reopen(part)
    try:
        for piece in pieces:
            piece = piece[: file.bytes + 1 - offset]  # endless data: one byte too many tells enough
            store.disk.write(handle, piece, offset)
            offset += len(piece)
            waited = clock.now() - since
            if offset > file.bytes or (waited > STALLED_S and (offset - begun) / waited < LEAST_RATE):
                break
    finally:
        store.disk.sync(handle)
        store.disk.close(handle)
    if offset < file.bytes:
        raise Unreachable(f"{name} of a release came to {offset} of {file.bytes} bytes; it is gone on with the next time")
