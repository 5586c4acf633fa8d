"""The clinic's two stores of studies, originals and de-identified copies: content-addressed and sealed.

An object's name is a keyed digest of its content, so that the same file is kept once and its name tells nothing. It is
written beside its place, synced and renamed: a process that is killed leaves a whole object or none, and two processes that
write the same object write the same name. What is known of an object, such as its pseudonyms, lies sealed beside it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from fedmed.errors import StoreError
from fedmed.identity import files
from fedmed.privacy.keys import DEIDENTIFIED, ORIGINALS, SiteKey, derived
from fedmed.privacy.sealing import seal, unsealed
from fedmed.store.syncing import sync_folder

BLOCK = 1 << 20
WRITING, AWAY = ".writing-", "away"
ADDRESS = 64
"""Hexadecimal digits of an address: HMAC-SHA256."""


class Studies:
    """One sealed store in one folder, under one key of 32 bytes."""

    def __init__(self, folder: Path, key: bytes, random_bytes: Callable[[int], bytes] = secrets.token_bytes) -> None:
        self.folder = folder
        self._sealing, self._naming = derived(key, "contents"), derived(key, "names")
        self._random_bytes = random_bytes

    def put(self, content: bytes, facts: dict[str, Any]) -> str:
        """Keeps an object and what is known of it; its address. Raises StoreError where the disk refuses.

        An object that is here already is not written again; its facts are.
        """
        address = hmac.new(self._naming, content, hashlib.sha256).hexdigest()
        if not self._place("objects", address).exists():
            self._write("objects", address, BytesIO(content))
        self._write("facts", address, BytesIO(json.dumps(facts, sort_keys=True).encode()))
        return address

    def get(self, address: str) -> bytes:
        """An object's content. Raises StoreError for one that is not here, or not as it was put."""
        content = b"".join(self._read("objects", address))
        if not hmac.compare_digest(hmac.new(self._naming, content, hashlib.sha256).hexdigest(), address):
            raise StoreError(f"object {address[:12]}: its content is not what its name says")
        return content

    def facts(self, address: str) -> dict[str, Any]:
        """What was put beside an object. Raises StoreError."""
        found: dict[str, Any] = json.loads(b"".join(self._read("facts", address)))
        return found

    def addresses(self) -> list[str]:
        """All objects that are whole, in the order of their addresses."""
        found = (path.parent.name + path.name for path in self.folder.glob("objects/[0-9a-f][0-9a-f]/[0-9a-f]*"))
        return sorted(address for address in found if len(address) == ADDRESS and self._place("facts", address).exists())

    def has(self, address: str) -> bool:
        """Whether an object is here, whole."""
        return self.where(address).exists() and self._place("facts", address).exists()

    def stat(self, address: str) -> tuple[int, float]:
        """Bytes of an object on the disk, and when it came, seconds since 1970. Raises StoreError."""
        try:
            found = self.where(address).stat()
        except OSError as error:
            raise StoreError(f"object {address[:12]} cannot be looked at ({error.strerror})") from error
        return found.st_size, found.st_mtime

    def where(self, address: str) -> Path:
        """The file of an object."""
        return self._place("objects", address)

    def remove(self, address: str) -> None:
        """Have an object here no more, on the disk; one that is not here is no error. Raises StoreError."""
        try:
            for kind in ("objects", "facts"):
                path = self._place(kind, address)
                path.unlink(missing_ok=True)
                if path.parent.exists():
                    sync_folder(path.parent)
        except OSError as error:
            raise StoreError(f"object {address[:12]} cannot be removed ({error.strerror}); mend the disk") from error

    def note_away(self, count: int) -> None:
        """Note how many objects are in an archive alone. Raises StoreError."""
        try:
            files.replace(self.folder / AWAY, str(count).encode())
        except OSError as error:
            raise StoreError(f"{self.folder / AWAY} cannot be written ({error.strerror}); make room") from error

    def away(self) -> int:
        """How many objects are in an archive alone, as was noted last; 0 where nothing was."""
        try:
            return int((self.folder / AWAY).read_text(encoding="ascii"))
        except (OSError, ValueError):
            return 0

    def _place(self, kind: str, address: str) -> Path:
        if len(address) != ADDRESS or set(address) - set("0123456789abcdef"):
            raise StoreError(f"{address[:80]!r} is no address; one has {ADDRESS} hexadecimal digits")
        return self.folder / kind / address[:2] / address[2:]

    def _read(self, kind: str, address: str) -> Iterator[bytes]:
        try:
            with self._place(kind, address).open("rb") as file:
                yield from unsealed(self._sealing, f"{kind}/{address}", file)
        except OSError as error:
            raise StoreError(f"object {address[:12]} cannot be read ({error.strerror})") from error

    def _write(self, kind: str, address: str, source: BinaryIO) -> None:
        target = self._place(kind, address)
        beside = target.with_name(f"{WRITING}{os.getpid()}-{self._random_bytes(6).hex()}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                seal(self._sealing, f"{kind}/{address}", source, file, random_bytes=self._random_bytes)
                file.flush()
                os.fsync(file.fileno())
            beside.rename(target)
            sync_folder(target.parent)
        except OSError as error:
            with suppress(OSError):  # a disk that can only be read takes nothing away
                beside.unlink()
            raise StoreError(
                f"{self.folder}: an object cannot be written ({error.strerror}); make room or mend the disk"
            ) from error

    def sweep(self) -> int:
        """Removes what killed processes had begun to write; how many. What a living process writes stays."""
        begun = [path for path in self.folder.glob(f"*/*/{WRITING}*") if not _alive(path.name[len(WRITING) :].split("-")[0])]
        for path in begun:
            path.unlink(missing_ok=True)
        return len(begun)


def originals(folder: Path, key: SiteKey) -> Studies:
    """The store that holds what the scanners made."""
    return Studies(folder / "originals", key.derive(ORIGINALS))


def deidentified(folder: Path, key: SiteKey) -> Studies:
    """The store that training reads; its key opens nothing of the other."""
    return Studies(folder / "deidentified", key.derive(DEIDENTIFIED))


def _alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except (PermissionError, ValueError):
        return True
    return True
