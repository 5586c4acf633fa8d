"""How long a round takes on this line and disk, before anybody trains."""

from __future__ import annotations

import re
from dataclasses import dataclass

from fedmed.clinic.doctor.strength import WEIGHT
from fedmed.errors import ConfigError
from fedmed.operation.doctor.finding import Finding, ok
from fedmed.operation.doctor.machine import Written
from fedmed.operation.doctor.speed import Speed
from fedmed.report.formats import data_size, duration

CHUNK = 5 * 2**20
"""Octets of an array in one request (fedmed.flower.calls)."""
MESSAGES, SYNCS = 8, 6
"""Small exchanges of a masked round one after the other; times that ledgers, spool and protocol state wait for the disk."""
MOST_PARAMETERS = 10**11
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9}


@dataclass(frozen=True)
class Term:
    """One part of a round."""

    name: str
    seconds: float
    how: str
    """What was divided by what."""


def terms(parameters: int, lanes: int, line: Speed, disk: Written) -> tuple[Term, ...]:
    """The parts of a round of P parameters in lanes of L bits, in seconds; their sum is the round.

        down    4 P / speed down          the global model, float32, once
        up      (L / 8) P / speed up      the masked update
        trips   (8 + chunks) x one trip   small messages, and one answer a chunk of 5 MiB each way
        spool   (4 P + (L / 8) P) / rate  both written to the disk
        syncs   6 / (fsync per second)    ledger, spool and state, waited for

    Not in it: training, masks (0.5 s for 10M parameters and ten clinics where measured), and waiting for other clinics.
    """
    model, update = WEIGHT * parameters, lanes // 8 * parameters
    trips = MESSAGES + -(-model // CHUNK) + -(-update // CHUNK)
    rate, syncs = max(disk.rate, 1.0), max(disk.syncs, 0.01)
    return (
        Term("down", model / line.down, f"{data_size(model)} at {data_size(line.down)}/s"),
        Term("up", update / line.up, f"{data_size(update)} ({lanes}-bit lanes) at {data_size(line.up)}/s"),
        Term("trips", trips * line.trip_s, f"{trips} of {duration(line.trip_s)}"),
        Term("spool", (model + update) / rate, f"{data_size(model + update)} at {data_size(rate)}/s"),
        Term("syncs", SYNCS / syncs, f"{SYNCS} at {syncs:,.0f}/s"),
    )


def round_time(parts: tuple[Term, ...], parameters: int) -> Finding:
    """The sum, as a finding that is always ok: how long is too long depends on the federation."""
    total = sum(each.seconds for each in parts)
    return ok("round", f"{duration(total)} for {parameters:,} parameters, without training and waiting for other clinics")


def read_parameters(text: str) -> int:
    """`10M`, `250k`, `1.5B` or a plain number. Raises ConfigError."""
    found = re.fullmatch(r"(\d{1,12}(?:\.\d{1,9})?)([kKmMbB]?)", text.strip(), re.ASCII)
    number = round(float(found[1]) * _UNITS[found[2].lower()]) if found else 0
    if not 1 <= number <= MOST_PARAMETERS:
        raise ConfigError(f"--parameters {text[:40]!r}; allowed: 1 to 100B, as 250k, 10M, 1.5B or a plain number")
    return number
