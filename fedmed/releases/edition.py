"""What an authority of releases has signed at one time, and the steps that give its next edition. Pure, under a given time.

Two authorities have this form (ADR 0049). The federation's states its channel in TUF's top-level role `targets`. A clinic's
states in the delegated role `countersigned`, signed by its approvers, how far it lets each release come; its own `targets`
says nothing but whose keys those are. Everything follows the TUF specification 1.0, with consistent snapshots (6.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import Any

from tuf.api.metadata import (  # type: ignore[attr-defined]  # its own names are not marked as exported
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    T,
    TargetFile,
    Targets,
    Timestamp,
)

from fedmed.errors import ConfigError, ReleaseRefused
from fedmed.releases.channel import Channel, Release, custom, read_release
from fedmed.releases.fetching import COUNTERSIGNED, TARGETS
from fedmed.releases.signing import HouseSigner, Keys, SigningKey, public_key
from fedmed.wire.tensors import sha256

TIMESTAMP_FILE = "timestamp.json"
PATTERN = "[0-9]*.json"
MOST_THRESHOLD = 16


@dataclass(frozen=True)
class Terms:
    """Days after which each kind of metadata expires, and so what a stolen key or a withheld update is good for."""

    root: int = 730
    targets: int = 365
    fresh: int = 7
    """Snapshot and timestamp: for so long may somebody hide a newer edition from a clinic."""


@dataclass(frozen=True)
class Edition:
    """All metadata of an authority that belongs together."""

    root: Metadata[Root]
    targets: Metadata[Targets]
    countersigned: Metadata[Targets] | None
    """A clinic's alone."""
    snapshot: Metadata[Snapshot]
    timestamp: Metadata[Timestamp]

    @property
    def holder(self) -> Metadata[Targets]:
        """The role that states the channel."""
        return self.countersigned or self.targets

    @property
    def channel(self) -> Channel:
        """What it states. Raises ReleaseRefused."""
        return channel_of(self.holder.signed)

    def files(self) -> dict[str, bytes]:
        """By name, in the order in which they are written: what is named by none before it comes last (6.2)."""
        named: dict[str, Metadata[Any]] = {Root.type: self.root, TARGETS: self.targets}
        if self.countersigned is not None and self.countersigned.signatures:
            named[COUNTERSIGNED] = self.countersigned
        named[Snapshot.type] = self.snapshot
        files = {f"{one.signed.version}.{role}.json": encoded(one) for role, one in named.items()}
        return {**files, TIMESTAMP_FILE: encoded(self.timestamp)}


def encoded(one: Metadata[T]) -> bytes:
    """As it is served."""
    return one.to_bytes()


def first(keys: Keys, thresholds: tuple[int, int], approvers: Sequence[bytes], terms: Terms, now: float) -> Edition:
    """Version 1 of everything. `thresholds`: signatures that the root needs, and those that a countersignature needs.

    With `approvers` (public keys) it is a clinic's. Raises ConfigError for a threshold that no signatures reach.
    """
    require_threshold(thresholds[0], len(keys.root), "root keys")
    root = Root(expires=_after(now, terms.root), consistent_snapshot=True)
    _name_keys(root, keys, thresholds[0])
    targets, countersigned = Targets(expires=_after(now, terms.targets)), None
    if approvers:
        targets.delegations = _delegations(approvers, thresholds[1])
        countersigned = Metadata(Targets(expires=_after(now, terms.targets)))
    signed = _signed(Metadata(targets), keys.targets)
    snapshot, timestamp = _fresh(signed, countersigned, (1, 1), keys, terms, now)
    return Edition(_signed(Metadata(root), keys.root), signed, countersigned, snapshot, timestamp)


def stated(
    edition: Edition, channel: Channel, signers: Sequence[SigningKey], keys: Keys, terms: Terms, now: float
) -> Edition:
    """The next edition, which states `channel`; `signers` sign the role that states it."""
    old = edition.holder.signed
    new = Targets(
        version=old.version + 1,
        expires=_after(now, terms.targets),
        targets={one.path: _target(one) for one in channel.releases},
        delegations=old.delegations,
    )
    changed = _signed(Metadata(new), signers)
    if edition.countersigned is not None:
        return freshened(replace(edition, countersigned=changed), keys, terms, now)
    return freshened(replace(edition, targets=changed), keys, terms, now)


def freshened(edition: Edition, keys: Keys, terms: Terms, now: float) -> Edition:
    """The same, under a new snapshot and timestamp."""
    versions = edition.snapshot.signed.version + 1, edition.timestamp.signed.version + 1
    snapshot, timestamp = _fresh(edition.targets, edition.countersigned, versions, keys, terms, now)
    return replace(edition, snapshot=snapshot, timestamp=timestamp)


def is_due(edition: Edition, terms: Terms, now: float) -> bool:
    """Whether less than two thirds are left of the timestamp."""
    left = edition.timestamp.signed.expires.timestamp() - now
    return left < terms.fresh * 86_400 * 2 / 3


