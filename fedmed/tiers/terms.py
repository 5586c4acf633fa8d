"""What a clinic and its devices agree on before a round: which way updates go, in which layout, under whose name."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from hashlib import sha256

from fedmed.config.own_metrics import NO_METRICS
from fedmed.privacy.secagg.layout import Layout, Tensor
from fedmed.privacy.secagg.parameters import LEAST_SUM, MAX_NAME
from fedmed.privacy.secagg.questions import update_fields

RECORD_MODES = ("record-local", "record-distributed")
_SCOPE = "{} / devices of {}"


class Way(Enum):
    """How the hub gets the devices' updates."""

    MASKED = 1
    PLAIN = 2


@dataclass(frozen=True)
class Device:
    """What a hub knows of a device that may train."""

    name: str
    fingerprint: bytes = field(repr=False)
    """32 bytes that stand for its keys."""
    signing_public: bytes = field(repr=False)
    """Ed25519, 32 bytes."""
    cases: int
    """Training cases that it declared: at least as many as it has."""


def scope(federation: str, clinic: str) -> str:
    """What devices are bound to in place of the federation's name: bytes of one tier never fit the other.

    No federation can be called so: names have no spaces (`identity.member.NAME`).
    """
    said = _SCOPE.format(federation, clinic)
    return said if len(said.encode()) <= MAX_NAME else _SCOPE.format(sha256(federation.encode()).hexdigest(), clinic)


def way_for(known: int) -> Way:
    """How updates go where the clinic has so many devices; both sides decide by what they know themselves."""
    return Way.MASKED if known >= LEAST_SUM else Way.PLAIN


def told(way: Way, devices: int) -> str:
    """What is shown of a round with devices, to whoever may see the round."""
    if way is Way.MASKED:
        return (
            f"{devices} devices under secure aggregation: it keeps a hub that reads along from single devices' updates. It "
            "does not keep them from a hub that enrols devices of its own making, for the hub decides who is a device"
        )
    return (
        f"{devices} device{'s' if devices != 1 else ''} of the clinic, fewer than {LEAST_SUM}: their updates go to the hub "
        "as they are, inside the clinic's own trust"
    )


def layout_for(
    tensors: Sequence[Tensor], bound: float, devices: int, most: int, own: Mapping[str, float] = NO_METRICS
) -> Layout:
    """What each device writes: the tensors of the center's layout, in 32 bits, for sums of at most so many devices.

    `bound` is that of a clinic's own change; `most` the largest device's declared cases; `own` the bounds of declared
    metrics. Lanes have 32 bits whatever the center's have: there is no line to spare inside a clinic. No sum of so many can
    overflow (`secagg.scale`). Raises ConfigError.
    """
    return Layout(tuple(tensors), update_fields(most, own), 32, devices, bound, most)


def privacy_fault(mode: str | None) -> str | None:
    """Why devices cannot train under this mode of differential privacy; None where they can.

    In mode `clinic` the clinic clips what is folded and adds its noise to that, so all holds as without devices. In the two
    record modes the promise is one patient's: a patient who was seen at two devices would be clipped twice, drawn twice and
    charged once.
    """
    if mode not in RECORD_MODES:
        return None
    return (
        f"devices cannot train under differential privacy of mode {mode}: a patient seen at two of them would count twice "
        "and be charged once. Take mode clinic, or let the clinic train on its own cases alone"
    )


def mode_in(order: str) -> str | None:
    """The mode of differential privacy that an order's text asks for; None where it asks for none, or is no order."""
    try:
        told = json.loads(order)
    except (ValueError, RecursionError):
        return None
    work = told.get("privacy") if isinstance(told, dict) else None
    mode = work.get("mode") if isinstance(work, dict) else None
    return mode if isinstance(mode, str) else None
