"""The roll of a clinic's devices in a file: `fedmed.identity.devices` on a disk.

A device that the command line revokes is cut by the serving hub within a second, and refused when it comes again.
"""

from __future__ import annotations

from pathlib import Path

from fedmed.clock import Clock
from fedmed.errors import JoinRefused
from fedmed.identity.devices import (
    MOST_DEVICES,
    Deliver,
    Device,
    Event,
    Instruction,
    Refuse,
    Roll,
    Sign,
    Signed,
    Stage,
    step,
)
from fedmed.store.rolls import Form, RollFile, Signer, signed

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
_FORM = Form(
    kind="fedmed-devices", body="devices", rows="devices", make=Roll, entry=Device, stage=Stage, plain=_PLAIN,
    held=("certificate",), most=MOST_DEVICES, most_bytes=8 << 20, whose="devices", folder="the clinic's folder",
)  # fmt: skip


class Devices(RollFile[Roll]):
    """Every device of one clinic."""

    def __init__(self, path: Path, clock: Clock) -> None:
        super().__init__(path, clock, _FORM)

    def apply(self, event: Event, sign: Signer | None = None) -> Deliver | None:
        """Take one step, on the disk before this returns; what `Sign` asks for is done by `sign` within the same step.

        Raises JoinRefused, DeviceRefused for a step that is not allowed, StoreError where the file cannot be written.
        """

        def stepped(before: Roll, now: int) -> tuple[Roll, Instruction]:
            roll, todo = step(before, event, now)
            if not isinstance(todo, Sign):
                return roll, todo
            certificate, until = signed(sign, todo.name, todo.request)
            return step(roll, Signed(todo.name, todo.fingerprint, certificate, until), now)

        todo = self._change(stepped)
        if isinstance(todo, Refuse):
            raise JoinRefused(todo.reason)
        return todo if isinstance(todo, Deliver) else None
