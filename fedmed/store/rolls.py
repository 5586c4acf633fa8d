"""A roll in one file of canonical JSON: who was invited, who is in, which keys never come back.

The command line and a service change it side by side, each alone for one step. Who only reads takes no lock, since a file is
replaced whole: what one process writes, another sees at its next look.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from fedmed.clock import Clock
from fedmed.errors import StoreError
from fedmed.identity import files
from fedmed.identity.member import NAME
from fedmed.store.locks import alone
from fedmed.wire.canonical import canonical, digest

_SETTLED_S = 2.0
_VERSION = 1
R = TypeVar("R")
T = TypeVar("T")

Signer = Callable[[bytes], tuple[bytes, int]]
"""A certificate request (DER) -> the certificate (DER), and until when it is valid (seconds since 1970)."""


@dataclass(frozen=True)
class Form(Generic[R]):
    """How one sort of roll is written; what `make` makes has its entries by name, in the attribute `rows`, and `revoked`."""

    kind: str
    body: str
    """The file's one key beside the digest."""
    rows: str
    make: Callable[[Mapping[str, Any], frozenset[str]], R]
    entry: Callable[..., Any]
    stage: type[Enum]
    plain: Mapping[str, type]
    """Fields of an entry that are written as they are."""
    held: tuple[str, ...]
    """Fields of bytes."""
    most: int
    """Entries."""
    most_bytes: int
    whose: str
    """As in "the roll of devices"."""
    folder: str
    """As in "the clinic's folder"."""

    def encoded(self, roll: R) -> bytes:
        """The whole file."""
        entries: Mapping[str, Any] = getattr(roll, self.rows)
        rows = [self._row(each) for _, each in sorted(entries.items())]
        revoked: frozenset[str] = roll.revoked  # type: ignore[attr-defined]
        body = {self.rows: rows, "kind": self.kind, "revoked": sorted(revoked), "version": _VERSION}
        return canonical({self.body: body, "sha256": digest(body)}) + b"\n"

    def decoded(self, path: Path, content: bytes) -> R:
        """The roll. Raises StoreError for what was not written so, to the byte."""
        try:
            body: dict[str, Any] = json.loads(content)[self.body]
            entries = {row["name"]: self._entry(row) for row in body[self.rows]}
            roll = self.make(MappingProxyType(entries), frozenset(map(str, body["revoked"])))
            is_whole = self.encoded(roll) == content and len(entries) <= self.most and all(map(NAME.fullmatch, entries))
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise StoreError(f"{path} cannot be read ({type(error).__name__}); put a copy of it back") from error
        if not is_whole:
            raise StoreError(f"{path} was not written by fedmed, or was changed by hand; put a copy of it back")
        return roll

    def _row(self, entry: Any) -> dict[str, Any]:
        held = {key: getattr(entry, key).hex() for key in self.held}
        return {key: getattr(entry, key) for key in self.plain} | held | {"stage": entry.stage.value}

    def _entry(self, row: dict[str, Any]) -> Any:
        if any(type(row[key]) is not kind for key, kind in self.plain.items()):
            raise TypeError
        held = {key: bytes.fromhex(row[key]) for key in self.held}
        return self.entry(**{key: row[key] for key in self.plain}, **held, stage=self.stage(row["stage"]))


class RollFile(Generic[R]):
    """The roll, read anew whenever its file is another one than before. Safe from any thread."""

    def __init__(self, path: Path, clock: Clock, form: Form[R]) -> None:
        self.path, self._clock, self._form, self._turn = path, clock, form, threading.Lock()
        self._seen: tuple[int, int, int] | None = None
        self._roll = self._empty()

    def roll(self) -> R:
        """What the file says now. Raises StoreError for a file that is not there, damaged, or that others can change."""
        with self._turn:
            try:
                found = self.path.stat()
                seen = (found.st_ino, found.st_mtime_ns, found.st_size)
                if seen != self._seen:
                    self._roll = self._form.decoded(self.path, files.read(self.path, self._form.most_bytes + 1))
                    # As in git's index: a file that was just written may be written again with the same stamp.
                    self._seen = seen if abs(self._clock.unix() - found.st_mtime) > _SETTLED_S else None
            except OSError as error:
                raise StoreError(
                    f"{self.path}: the roll of {self._form.whose} cannot be read ({error.strerror}); name "
                    f"{self._form.folder}, or put a copy of the file back"
                ) from error
            return self._roll

    def create(self) -> None:
        """An empty roll. Raises KeyRefused where there is a file already."""
        files.write_new(self.path, self._form.encoded(self._empty()))

    def _empty(self) -> R:
        return self._form.make(MappingProxyType({}), frozenset())

    def _change(self, step: Callable[[R, int], tuple[R, T]]) -> T:
        """Take one step from the roll and the time (seconds since 1970), on the disk before this returns.

        What `step` raises changes nothing. Raises StoreError where the file cannot be written: nothing changed then, too.
        """
        try:
            with alone(self.path.with_name(f".{self.path.name}.lock")):
                self._seen = None
                before = self.roll()
                roll, todo = step(before, int(self._clock.unix()))
                if roll != before:
                    files.replace(self.path, self._form.encoded(roll))
                return todo
        except OSError as error:
            raise StoreError(
                f"{self.path}: the roll of {self._form.whose} cannot be written ({error.strerror}); nothing changed. Make "
                "room or mend the disk, then try again"
            ) from error


def signed(sign: Signer | None, name: str, request: bytes) -> tuple[bytes, int]:
    """What `sign` makes of the request of `name`. Raises StoreError where nobody signs."""
    if sign is None:
        raise StoreError(f"{name!r}: nobody is here to sign its certificate; run this where the authority's key is")
    return sign(request)