def rotated(edition: Edition, keys: Keys, old: Sequence[SigningKey], threshold: int, terms: Terms, now: float) -> Edition:
    """The next root, with these keys in place of those before; `old` are keys of the root that is replaced.

    TUF, 6.1: signed by thresholds of both; what an older key signed is signed anew. Raises ConfigError for too few keys.
    """
    before = edition.root.signed
    known = {public_key(key.public).keyid for key in old} & set(before.roles[Root.type].keyids)
    require_threshold(before.roles[Root.type].threshold, len(known), "keys of the root before")
    require_threshold(threshold, len(keys.root), "root keys")
    root = Root(version=before.version + 1, expires=_after(now, terms.root), consistent_snapshot=True)
    _name_keys(root, keys, threshold)
    said = edition.targets.signed
    targets = Targets(said.version + 1, None, _after(now, terms.targets), said.targets, said.delegations)
    signers = {key.public: key for key in (*old, *keys.root)}
    signed = _signed(Metadata(root), tuple(signers.values())), _signed(Metadata(targets), keys.targets)
    return freshened(replace(edition, root=signed[0], targets=signed[1]), keys, terms, now)


def delegated(edition: Edition, approvers: Sequence[bytes], threshold: int, keys: Keys, terms: Terms, now: float) -> Edition:
    """The next edition of a clinic, in which these approvers countersign; what others signed counts no more.

    Raises ConfigError for a threshold that no signatures reach.
    """
    said = edition.targets.signed
    named = _delegations(approvers, threshold)
    targets = Targets(said.version + 1, None, _after(now, terms.targets), said.targets, named)
    return freshened(replace(edition, targets=_signed(Metadata(targets), keys.targets)), keys, terms, now)


def channel_of(holder: Targets) -> Channel:
    """The channel that signed metadata states. Raises ReleaseRefused for lines that fedmed does not write."""
    found = []
    for path, target in holder.targets.items():
        said = target.unrecognized_fields.get("custom")
        if not isinstance(said, dict) or set(target.hashes) != {"sha256"}:
            raise ReleaseRefused(f"signed metadata has a line {path!r:.40} that fedmed does not write; tell who signs it")
        found.append(read_release(path, target.length, target.hashes["sha256"], said))
    return Channel(tuple(sorted(found, key=lambda one: one.counter)))


def require_threshold(threshold: int, most: int, what: str) -> None:
    """Raises ConfigError for a number of signatures that can never be had."""
    if not 1 <= threshold <= min(most, MOST_THRESHOLD):
        raise ConfigError(f"{threshold} signatures of {most} {what}; allowed are 1 to {min(most, MOST_THRESHOLD)}")


def _name_keys(root: Root, keys: Keys, threshold: int) -> None:
    for role, signers in ((Root.type, keys.root), (TARGETS, keys.targets), (Snapshot.type, keys.fresh)):
        for key in signers:
            root.add_key(public_key(key.public), role)
    for key in keys.fresh:
        root.add_key(public_key(key.public), Timestamp.type)
    root.roles[Root.type].threshold = threshold


def _delegations(approvers: Sequence[bytes], threshold: int) -> Delegations:
    require_threshold(threshold, len(approvers), "approvers")
    known = [public_key(public) for public in approvers]
    role = DelegatedRole(COUNTERSIGNED, [key.keyid for key in known], threshold, terminating=True, paths=[PATTERN])
    return Delegations({key.keyid: key for key in known}, {COUNTERSIGNED: role})


def _fresh(
    targets: Metadata[Targets],
    countersigned: Metadata[Targets] | None,
    versions: tuple[int, int],
    keys: Keys,
    terms: Terms,
    now: float,
) -> tuple[Metadata[Snapshot], Metadata[Timestamp]]:
    expires = _after(now, terms.fresh)
    named = {f"{TARGETS}.json": targets, f"{COUNTERSIGNED}.json": countersigned}
    meta = {name: _meta(one) for name, one in named.items() if one is not None and one.signatures}
    snapshot = _signed(Metadata(Snapshot(versions[0], None, expires, meta)), keys.fresh)
    return snapshot, _signed(Metadata(Timestamp(versions[1], None, expires, _meta(snapshot))), keys.fresh)


def _target(release: Release) -> TargetFile:
    return TargetFile(release.length, {"sha256": release.manifest}, release.path, {"custom": custom(release)})


def _meta(one: Metadata[T]) -> MetaFile:
    """With length and digest: nothing of another edition fits in (mix and match)."""
    data = encoded(one)
    return MetaFile(one.signed.version, len(data), {"sha256": sha256(data)})


def _signed(one: Metadata[T], signers: Sequence[SigningKey]) -> Metadata[T]:
    for key in signers:
        one.sign(HouseSigner(key), append=True)
    return one


def _after(now: float, days: int) -> datetime:
    return datetime.fromtimestamp(int(now), timezone.utc) + timedelta(days=days)
