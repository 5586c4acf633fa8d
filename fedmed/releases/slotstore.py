"""A device's slots on its disk: what the state machine knows, the packages, what is trusted, and, elsewhere, the anchor.

slots.json                    `Slots`, replaced whole
federation.json, clinic.json  `Trusted`, replaced whole
slot-0, slot-1                a package each, and nothing else
manifest-0.json, ...          what the package in a slot has to be
<anchor>                      `Anchor`: in another folder, so that setting the slots up anew does not lower it
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fedmed.errors import ReleaseRefused, StoreError
from fedmed.releases.agreeing import Anchor
from fedmed.releases.manifest import MOST_BYTES, Manifest, read_manifest, sha256_of
from fedmed.releases.slots import SLOTS, Content, Phase, Slots
from fedmed.releases.trusting import Trusted, read_trusted
from fedmed.store.disk import Disk, replace_file
from fedmed.wire.canonical import canonical, digest
from fedmed.wire.tensors import sha256

STATE = "slots.json"
MOST_STATE = 1 << 20
AUTHORITIES = ("federation", "clinic")


class SlotStore:
    """The files of one device; one process at a time."""

    def __init__(self, folder: Path, anchor: Path, disk: Disk | None = None) -> None:
        """`anchor` is a file outside of the folder. Raises StoreError where the folders cannot be made."""
        self.folder, self.anchor_file, self.disk = folder, anchor, disk or Disk()
        self.state = folder / "state"
        with self.writing("its folders"):
            for place in (self.state, anchor.parent, *(self.package(slot) for slot in SLOTS)):
                self.disk.make_folder(place)

    def package(self, slot: int) -> Path:
        """Where a slot's package is."""
        return self.folder / f"slot-{slot}"

    def manifest_file(self, slot: int) -> Path:
        """Where a slot's manifest is."""
        return self.state / f"manifest-{slot}.json"

    def manifest(self, slot: int, content: Content) -> Manifest | None:
        """The manifest of this content; None where it is another's, or none."""
        data = self._read(self.manifest_file(slot), MOST_BYTES)
        if data is None or sha256(data) != content.manifest:
            return None
        try:
            return read_manifest(data)
        except ReleaseRefused:
            return None

    def is_whole(self, slot: int, content: Content) -> bool:
        """Whether every file of a slot is what the manifest says, and there is no other."""
        manifest = self.manifest(slot, content)
        try:
            there = {path.name for path in self.package(slot).iterdir()}
            return manifest is not None and there == set(manifest.files) and self._fits(slot, manifest)
        except OSError:
            return False

    def damaged(self, slots: Slots) -> frozenset[int]:
        """Slots that do not hold what they are said to."""
        filled = [(slot, one) for slot in SLOTS if (one := slots.contents[slot]) and one.phase is not Phase.FILLING]
        return frozenset(slot for slot, content in filled if not self.is_whole(slot, content))

    def spare(self, slots: Slots) -> list[Path]:
        """Files of slots that hold no release: of one that was given up. Raises StoreError."""
        empty = [slot for slot in SLOTS if slots.contents[slot] is None]
        with self.writing("a slot that is empty"):
            found = [path for slot in empty for path in sorted(self.package(slot).iterdir())]
        return [*found, *(path for slot in empty if (path := self.manifest_file(slot)).exists())]

    def clear(self, files: list[Path]) -> None:
        """Remove what is spare. Raises StoreError."""
        with self.writing("a slot that is empty"):
            for path in files:
                self.disk.remove(path)

    def digests(self, slots: Slots) -> set[str]:
        """SHA-256 of all files of the releases in the slots; of one that is only coming in there may be none."""
        held = [self.manifest(slot, one) for slot in SLOTS if (one := slots.contents[slot]) is not None]
        return {file.sha256 for each in held if each is not None for file in each.files.values()}

    def load(self) -> Slots:
        """The state; two empty slots where there is none yet. Raises StoreError where it is damaged."""
        data = self._read(self.state / STATE, MOST_STATE)
        return Slots() if data is None else _slots_of(self._body(data, STATE))

    def save(self, slots: Slots) -> None:
        """On the disk before this returns. Raises StoreError."""
        self._put(self.state / STATE, _sealed(_facts(slots)))

    def anchor(self) -> Anchor:
        """How far this device has come. Raises StoreError where it is damaged: it is never begun anew silently."""
        data = self._read(self.anchor_file, MOST_STATE)
        if data is None:
            return Anchor()
        said = self._body(data, self.anchor_file.name)
        (root, version), (own_root, own_version) = said["federation"], said["clinic"]
        return Anchor(said["counter"], (root, version), (own_root, own_version))

    def lift(self, anchor: Anchor) -> Anchor:
        """Raise the anchor; it never goes down in any part. Raises StoreError."""
        old = self.anchor()
        new = Anchor(
            max(old.counter, anchor.counter), max(old.federation, anchor.federation), max(old.clinic, anchor.clinic)
        )
        if new != old:
            self._put(self.anchor_file, _sealed(asdict(new)))
        return new

    def trusted(self, authority: str) -> Trusted | None:
        """What is trusted of an authority; None where its root was not pinned yet. Raises StoreError."""
        data = self._read(self.state / f"{authority}.json", 4 * MOST_STATE)
        return None if data is None else read_trusted(data)

    def keep(self, authority: str, trusted: Trusted) -> None:
        """On the disk before this returns. Raises StoreError."""
        self._put(self.state / f"{authority}.json", trusted.encoded())

    @contextmanager
    def writing(self, what: str) -> Iterator[None]:
        """Raises StoreError where the disk refuses."""
        try:
            yield
        except OSError as error:
            raise StoreError(
                f"{self.folder}: {what} cannot be written ({error.strerror or error}); make room or mend the disk. What ran "
                "before runs on"
            ) from error

    def _put(self, path: Path, content: bytes) -> None:
        with self.writing(path.name):
            replace_file(self.disk, path, content)

    def _read(self, path: Path, most: int) -> bytes | None:
        try:
            with path.open("rb") as file:
                return file.read(most + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(
                f"{path} cannot be read ({error.strerror}); mend the disk, or set the device up anew"
            ) from error

    def _fits(self, slot: int, manifest: Manifest) -> bool:
        place = self.package(slot)
        return all(
            (place / name).stat().st_size == file.bytes and sha256_of(place / name) == file.sha256
            for name, file in manifest.files.items()
        )

    def _body(self, data: bytes, name: str) -> dict[str, Any]:
        try:
            said = json.loads(data)
            if said["sha256"] != digest(said["body"]):
                raise ValueError("it does not have the digest it was written with")
            body: dict[str, Any] = said["body"]
            return body
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise StoreError(
                f"{name} of the releases on this device is damaged ({error}); set the device up anew"
            ) from error


def _sealed(body: dict[str, Any]) -> bytes:
    return canonical({"body": body, "sha256": digest(body)})


def _facts(slots: Slots) -> dict[str, Any]:
    said = asdict(slots)
    return {key: value for key, value in said.items() if key not in ("evidence", "beside")}


def _slots_of(said: dict[str, Any]) -> Slots:
    contents = [None if one is None else Content(**{**one, "phase": Phase(one["phase"])}) for one in said["contents"]]
    crashes, banned = (tuple((one[0], one[1]) for one in said[key]) for key in ("crashes", "banned"))
    places = said["active"], said["trial"], said["shadow"]
    return Slots((contents[0], contents[1]), *places, crashes, banned, said["clean"])
