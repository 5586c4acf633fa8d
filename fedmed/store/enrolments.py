"""The roll of a federation's transport in a file: `fedmed.identity.enrolment` on a disk."""

from __future__ import annotations

from pathlib import Path

from fedmed.clock import Clock
from fedmed.identity.enrolment import MOST_SEATS, Event, Instruction, Roll, Seat, Sign, Signed, Stage, step
from fedmed.store.rolls import Form, RollFile, Signer, signed

_PLAIN = {"name": str, "serial": str, "fingerprint": str, "expires": int, "since": int, "until": int}
_FORM = Form(
    kind="fedmed-enrolment", body="enrolment", rows="seats", make=Roll, entry=Seat, stage=Stage, plain=_PLAIN,
    held=("certificate", "request"), most=MOST_SEATS, most_bytes=16 << 20, whose="clinics", folder="the center's folder",
)  # fmt: skip


class Enrolments(RollFile[Roll]):
    """Every seat of one federation."""

    def __init__(self, path: Path, clock: Clock) -> None:
        super().__init__(path, clock, _FORM)

    def apply(self, event: Event, sign: Signer | None = None) -> Instruction:
        """Take one step, on the disk before this returns; what `Sign` asks for is done by `sign` within the same step.

        Raises JoinRefused for a step that is not allowed, StoreError where the file cannot be written: nothing changed then.
        """

        def stepped(before: Roll, now: int) -> tuple[Roll, Instruction]:
            roll, todo = step(before, event, now)
            if not isinstance(todo, Sign):
                return roll, todo
            certificate, until = signed(sign, todo.name, todo.request)
            return step(roll, Signed(todo.name, certificate, until), now)

        return self._change(stepped)
