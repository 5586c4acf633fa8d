"""The roll of a federation's transport in one file of canonical JSON: `fedmed.identity.enrolment` on a disk.

The command line and the serving center change it side by side, each alone for one step. Who only reads takes no
lock, since a file is replaced whole.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any

from fedmed.clock import Clock
from fedmed.errors import StoreError
from fedmed.identity import files
from fedmed.identity.enrolment import MOST_SEATS, Event, Instruction, Roll, Seat, Sign, Signed, Stage, step
from fedmed.identity.member import NAME
from fedmed.store.locks import alone
from fedmed.wire.canonical import canonical, digest

MAX_BYTES = 16 << 20
_SETTLED_S = 2.0
_KIND, _VERSION = "fedmed-enrolment", 1
_HELD = ("certificate", "request")
_PLAIN = {"name": str, "serial": str, "fingerprint": str, "expires": int, "since": int, "until": int}

Signer = Callable[[bytes], tuple[bytes, int]]
"""A certificate request (DER) -> the certificate (DER), and until when it is valid (seconds since 1970)."""


class Enrolments:
    """The roll, read anew whenever its file is another one than before."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self.path, self._clock = path, clock
        self._seen: tuple[int, int, int] | None = None
        self._roll = Roll()

    def roll(self) -> Roll:
        """What the file says now. Raises StoreError for a file that is not there, damaged, or that others can change."""
        try:
            found = self.path.stat()
            seen = (found.st_ino, found.st_mtime_ns, found.st_size)
            if seen != self._seen:
                self._roll = _decoded(self.path, files.read(self.path, MAX_BYTES + 1))
                # As in git's index: a file that was just written may be written again with the same stamp.
                self._seen = seen if abs(self._clock.unix() - found.st_mtime) > _SETTLED_S else None
        except OSError as error:
            raise StoreError(
                f"{self.path}: the roll of clinics cannot be read ({error.strerror}); name the center's folder, or put a "
                "copy of the file back"
            ) from error
        return self._roll

    def create(self) -> None:
        """An empty roll. Raises KeyRefused where there is a file already."""
        files.write_new(self.path, _encoded(Roll()))

    def apply(self, event: Event, sign: Signer | None = None) -> Instruction:
        """Take one step, on the disk before this returns; what `Sign` asks for is done by `sign` within the same step.

        Raises JoinRefused for a step that is not allowed, StoreError where the file cannot be written: nothing changed then.
        """
        try:
            with alone(self.path.with_name(f".{self.path.name}.lock")):
                return self._stepped(event, sign)
        except OSError as error:
            raise StoreError(
                f"{self.path}: the roll of clinics cannot be written ({error.strerror}); nothing changed. Make room or mend "
                "the disk, then try again"
            ) from error

    def _stepped(self, event: Event, sign: Signer | None) -> Instruction:
        self._seen = None
        before, now = self.roll(), int(self._clock.unix())
        roll, todo = step(before, event, now)
        if isinstance(todo, Sign) and sign is not None:
            certificate, until = sign(todo.request)
            roll, todo = step(roll, Signed(todo.name, certificate, until), now)
        if isinstance(todo, Sign):
            raise StoreError(f"{todo.name!r}: nobody is here to sign its certificate; run this where the authority's key is")
        if roll != before:
            files.replace(self.path, _encoded(roll))
        return todo


def _encoded(roll: Roll) -> bytes:
    rows = [
        {key: getattr(seat, key) for key in _PLAIN}
        | {key: getattr(seat, key).hex() for key in _HELD}
        | {"stage": seat.stage.value}
        for _, seat in sorted(roll.seats.items())
    ]
    body = {"kind": _KIND, "revoked": sorted(roll.revoked), "seats": rows, "version": _VERSION}
    return canonical({"enrolment": body, "sha256": digest(body)}) + b"\n"


def _decoded(path: Path, content: bytes) -> Roll:
    try:
        read: dict[str, Any] = json.loads(content)
        seats = {row["name"]: _seat(row) for row in read["enrolment"]["seats"]}
        roll = Roll(MappingProxyType(seats), frozenset(map(str, read["enrolment"]["revoked"])))
        whole = _encoded(roll) == content and len(seats) <= MOST_SEATS and all(map(NAME.fullmatch, seats))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise StoreError(f"{path} cannot be read ({type(error).__name__}); put a copy of it back") from error
    if not whole:
        raise StoreError(f"{path} was not written by fedmed, or was changed by hand; put a copy of it back")
    return roll


def _seat(row: dict[str, Any]) -> Seat:
    if any(type(row[key]) is not kind for key, kind in _PLAIN.items()):
        raise TypeError
    held: dict[str, Any] = {key: row[key] for key in _PLAIN} | {key: bytes.fromhex(row[key]) for key in _HELD}
    return Seat(**held, stage=Stage(row["stage"]))
