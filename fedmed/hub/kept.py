"""The two places where a hub keeps studies that devices sent, for the archive: files, or the clinic's sealed store."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fedmed.errors import DataError, StoreError
from fedmed.store.archive.holding import Kept
from fedmed.store.disk import Disk
from fedmed.store.studies import Studies
from fedmed.store.syncing import at_once, sync_folder

DEVICE = "device"
"""The fact that says who sent an object; what the clinic's staff put into the store itself has none, and stays."""
TOGETHER = 128
"""Files that are open at a time, to be synced."""
_UID = re.compile(r"[0-9.]{1,64}")
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,127}/[0-9a-f]{64}")


def put_file(path: Path, content: bytes) -> None:
    """Whole under its name, the content synced; the name is once the folder is. Raises OSError."""
    beside = _begun(path)
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        beside.unlink(missing_ok=True)  # a full disk gets its room back at once
        raise
    beside.replace(path)


def put_files(found: Sequence[tuple[Path, bytes]]) -> None:
    """As `put_file`, for many: some are synced at a time, then named one after the other, in this order. Raises OSError."""
    for first in range(0, len(found), TOGETHER):
        _put_together(dict(found[first : first + TOGETHER]))


def _put_together(found: Mapping[Path, bytes]) -> None:
    disk, opened = Disk(), dict[Path, int]()
    try:
        for path, content in found.items():
            opened[path] = os.open(_begun(path), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
            disk.write(opened[path], content, 0)
        at_once(disk.sync, list(opened.values()))
        for path in opened:
            _begun(path).replace(path)
    except OSError:
        for path in opened:
            _begun(path).unlink(missing_ok=True)
        raise
    finally:
        for handle in opened.values():
            disk.close(handle)


def _begun(path: Path) -> Path:
    return path.with_name(f".{path.name}")


class KeptFiles:
    """`hub.serving.folder_keeper`'s folder: DEVICE/DIGEST, and beside it DIGEST.json with what is known of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._studies: dict[str, str] = {}

    def kept(self) -> list[Kept]:
        """See `Holding`."""
        found = []
        try:
            for path in sorted(self.folder.glob("*/*")):
                name = f"{path.parent.name}/{path.name}"
                if _NAME.fullmatch(name) and _beside(path).exists():
                    said = path.stat()
                    found.append(Kept(name, self._study(name), said.st_size, said.st_mtime))
        except OSError as error:
            raise StoreError(f"{self.folder} cannot be looked at ({error.strerror}); mend the disk") from error
        self._studies = {each.name: each.study for each in found}
        return found

    def read(self, name: str) -> tuple[bytes, Mapping[str, Any]]:
        """See `Holding`."""
        try:
            return self.where(name).read_bytes(), self._facts(name)
        except OSError as error:
            raise StoreError(f"{self.where(name)} cannot be read ({error.strerror}); mend the disk") from error

    def put(self, name: str, content: bytes, facts: Mapping[str, Any]) -> bool:
        """See `Holding`."""
        path = self.where(name)
        if path.exists():
            return False
        beside = _beside(path)
        try:
            Disk().make_folder(path.parent)
            put_file(beside, json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode() + b"\n")
            put_file(path, content)
            sync_folder(path.parent)
        except OSError as error:
            beside.unlink(missing_ok=True)
            raise StoreError(f"{path.parent}: an object cannot be written ({error.strerror}); make room") from error
        return True

    def remove(self, name: str) -> None:
        """See `Holding`."""
        path = self.where(name)
        try:
            path.unlink(missing_ok=True)
            _beside(path).unlink(missing_ok=True)
            if path.parent.exists():
                sync_folder(path.parent)
        except OSError as error:
            raise StoreError(f"{path} cannot be removed ({error.strerror}); mend the disk") from error

    def where(self, name: str) -> Path:
        """See `Holding`."""
        if not _NAME.fullmatch(name):
            raise StoreError(f"{name[:100]!r} is no object of a device; one is DEVICE/DIGEST")
        return self.folder / name

    def tell(self, away: int) -> None:
        """Nobody: who reads files sees which there are, and a note among them would be read as one."""

    def _facts(self, name: str) -> dict[str, Any]:
        path = _beside(self.where(name))
        try:
            facts = json.loads(path.read_bytes())
            if not isinstance(facts, dict):
                raise ValueError(f"a {type(facts).__name__}")
        except (OSError, ValueError, RecursionError) as error:
            raise StoreError(f"{path} cannot be read ({error}); put a copy of it back, or remove it") from error
        return facts

    def _study(self, name: str) -> str:
        if name not in self._studies:
            try:
                said = self._facts(name).get("facts")
                study = study_of(said if isinstance(said, dict) else {}, lambda: self.read(name)[0])
            except StoreError:  # alone: whoever reads it is told, and every other study goes on
                study = ""
            self._studies[name] = study or name.rsplit("/", 1)[1]
        return self._studies[name]


class KeptStudies:
    """Those objects of the clinic's sealed store that devices sent."""

    def __init__(self, studies: Studies) -> None:
        self._store = studies
        self._known: dict[str, str | None] = {}

    def kept(self) -> list[Kept]:
        """See `Holding`."""
        found = []
        addresses = self._store.addresses()
        self._known = {address: self._study(address) for address in addresses}
        for address, study in self._known.items():
            if study is not None:
                size, unix = self._store.stat(address)
                found.append(Kept(address, study, size, unix))
        return found

    def read(self, name: str) -> tuple[bytes, Mapping[str, Any]]:
        """See `Holding`."""
        return self._store.get(name), self._store.facts(name)

    def put(self, name: str, content: bytes, facts: Mapping[str, Any]) -> bool:
        """See `Holding`."""
        if self._store.has(name):
            return False
        if self._store.put(content, dict(facts)) != name:
            raise StoreError(f"object {name[:12]}: the store has another key than when it was archived; put that one back")
        return True

    def remove(self, name: str) -> None:
        """See `Holding`."""
        self._store.remove(name)

    def where(self, name: str) -> Path:
        """See `Holding`."""
        return self._store.where(name)

    def tell(self, away: int) -> None:
        """Whoever exports from the store."""
        self._store.note_away(away)

    def _study(self, address: str) -> str | None:
        if address in self._known:
            return self._known[address]
        try:
            facts = self._store.facts(address)
            return (study_of(facts, lambda: self._store.get(address)) or address) if DEVICE in facts else None
        except StoreError:  # alone: whoever reads it is told, and every other study goes on
            return address


def study_of(facts: Mapping[str, Any], content: Callable[[], bytes]) -> str:
    """The pseudonymous study of an object as its device told it, else as it says itself; empty where it does not."""
    from fedmed.dicom.arrivals import facts_of

    if isinstance(told := facts.get("study"), str) and _UID.fullmatch(told):
        return told
    try:
        return facts_of(content())["study"]
    except DataError:  # no DICOM, or not to be followed
        return ""


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")
