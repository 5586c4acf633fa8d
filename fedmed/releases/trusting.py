"""Trust in one authority: its signed metadata is brought up to date step by step, in TUF's order and by TUF's rules.

All checks are python-tuf's (`TrustedMetadataSet`, the core of its client): signatures and thresholds, versions that never
go down, lengths and digests of what is named, dates. The client around it is not used: it reads the machine's clock, and
what it writes is not synced, so that a power cut could take the versions away that protect from older metadata.

The date is read once for an update (TUF specification, 5.1), and is never earlier than one at which this authority was
verified before: a clock that was set back by years revives nothing that had expired. As metadata is verified only before
it expires, days after it was signed, a clock that ran ahead holds no box up for longer than those days.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, cast

from fedmed.clock import Clock
from fedmed.errors import ReleaseRefused, StoreError
from fedmed.releases.channel import Channel
from fedmed.releases.fetching import METADATA, TARGETS, Fetcher, whole
from fedmed.wire.canonical import canonical, digest
from fedmed.wire.tensors import sha256

if TYPE_CHECKING:
    from tuf.api.metadata import Targets  # type: ignore[attr-defined]
    from tuf.ngclient._internal.trusted_metadata_set import TrustedMetadataSet

MOST = {"root": 1 << 18, "timestamp": 1 << 14, "snapshot": 1 << 16, "targets": 1 << 18, "countersigned": 1 << 18}
"""Bytes of each."""
MOST_ROOTS = 64
"""New roots that are followed at once."""
NOTED_S = 3600.0
"""The time of an update is kept where it is so much later than the one kept: no write with every heartbeat."""
_KIND = "fedmed-trusted-1"
Keep = Callable[["Trusted"], None]


@dataclass(frozen=True)
class Trusted:
    """What a verifier keeps of an authority between updates; all of it was verified but, at first, its pinned root."""

    root: str
    """The newest root, as metadata in JSON."""
    holder: str
    """The role that states its channel: `targets` of a federation, `countersigned` of a clinic."""
    roles: tuple[tuple[str, str], ...] = ()
    """The newest metadata of the other roles."""
    unix: float = 0.0
    """About the latest time at which an update was verified whole (`NOTED_S`)."""

    def get(self, role: str) -> bytes:
        """Empty where there is none yet."""
        return dict(self.roles).get(role, "").encode()

    def having(self, role: str, data: bytes) -> Trusted:
        """With newer metadata of a role."""
        return replace(self, roles=tuple(sorted({**dict(self.roles), role: data.decode()}.items())))

    def encoded(self) -> bytes:
        """For a file."""
        body = {"root": self.root, "holder": self.holder, "roles": dict(self.roles), "unix": self.unix}
        return canonical({"kind": _KIND, "trusted": body, "sha256": digest(body)})


@dataclass(frozen=True)
class View:
    """An authority's channel as it was verified."""

    channel: Channel
    root: int
    """Version of the root that it hangs on."""
    version: int
    """Of the role that states it; 0 where nothing was stated yet."""
    expires: float
    """Until when nothing newer need be asked for; seconds since 1970."""


def pinned(root: bytes, fingerprint: str, holder: str) -> Trusted:
    """Trust that begins with a root whose SHA-256 (hex) was told by another way. Raises ReleaseRefused for another one."""
    if len(root) > MOST["root"] or sha256(root) != fingerprint:
        raise ReleaseRefused(
            f"the root of releases has the fingerprint {sha256(root)}, told was {fingerprint}; ask whoever told it to you"
        )
    try:
        return Trusted(root.decode(), holder)
    except UnicodeDecodeError as error:
        raise ReleaseRefused("the root of releases is no text; ask for it again") from error


