"""What of an authority's files nobody can need any more, and its removal.

An edition needs the files of its candidates and shadows, of what is active in it, and of what was active before that: what a
device may be told to install, or to return to. Those editions count that a device may still come upon: the newest, whatever
its date, and each whose snapshot has not expired, for a device that is shown it by a copy that is behind may act on it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Snapshot, Targets  # type: ignore[attr-defined]

from fedmed.errors import ReleaseRefused, StoreError
from fedmed.releases.channel import Channel, State
from fedmed.releases.edition import TIMESTAMP_FILE, channel_of
from fedmed.releases.fetching import BLOBS, COUNTERSIGNED, MANIFESTS, METADATA, TARGETS
from fedmed.releases.manifest import MOST_BYTES, read_manifest
from fedmed.store.disk import Disk

YOUNG_S = 86400.0
"""What was written or looked at so lately stays: it may be about to be named."""
KEPT_ACTIVE = 2
_ROLE = re.compile(rf"([1-9][0-9]{{0,8}}\.(?:{TARGETS}|{COUNTERSIGNED}|snapshot)\.json)")
_MANIFEST = re.compile(r"([0-9a-f]{64})\.[0-9]{8}\.json")
_BLOB = re.compile(r"\.?([0-9a-f]{64})(\.part)?")
"""A file of a package, one that is being copied, and one that came in part."""


@dataclass(frozen=True)
class Editions:
    """Those of one folder that somebody may still come upon."""

    channels: tuple[Channel, ...] = ()
    metadata: frozenset[str] = frozenset()
    """Names of their files; roots stay always."""


@dataclass(frozen=True)
class Surplus:
    """Files that nobody needs."""

    files: tuple[Path, ...] = ()
    bytes: int = 0


def needed_of(channel: Channel) -> frozenset[str]:
    """Manifests (SHA-256) whose files a device may be told to install, or to return to, under this channel."""
    active = [one.manifest for one in channel.releases if one.state is State.ACTIVE][-KEPT_ACTIVE:]
    coming = [one.manifest for one in channel.releases if one.state in (State.CANDIDATE, State.SHADOW)]
    return frozenset((*active, *coming))


def agreed_of(federation: Channel, clinic: Channel) -> frozenset[str]:
    """As `needed_of`, under what both say (`fedmed.releases.agreeing`): each release as far as the one that is behind."""
    words = {(one.counter, one.manifest): one.state for one in clinic.releases}
    both = [
        replace(one, state=min(one.state, words[one.counter, one.manifest], key=lambda state: state.rank))
        for one in federation.releases
        if (one.counter, one.manifest) in words
    ]
    return needed_of(Channel(tuple(both)))


def editions_of(folder: Path, now: float) -> Editions:
    """Those of a folder at `now`, seconds since 1970. Raises StoreError for metadata that cannot be read."""
    place = folder / METADATA
    channels, names = [], set[str]()
    try:
        newest = json.loads((place / TIMESTAMP_FILE).read_bytes())["signed"]["meta"]["snapshot.json"]["version"]
        for path in place.glob("*.snapshot.json"):
            snapshot = Metadata[Snapshot].from_bytes(path.read_bytes()).signed
            if snapshot.version < newest and snapshot.expires.timestamp() <= now:
                continue
            names.add(path.name)
            for role in (TARGETS, COUNTERSIGNED):
                if (meta := snapshot.meta.get(f"{role}.json")) is not None:
                    name = f"{meta.version}.{role}.json"
                    names.add(name)
                    channels.append(channel_of(Metadata[Targets].from_bytes((place / name).read_bytes()).signed))
    except (OSError, RepositoryError, ReleaseRefused, ValueError, LookupError, TypeError) as error:
        raise StoreError(
            f"{folder}: its metadata cannot be read ({error}), so no file of it is removed; put a copy of the folder back"
        ) from error
    return Editions(tuple(channels), frozenset(names))


def surplus(folder: Path, editions: Editions, now: float, clinic: Editions | None = None) -> Surplus:
    """What of a folder nobody needs; of a copy at a clinic, whose own channel has the editions `clinic`.

    Raises StoreError for a needed manifest that cannot be read: what it names is not known then.
    """
    own = () if clinic is None else clinic.channels
    each = [needed_of(channel) for channel in (*editions.channels, *own)]
    manifests = frozenset().union(*each, *(agreed_of(*pair) for pair in product(editions.channels, own)))
    blobs = frozenset(_blobs(folder, manifests))
    found = [
        *_old(folder / BLOBS, now, _named(_BLOB, blobs)),
        *_old(folder / MANIFESTS, now, _named(_MANIFEST, manifests)),
        *_old(folder / METADATA, now, _named(_ROLE, editions.metadata)),
    ]
    return Surplus(tuple(path for path, _ in found), sum(size for _, size in found))


def remove(disk: Disk, what: Surplus) -> None:
    """Raises OSError; what is gone by then is gone, and nobody misses it."""
    for path in what.files:
        if path.exists():
            disk.remove(path)
    for folder in {path.parent for path in what.files}:
        disk.sync_folder(folder)


def _blobs(folder: Path, manifests: frozenset[str]) -> Iterator[str]:
    place = folder / MANIFESTS
    for path in place.iterdir() if place.is_dir() else ():
        found = _MANIFEST.fullmatch(path.name)
        if found is None or found[1] not in manifests:
            continue
        try:
            with path.open("rb") as file:
                yield from (each.sha256 for each in read_manifest(file.read(MOST_BYTES + 1)).files.values())
        except (OSError, ReleaseRefused) as error:
            raise StoreError(f"{path} cannot be read ({error}), so no file is removed; put a copy of it back") from error


def _named(form: re.Pattern[str], needed: frozenset[str]) -> Callable[[str], bool]:
    """Whether a file's name is of this form, and what it names is not needed; any other file is nobody's business here."""
    return lambda name: (said := form.fullmatch(name)) is not None and said[1] not in needed


def _old(folder: Path, now: float, is_over: Callable[[str], bool]) -> list[tuple[Path, int]]:
    """Files of a folder, and their bytes."""
    found = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if is_over(path.name) and now - (status := path.stat()).st_mtime > YOUNG_S:
            found.append((path, status.st_size))
    return found
