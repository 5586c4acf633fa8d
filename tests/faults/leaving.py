"""A simulated site's gate whose process is killed, or hangs, at a planned moment of a masked round.

Named by `AppRef.gate`, so that site processes build it; it notes what its app answered, as the tap's gates do.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fedmed.flower.guard import Job
from fedmed.outbound.outbox import Sent
from fedmed.privacy.purposes import Purpose
from fedmed.privacy.secagg import round_messages
from fedmed.privacy.secagg.client import KIND_AT
from fedmed.privacy.secagg.round_messages import ConfirmRequest, Header, RevealRequest
from fedmed.wire.tensors import Tensors
from tests.attacks.secagg import watched
from tests.attacks.secagg.watched import AUTHORITY as AUTHORITY
from tests.attacks.secagg.watched import FEDERATION as FEDERATION
from tests.attacks.secagg.watched import MEMBERS as MEMBERS
from tests.attacks.secagg.watched import Watched
from tests.faults.apps import misbehave

PLAN = "leaving.json"


class Leaving:
    """A gate that does what is planned for the MOMENT and number of an update: `{site number: {"MOMENT NUMBER": fault}}`.

    The moments are `train`, in the app's work, `confirm` and `reveal`, before it answers. Each comes once: whoever was
    killed starts again without it.
    """

    def __init__(self, gate: Watched, folder: Path, number: int) -> None:
        self._gate, self._folder, self._number = gate, folder, number
        self.certificate, self.describe = gate.certificate, gate.describe

    def _perhaps(self, moment: str, header: bytes) -> None:
        read = Header.decode(header)
        if read.purpose != Purpose.UPDATE:
            return
        plan = json.loads((self._folder / PLAN).read_text()).get(str(self._number), {})
        fault, done = plan.get(f"{moment} {read.number}"), self._folder / f"{self._number}-{moment}-{read.number}"
        if fault is not None and not done.exists():
            done.touch()
            misbehave(fault)

    def answer(self, request: bytes) -> bytes:
        match request[KIND_AT] if len(request) > KIND_AT else None:
            case round_messages.CONFIRM:
                self._perhaps("confirm", ConfirmRequest.decode(request).header)
            case round_messages.REVEAL:
                self._perhaps("reveal", RevealRequest.decode(request).header)
        return self._gate.answer(request)

    def work(self, job: Job, app: Callable[[], tuple[Tensors, Mapping[str, Any]]]) -> Sent:
        def leaving() -> tuple[Tensors, Mapping[str, Any]]:
            self._perhaps("train", job.header)
            return app()

        return self._gate.work(job, leaving)


def gate_of(config: Mapping[str, Any]) -> Leaving:
    folder = Path(str(config["sites-folder"])).parent.parent
    return Leaving(watched.gate_of(config), folder, int(config["partition-id"]))
