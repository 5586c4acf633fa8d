"""The roll of a clinic's devices in one file of canonical JSON: `fedmed.identity.devices` on a disk.

The command line and the serving hub change it side by side, each alone for one step. Who only reads takes no lock, since a
file is replaced whole: a device that the command line revokes is refused at its next call.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any

from fedmed.clock import Clock
from fedmed.errors import JoinRefused, StoreError
from fedmed.identity import files
from fedmed.identity.devices import MOST_DEVICES, Deliver, Device, Event, Refuse, Roll, Sign, Signed, Stage, step
from fedmed.identity.member import NAME
from fedmed.store.locks import alone
from fedmed.wire.canonical import canonical, digest

MAX_BYTES = 8 << 20
_SETTLED_S = 2.0
_KIND, _VERSION = "fedmed-devices", 1
_PLAIN = {
    "name": str,
    "invitation": str,
    "stored": str,
    "expires": int,
    "wrong": int,
    "since": int,
    "fingerprint": str,
    "until": int,
}

Signer = Callable[[bytes], tuple[bytes, int]]
"""A certificate request (DER) -> the certificate (DER), and until when it is valid (seconds since 1970)."""


class Devices:
    """The roll, read anew whenever its file is another one than before. Safe from any thread."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self.path, self._clock, self._turn = path, clock, threading.Lock()
        self._seen: tuple[int, int, int] | None = None
        self._roll = Roll()

    def roll(self) -> Roll:
        """What the file says now. Raises StoreError for a file that is not there, damaged, or that others can change."""
        with self._turn:
            try:
                found = self.path.stat()
                seen = (found.st_ino, found.st_mtime_ns, found.st_size)
                if seen != self._seen:
                    self._roll = _decoded(self.path, files.read(self.path, MAX_BYTES + 1))
                    # A file that was just written may be written again with the same stamp.
                    self._seen = seen if abs(self._clock.unix() - found.st_mtime) > _SETTLED_S else None
            except OSError as error:
                raise StoreError(
                    f"{self.path}: the roll of devices cannot be read ({error.strerror}); name the clinic's folder, or put "
                    "a copy of the file back"
                ) from error
            return self._roll

    def create(self) -> None:
        """An empty roll. Raises KeyRefused where there is a file already."""
        files.write_new(self.path, _encoded(Roll()))

    def apply(self, event: Event, sign: Signer | None = None) -> Deliver | None:
        """Take one step, on the disk before this returns; what `Sign` asks for is done by `sign` within the same step.

        Raises JoinRefused, DeviceRefused for a step that is not allowed, StoreError where the file cannot be written.
        """
        try:
            with alone(self.path.with_name(f".{self.path.name}.lock")):
                return self._stepped(event, sign)
        except OSError as error:
            raise StoreError(
                f"{self.path}: the roll of devices cannot be written ({error.strerror}); nothing changed. Make room or mend "
                "the disk, then try again"
            ) from error

    def _stepped(self, event: Event, sign: Signer | None) -> Deliver | None:
        self._seen = None
        before, now = self.roll(), int(self._clock.unix())
        roll, todo = step(before, event, now)
        if isinstance(todo, Sign):
            if sign is None:
                raise StoreError(f"{todo.name!r}: nobody is here to sign its certificate")
            certificate, until = sign(todo.request)
            roll, todo = step(roll, Signed(todo.name, todo.fingerprint, certificate, until), now)
        if roll != before:
            files.replace(self.path, _encoded(roll))
        if isinstance(todo, Refuse):
            raise JoinRefused(todo.reason)
        return todo if isinstance(todo, Deliver) else None


def _encoded(roll: Roll) -> bytes:
    rows = [
        {key: getattr(device, key) for key in _PLAIN}
        | {"stage": device.stage.value, "certificate": device.certificate.hex()}
        for _, device in sorted(roll.devices.items())
    ]
    body = {"devices": rows, "kind": _KIND, "revoked": sorted(roll.revoked), "version": _VERSION}
    return canonical({"devices": body, "sha256": digest(body)}) + b"\n"


def _decoded(path: Path, content: bytes) -> Roll:
    try:
        read: dict[str, Any] = json.loads(content)
        devices = {row["name"]: _device(row) for row in read["devices"]["devices"]}
        roll = Roll(MappingProxyType(devices), frozenset(map(str, read["devices"]["revoked"])))
        is_whole = _encoded(roll) == content and len(devices) <= MOST_DEVICES and all(map(NAME.fullmatch, devices))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise StoreError(f"{path} cannot be read ({type(error).__name__}); put a copy of it back") from error
    if not is_whole:
        raise StoreError(f"{path} was not written by fedmed, or was changed by hand; put a copy of it back")
    return roll


def _device(row: dict[str, Any]) -> Device:
    if any(type(row[key]) is not kind for key, kind in _PLAIN.items()):
        raise TypeError
    held: dict[str, Any] = {key: row[key] for key in _PLAIN}
    return Device(**held, stage=Stage(row["stage"]), certificate=bytes.fromhex(row["certificate"]))
