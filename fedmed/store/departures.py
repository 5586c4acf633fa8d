"""What a clinic sent, one line a masked vector: on the disk before it goes, chained by digests (`store.chain`).

It is the outbound step's own account of the bytes it hands on, not what a center asked for or a plan meant. The head, the
digest of the last line, goes into every confirmation that the clinic signs: a ledger rewritten afterwards no longer has it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fedmed.errors import StoreError
from fedmed.store import chain
from fedmed.store.locks import alone

PURPOSES = ("census", "update", "evaluation")
SUFFIX = ".departures.jsonl"
"""Of the file's name, so that it may lie beside a ledger of statements (`store.ledger`)."""
MASKED = ("malicious", "hbc")
"""Modes in which a vector leaves under masks; in any other it can be read by whoever receives it."""
FEWEST = 3
"""Clinics in a sum: of two, each could take its own part off and have the other's."""
_DIGEST = re.compile("[0-9a-f]{64}")
_Key = tuple[str, str, int, int]


@dataclass(frozen=True)
class Departure:
    """One vector that left the clinic."""

    unix: float
    """Seconds since 1970."""
    federation: str
    run: str
    epoch: int
    number: int
    """The protocol's round within the epoch."""
    purpose: str
    """One of `PURPOSES`."""
    round: int | None
    """The training round, where the work tells."""
    cohort: int
    """Clinics that were asked in this round."""
    members: int
    """Clinics on the roster."""
    quorum: int
    """Signatures without which no clinic reveals a share."""
    least: int
    """Clinics that the sum is over, at least."""
    mode: str
    """`malicious` or `hbc`; `off` where the vector left without masks."""
    bits: int
    """Of one number on the wire."""
    tensors: tuple[tuple[str, tuple[int, ...]], ...]
    """Name and shape of every tensor of the update, as sent."""
    fields: tuple[tuple[str, int], ...]
    """Name and count of numbers of everything else in the vector."""
    bytes: int
    """Of the vector as it was sent."""
    vector_blake3: str
    """Of those bytes."""
    model_blake3: str
    layout_sha256: str
    norm: float | None
    """L2 norm of the update before clipping, noise and masks, one that it carries included; known at the clinic only."""
    clip: float | None
    """L2 norm that the update was clipped to."""
    noise: float | None
    """Standard deviation of the clinic's own share of noise in each value; None where it adds none."""
    epsilon: float | None
    """Spent on this data set so far, this departure included; None without differential privacy."""
    delta: float | None
    dataset: str
    limit: float | None = None
    """Epsilon that the clinic allows for this data set; None where it set none."""
    carried: tuple[int, int] | None = None
    """Epoch and number of an earlier sending that was in no sum: its update is in this one as well."""

    @property
    def is_masked(self) -> bool:
        """Whether nobody could read it before it was added to others', by this line alone."""
        return self.mode in MASKED and self.least >= FEWEST


class Departures:
    """The ledger of one clinic, verified when it is opened; safe with several processes at once."""

    def __init__(self, path: Path) -> None:
        """Raises StoreError, naming the line, where the ledger is not what was written, or cannot be read."""
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with alone(self._lock()):
                self._end, self._sent = _opened(path)
        except OSError as error:
            raise StoreError(
                f"the ledger {path} cannot be opened ({error.strerror or error}); give a path in a folder of the clinic"
            ) from error

    def record(self, departure: Departure) -> None:
        """Write a line; only when this returns, with the line on the disk, may the vector be sent.

        The very same vector of the same round of the protocol is a resend: it has its line already. Another vector there is
        refused: two vectors under the same masks give both away. Raises StoreError, and then nothing may be sent: for that,
        for values that no departure has, and where the ledger is damaged or cannot be written.
        """
        if faults := list(_faults(departure)):
            raise StoreError(f"{self.path}: this is no departure, and nothing may leave without one: {'; '.join(faults)}")
        try:
            with alone(self._lock()):
                if not chain.is_at(self.path, self._end):
                    self._end, self._sent = _opened(self.path)
                if not self._is_resend(departure):
                    self._end = chain.extend(self.path, self._end, asdict(departure))
                    self._sent[_key(departure)] = departure.vector_blake3
        except OSError as error:
            raise StoreError(
                f"the ledger {self.path} cannot be written ({error.strerror or error}); nothing leaves without it"
            ) from error

    def head(self) -> bytes:
        """SHA-256 of the last line, 32 bytes; zeros where nothing left. Reads no file."""
        return bytes.fromhex(self._end.last)

    def _lock(self) -> Path:
        return self.path.with_name(f".{self.path.name}.lock")

    def _is_resend(self, departure: Departure) -> bool:
        before = self._sent.get(_key(departure))
        if before is None:
            return False
        if before != departure.vector_blake3:
            raise StoreError(
                f"{self.path}: run {departure.run!r}, epoch {departure.epoch}, number {departure.number}: the vector "
                f"{before[:16]} left already, and {departure.vector_blake3[:16]} may not: masks are used once. "
                "Send the stored vector again, or go on with the next number"
            )
        return True


def verify(path: Path) -> list[Departure]:
    """Every departure, every digest checked. Raises StoreError saying which line is wrong and how."""
    return chain.verify(path, _departure)


def carried_by(one: Departure, sent: Iterable[Departure]) -> str:
    """The update that `one` of those `sent` holds beside its own: `round R`, `number E.N` where unknown, or nothing."""
    if one.carried is None:
        return ""
    epoch, number = one.carried
    rounds = [each.round for each in sent if (each.run, each.epoch, each.number) == (one.run, epoch, number)]
    return f"number {epoch}.{number}" if rounds in ([], [None]) else f"round {rounds[0]}"


def _opened(path: Path) -> tuple[chain.End, dict[_Key, str]]:
    end = chain.end_of(path)
    return end, {_key(each): each.vector_blake3 for each in verify(path)}


def _key(departure: Departure) -> _Key:
    return departure.federation, departure.run, departure.epoch, departure.number


def _departure(body: dict[str, Any]) -> Departure:
    tensors = tuple((name, tuple(shape)) for name, shape in body["tensors"])
    fields = tuple((name, count) for name, count in body["fields"])
    carried = None if body.get("carried") is None else tuple(body["carried"])  # lines before it was told have none
    made = Departure(**{**body, "tensors": tensors, "fields": fields, "carried": carried})
    if faults := list(_faults(made)):
        raise ValueError("; ".join(faults))
    return made


def _faults(departure: Departure) -> Iterator[str]:
    """What no departure has."""
    if departure.purpose not in PURPOSES:
        yield f"purpose {departure.purpose!r}; allowed are {', '.join(PURPOSES)}"
    for name in ("epoch", "number", "cohort", "members", "quorum", "least", "bits", "bytes"):
        if type(value := getattr(departure, name)) is not int or value < 0:
            yield f"{name} is {value!r}; it is a whole number from 0"
    if (carried := departure.carried) is not None and [type(each) for each in carried] != [int, int]:
        yield f"carried is {carried!r}; it is an epoch and a number"
    for name in ("vector_blake3", "model_blake3", "layout_sha256"):
        if not _DIGEST.fullmatch(value := getattr(departure, name)):
            yield f"{name} is {value!r}; it is 64 hexadecimal digits"
    for name in ("unix", "norm", "clip", "noise", "epsilon", "delta", "limit"):
        if (value := getattr(departure, name)) is not None and not math.isfinite(value):
            yield f"{name} is {value!r}; it is finite"