def read_trusted(content: bytes) -> Trusted:
    """What `Trusted.encoded` wrote. Raises StoreError where a byte of it is not what was written."""
    try:
        said = json.loads(content)
        body = said["trusted"]
        if said["kind"] != _KIND or said["sha256"] != digest(body):
            raise ValueError("it does not have the digest it was written with")
        return Trusted(body["root"], body["holder"], tuple(sorted(body["roles"].items())), body["unix"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise StoreError(f"what is trusted of releases cannot be read ({error}); pin the authority's root anew") from error


def refresh(trusted: Trusted, fetcher: Fetcher, clock: Clock, keep: Keep) -> View:
    """Bring an authority up to date, and say what it states; `keep` is told of each step, and must keep it on the disk.

    Raises ReleaseRefused where anything is not as TUF demands, Unreachable: then nothing may be changed, and what was kept
    before holds.
    """
    from tuf.api.exceptions import RepositoryError

    unix = max(clock.unix(), trusted.unix)
    try:
        return _Update(trusted, fetcher, clock, keep, unix).run()
    except RepositoryError as error:
        raise ReleaseRefused(f"metadata of releases was refused: {error}; nothing was changed") from error


class _Update:
    """One update; TUF specification, 5.3 to 5.6."""

    def __init__(self, trusted: Trusted, fetcher: Fetcher, clock: Clock, keep: Keep, unix: float) -> None:
        from tuf.ngclient._internal.trusted_metadata_set import TrustedMetadataSet
        from tuf.ngclient.config import EnvelopeType

        self._kept, self._fetcher, self._clock, self._keep, self._unix = trusted, fetcher, clock, keep, unix
        self._set: TrustedMetadataSet = TrustedMetadataSet(trusted.root.encode(), EnvelopeType.METADATA)
        self._set.reference_time = datetime.fromtimestamp(unix, timezone.utc)

    def run(self) -> View:
        self._roots()
        self._timestamp()
        self._snapshot()
        self._role(TARGETS, "root")
        if (holder := self._kept.holder) != TARGETS and f"{holder}.json" in self._set.snapshot.meta:
            self._role(holder, TARGETS)
        if self._unix - self._kept.unix >= NOTED_S:
            self._put(replace(self._kept, unix=self._unix))
        return self._view()

    def _view(self) -> View:
        from fedmed.releases.edition import channel_of

        expires, root = self._set.timestamp.expires.timestamp(), self._set.root.version
        if self._kept.holder not in self._set:
            return View(Channel(), root, 0, expires)
        said = cast("Targets", self._set[self._kept.holder])
        return View(channel_of(said), root, said.version, expires)

    def _roots(self) -> None:
        """5.3: one version after another, each signed by the one before."""
        first = self._set.root.version + 1
        for version in range(first, first + MOST_ROOTS):
            data = self._fetch(f"{version}.root", MOST["root"])
            if data is None:
                return
            self._set.update_root(data)
            self._put(replace(self._kept, root=data.decode()))

    def _timestamp(self) -> None:
        """5.4: the one kept counts against older ones even where it has expired."""
        from tuf.api.exceptions import EqualVersionNumberError

        self._recall(lambda data: self._set.update_timestamp(data), "timestamp")
        data = self._needed("timestamp", MOST["timestamp"])
        try:
            self._set.update_timestamp(data)
        except EqualVersionNumberError:
            return
        self._put(self._kept.having("timestamp", data))

    def _snapshot(self) -> None:
        """5.5: nothing that the one kept names may be missing or older in the new one."""
        if self._recall(lambda data: self._set.update_snapshot(data, trusted=True), "snapshot"):
            return
        meta = self._set.timestamp.snapshot_meta
        data = self._needed(f"{meta.version}.snapshot", min(meta.length or MOST["snapshot"], MOST["snapshot"]))
        self._set.update_snapshot(data)
        self._put(self._kept.having("snapshot", data))

    def _role(self, role: str, delegator: str) -> None:
        """5.6, and 5.6.7 for a role that is delegated."""
        if self._recall(lambda data: self._set.update_delegated_targets(data, role, delegator), role):
            return
        meta = self._set.snapshot.meta.get(f"{role}.json")
        if meta is None:
            raise ReleaseRefused(f"the snapshot of releases names no {role}; nothing was changed, tell who signs it")
        data = self._needed(f"{meta.version}.{role}", min(meta.length or MOST[role], MOST[role]))
        self._set.update_delegated_targets(data, role, delegator)
        self._put(self._kept.having(role, data))

    def _recall(self, load: Callable[[bytes], Any], role: str) -> bool:
        """Whether what is kept of a role is still the newest; where it cannot be used it is fetched anew."""
        from tuf.api.exceptions import RepositoryError

        data = self._kept.get(role)
        if not data:
            return False
        try:
            load(data)
        except RepositoryError:
            return False
        return True

    def _fetch(self, name: str, most: int) -> bytes | None:
        return whole(self._fetcher, f"{METADATA}/{name}.json", most, self._clock)

    def _needed(self, name: str, most: int) -> bytes:
        data = self._fetch(name, most)
        if data is None:
            raise ReleaseRefused(f"{name}.json of releases is not there; nothing was changed, try again later")
        return data

    def _put(self, kept: Trusted) -> None:
        self._kept = kept
        self._keep(kept)
