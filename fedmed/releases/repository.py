"""An authority's folder: its metadata, manifests and packages as they are served, and the keys that sign day by day.

    metadata/<version>.<role>.json, metadata/timestamp.json     targets/<SHA-256>.<counter>.json     blobs/<SHA-256>
    keys/targets.key, keys/fresh.key, never served; the root's keys are elsewhere, and sign a clinic's targets, too: who may
    countersign is nothing that a thief of this folder could change

Whatever is named is written before what names it, and the timestamp last, in one rename: who reads at any moment, or after
a crash, finds the edition before or the new one, whole.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp  # type: ignore[attr-defined]

from fedmed.clock import Clock
from fedmed.errors import ConfigError, StoreError
from fedmed.identity.releases import ReleaseKey
from fedmed.releases import edition as editions
from fedmed.releases import pruning
from fedmed.releases.channel import Channel, Release, State, allowed, candidate, promoted, proposed, rolled_back
from fedmed.releases.edition import TIMESTAMP_FILE, Edition, Terms
from fedmed.releases.fetching import BLOBS, COUNTERSIGNED, METADATA, TARGETS, manifest_name
from fedmed.releases.manifest import Manifest, of_folder, sha256_of
from fedmed.releases.pruning import Surplus
from fedmed.releases.signing import Keys, SigningKey, public_key
from fedmed.store.disk import Disk, Sink, replace_file, write_file
from fedmed.store.locks import alone
from fedmed.wire.tensors import sha256

_KEYS, _TARGETS_KEY, _FRESH_KEY = "keys", "targets.key", "fresh.key"
_PIECE = 1 << 20


@dataclass(frozen=True)
class Repository:
    """One authority's folder. Every change is under a lock, so that two commands at once give two editions."""

    folder: Path
    clock: Clock
    terms: Terms = field(default_factory=Terms)
    disk: Disk = field(default_factory=Disk)

    def begin(
        self, root: Sequence[SigningKey], thresholds: tuple[int, int] = (1, 1), approvers: Sequence[bytes] = ()
    ) -> Edition:
        """Make the folder, its daily keys, and version 1 of everything; with approvers it is a clinic's.

        Raises ConfigError where there is one already, or for thresholds that cannot be reached; StoreError.
        """
        if (self.folder / METADATA).exists():
            raise ConfigError(f"{self.folder} has releases already; their keys are never written over")
        keys = _new_keys(root, is_clinic=bool(approvers))
        made = editions.first(keys, thresholds, approvers, self.terms, self.clock.unix())
        with self._writing():
            self._save_keys(keys)
            self._publish(made)
        return made

    @property
    def is_begun(self) -> bool:
        """Whether there is an edition."""
        return (self.folder / METADATA / TIMESTAMP_FILE).is_file()

    def fingerprint(self) -> str:
        """SHA-256 of the first root, by which others pin this authority."""
        return sha256(self.metadata("1.root.json"))

    def keys(self, root: Sequence[SigningKey] = ()) -> Keys:
        """The keys that are kept here, and the root's. Raises KeyRefused."""
        place = self.folder / _KEYS
        fresh = (ReleaseKey.load(place / _FRESH_KEY),)
        if not (place / _TARGETS_KEY).exists():
            return Keys(root, root, fresh)
        return Keys(root, (ReleaseKey.load(place / _TARGETS_KEY),), fresh)

    def edition(self) -> Edition:
        """The newest one. Raises ConfigError where none was begun, StoreError where it cannot be read."""
        if not self.is_begun:
            raise ConfigError(f"{self.folder} has no channel of releases yet; begin one: fedmed release init")
        try:
            timestamp = Metadata[Timestamp].from_bytes(self.metadata(TIMESTAMP_FILE))
            version = timestamp.signed.snapshot_meta.version
            snapshot = Metadata[Snapshot].from_bytes(self.metadata(f"{version}.snapshot.json"))
            root = Metadata[Root].from_bytes(self.metadata(f"{self._newest_root()}.root.json"))
            targets = self._role(snapshot, TARGETS)
            assert targets is not None
            return Edition(root, targets, self._countersigned(snapshot, targets), snapshot, timestamp)
        except (RepositoryError, ValueError) as error:
            raise StoreError(
                f"{self.folder}: its metadata cannot be read ({error}); put a copy of the folder back"
            ) from error

    def propose(self, package: Path, name: str, version: str) -> Release:
        """A new candidate from a package's folder, whose files are copied. Raises DataError, ConfigError, StoreError."""

        def step(channel: Channel) -> Channel:
            manifest = of_folder(package, channel.next_counter, name, version)
            self._copy(package, manifest)
            new = candidate(manifest, self._now())
            self._put(self.folder / manifest_name(new), manifest.encoded())
            return proposed(channel, new)

        return self._step(step).releases[-1]

    def promote(self, counter: int) -> Release:
        """One step further: candidate, shadow, active. Raises ConfigError as `promoted`, StoreError."""
        return self._step(lambda channel: promoted(channel, counter, self._now())).find(counter)

    def roll_back(self, counter: int, why: str) -> Release:
        """End a release. Raises ConfigError as `rolled_back`, StoreError."""
        return self._step(lambda channel: rolled_back(channel, counter, why, self._now())).find(counter)

    def allow(self, theirs: Release, state: State, why: str, approvers: Sequence[SigningKey]) -> Release:
        """A clinic's word, signed by its approvers, on a release of the federation. Raises ConfigError, StoreError."""
        made = self._step(lambda channel: allowed(channel, theirs, state, why, self._now()), approvers)
        return made.find(theirs.counter)

    def freshen(self) -> bool:
        """Sign snapshot and timestamp anew where a third of their time has passed; whether it was. Raises StoreError."""
        with self._writing():
            now = self.edition()
            if not editions.is_due(now, self.terms, self.clock.unix()):
                return False
            self._publish(editions.freshened(now, self.keys(), self.terms, self.clock.unix()))
        return True

    def prune(self, record: Callable[[Surplus], object]) -> Surplus:
        """Remove what no edition needs that a device may still come upon; `record` is told first. Raises StoreError."""
        with self._writing():
            now = self.clock.unix()
            found = pruning.surplus(self.folder, pruning.editions_of(self.folder, now), now)
            if found.files:
                record(found)
                pruning.remove(self.disk, found)
        return found

    def rotate(self, old: Sequence[SigningKey], root: Sequence[SigningKey], threshold: int) -> Edition:
        """New daily keys, and `root` in place of the root's. Raises ConfigError for too few keys, StoreError."""
        with self._writing():
            now = self.edition()
            keys = _new_keys(root, is_clinic=now.countersigned is not None)
            made = editions.rotated(now, keys, old, threshold, self.terms, self.clock.unix())
            for name in (_TARGETS_KEY, _FRESH_KEY):
                (self.folder / _KEYS / name).unlink(missing_ok=True)
            self._save_keys(keys)
            self._publish(made)
        return made

    def delegate(self, root: Sequence[SigningKey], approvers: Sequence[bytes], threshold: int) -> Edition:
        """These approvers countersign for a clinic from now on. Raises ConfigError, StoreError."""
        with self._writing():
            now = self.edition()
            known = {key.keyid for key in now.root.signed.keys.values()}
            if not {public_key(key.public).keyid for key in root} <= known:
                raise ConfigError("this is not the clinic's root key; name the file that `fedmed clinic release init` made")
            made = editions.delegated(now, approvers, threshold, self.keys(root), self.terms, self.clock.unix())
            self._publish(made)
        return made

    def _step(self, step: Callable[[Channel], Channel], approvers: Sequence[SigningKey] | None = None) -> Channel:
        with self._writing():
            now, keys = self.edition(), self.keys()
            signers = keys.targets if approvers is None else approvers
            channel = step(now.channel)
            self._publish(editions.stated(now, channel, signers, keys, self.terms, self.clock.unix()))
        return channel

    def _publish(self, edition: Edition) -> None:
        for name, content in edition.files().items():
            path = self.folder / METADATA / name
            if not path.exists() or path.read_bytes() != content:
                self._put(path, content)

    def _copy(self, package: Path, manifest: Manifest) -> None:
        """The package's files, each under its digest; one that is there is not written again."""
        for name, file in manifest.files.items():
            place = self.folder / BLOBS / file.sha256
            if place.exists():
                continue
            self.disk.make_folder(place.parent)
            temporary = place.with_name(f".{file.sha256}")
            temporary.unlink(missing_ok=True)
            with (package / name).open("rb") as source:
                write_file(self.disk, temporary, lambda sink, source=source: _pour(source, sink))  # type: ignore[misc]
            if sha256_of(temporary) != file.sha256:
                temporary.unlink()
                raise ConfigError(f"{package / name} was changed while it was read; propose it again when it is whole")
            self.disk.rename(temporary, place)
            self.disk.sync_folder(place.parent)

    def _put(self, path: Path, content: bytes) -> None:
        self.disk.make_folder(path.parent)
        replace_file(self.disk, path, content)

    def _save_keys(self, keys: Keys) -> None:
        own = (
            [(_FRESH_KEY, keys.fresh)]
            if keys.targets == keys.root
            else [(_TARGETS_KEY, keys.targets), (_FRESH_KEY, keys.fresh)]
        )
        for name, [key] in own:
            assert isinstance(key, ReleaseKey)
            key.save(self.folder / _KEYS / name)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            self.disk.make_folder(self.folder)
            with alone(self.folder / ".lock"):
                yield
        except OSError as error:
            raise StoreError(
                f"{self.folder} cannot be written ({error.strerror or error}); make room or mend the disk, then try again: "
                "what was served before is whole"
            ) from error

    def _newest_root(self) -> int:
        numbers = [path.name.split(".")[0] for path in (self.folder / METADATA).glob("*.root.json")]
        return max(int(number) for number in numbers if number.isdecimal())

    def _countersigned(self, snapshot: Metadata[Snapshot], targets: Metadata[Targets]) -> Metadata[Targets] | None:
        """The clinic's role; before its first word an unsigned one, which is not served."""
        if targets.signed.delegations is None:
            return None
        return self._role(snapshot, COUNTERSIGNED) or Metadata(Targets(expires=targets.signed.expires))

    def _role(self, snapshot: Metadata[Snapshot], role: str) -> Metadata[Targets] | None:
        meta = snapshot.signed.meta.get(f"{role}.json")
        return None if meta is None else Metadata[Targets].from_bytes(self.metadata(f"{meta.version}.{role}.json"))

    def metadata(self, name: str) -> bytes:
        """One file of metadata. Raises StoreError where it cannot be read."""
        path = self.folder / METADATA / name
        try:
            return path.read_bytes()
        except OSError as error:
            raise StoreError(f"{path} cannot be read ({error.strerror}); put a copy of the folder back") from error

    def _now(self) -> int:
        return int(self.clock.unix())


def _new_keys(root: Sequence[SigningKey], is_clinic: bool) -> Keys:
    return Keys(root, root if is_clinic else (ReleaseKey.generate(),), (ReleaseKey.generate(),))


def card_of(package: Path) -> tuple[str, str]:
    """Name and version that a package's card.json tells; empty where it tells none."""
    try:
        said: Any = json.loads((package / "card.json").read_bytes())
        return str(said["name"]), str(said["version"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "", ""


def _pour(source: Any, sink: Sink) -> None:
    while piece := source.read(_PIECE):
        sink.write(piece)
