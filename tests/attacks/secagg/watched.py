"""A simulated site's gate that writes down what must not leave: what its app answered, and the lanes before their masks.

Named by `AppRef.gate`, so that site processes build it; `blind` masks nothing, to show that the tap would see it.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fedmed.federation.masked import moved
from fedmed.flower.guard import Job
from fedmed.outbound.gate import Gate
from fedmed.outbound.outbox import Outbox, Sent
from fedmed.privacy.purposes import Purpose
from fedmed.privacy.secagg import layout_bytes
from fedmed.privacy.secagg.masks import Masker
from fedmed.privacy.secagg.round_messages import Header
from fedmed.privacy.secagg.rounding import Lanes
from fedmed.privacy.secagg.taking_part import Given
from fedmed.simulate import members
from fedmed.simulate.members import AUTHORITY as AUTHORITY
from fedmed.simulate.members import FEDERATION as FEDERATION
from fedmed.simulate.members import MEMBERS as MEMBERS
from fedmed.wire.tensors import Tensors

SECRETS = "secrets"


@dataclass
class Secret:
    """One job of one site."""

    kind: str
    model: Tensors
    layout: bytes
    number: int
    """Of the masked round."""
    tensors: Tensors = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    lanes: Lanes = field(default_factory=lambda: np.zeros(0, np.uint32))


class Box:
    """An outbox that notes the lanes it is given; one that is blind of updates leaves them as they are."""

    def __init__(self, outbox: Outbox, is_blind: bool) -> None:
        self._outbox, self._is_blind, self._purpose = outbox, is_blind, 0
        self.answer, self.lanes = outbox.answer, np.zeros(0, np.uint32)

    @property
    def terms(self) -> Any:
        return self._outbox.terms

    def begin(self, given: Given) -> Masker | Sent:
        self._purpose = given.purpose
        return self._outbox.begin(given)

    def send(self, lanes: Lanes, mask: Masker) -> Sent:
        self.lanes = lanes.copy()
        is_bare = self._is_blind and self._purpose == Purpose.UPDATE
        return self._outbox.send(lanes, (lambda _: None) if is_bare else mask)


class Watched:
    """A gate, and a file for each job that went through it."""

    def __init__(self, gate: Gate, folder: Path, is_blind: bool = False) -> None:
        self._gate, self._folder = gate, folder
        self._box = gate._outbox = Box(gate._outbox, is_blind)  # type: ignore[assignment]
        self.certificate, self.answer, self.describe = gate.certificate, gate.answer, gate.describe

    def work(self, job: Job, app: Callable[[], tuple[Tensors, Mapping[str, Any]]]) -> Sent:
        secret = Secret(job.kind, _copied(job.model), job.layout, Header.decode(job.header).number)

        def watched() -> tuple[Tensors, Mapping[str, Any]]:
            tensors, values = app()
            secret.tensors, secret.values = _copied(tensors), dict(values)
            return tensors, values

        sent = self._gate.work(job, watched)
        secret.lanes = self._box.lanes
        note(self._folder, secret)
        return sent


def note(folder: Path, secret: Secret) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    count = len(list(folder.iterdir()))
    temporary = folder.with_name(f".{folder.name}-{os.getpid()}")
    temporary.write_bytes(pickle.dumps(secret))
    temporary.rename(folder / f"{count:05d}")


def secrets_of(run: Path, number: int) -> list[Secret]:
    """What the `number`-th site of a run had and did not tell, in order."""
    return [pickle.loads(path.read_bytes()) for path in sorted((run.parent / SECRETS / f"{number:05d}").iterdir())]


def new_model(secrets: list[Secret]) -> Tensors:
    """What FedAvg makes of one round of these sites: their lanes' exact sum, without any mask."""
    layout = layout_bytes.decode(secrets[0].layout)
    total = layout.read(np.sum([each.lanes for each in secrets], 0, secrets[0].lanes.dtype), len(secrets))
    return moved(secrets[0].model, total.mean(total.count("weight")))


def _copied(tensors: Tensors) -> Tensors:
    return {name: np.array(value) for name, value in tensors.items()}


def _watched(config: Mapping[str, Any], is_blind: bool) -> Watched:
    gate = members.gate_of(config)
    if not isinstance(gate._outbox, Outbox):
        return _KNOWN[gate]
    folder = Path(str(config["sites-folder"])).parent.parent / SECRETS / f"{int(config['partition-id']):05d}"
    _KNOWN[gate] = Watched(gate, folder, is_blind)
    return _KNOWN[gate]


_KNOWN: dict[Gate, Watched] = {}


def gate_of(config: Mapping[str, Any]) -> Watched:
    return _watched(config, False)


def blind_gate_of(config: Mapping[str, Any]) -> Watched:
    return _watched(config, True)
