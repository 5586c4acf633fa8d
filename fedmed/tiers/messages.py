"""What a hub and its devices say to each other in a round, beside the messages of secure aggregation themselves.

A task and its answers are written as those are (`secagg.encoding`) and told apart by their kind. Whatever is not as written
here is refused with Refused before it is used.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass

from fedmed.errors import DataError
from fedmed.privacy.secagg.client import KIND_AT
from fedmed.privacy.secagg.encoding import Reader, Writer, malformed
from fedmed.privacy.secagg.layout_bytes import MAX_BYTES as MAX_LAYOUT
from fedmed.privacy.secagg.messages import SMALL
from fedmed.privacy.secagg.round_messages import MAX_HEADER
from fedmed.tiers.terms import Way
from fedmed.wire import tensors
from fedmed.wire.canonical import canonical
from fedmed.wire.tensors import Tensors

TASK, MASKED, PLAIN, FAILED = range(64, 68)
MOST_ORDER, MOST_TENSORS, MOST_METRICS, MOST_REASON = 4_000_000, 2**32 - 1, 1 << 16, 2000
MOST_CASES = 1 << 32
_MOST = MOST_ORDER + MOST_TENSORS + MAX_LAYOUT + MAX_HEADER + SMALL
Metrics = dict[str, float | None]


def kind_of(message: bytes) -> int | None:
    """The kind of a message; None of one that is too short to have any."""
    return message[KIND_AT] if len(message) > KIND_AT else None


@dataclass(frozen=True)
class Task:
    """A round's work for one device."""

    way: Way
    header: bytes
    """Of the masked round; empty in a plain one."""
    layout: bytes
    order: str
    model: Tensors

    def encode(self) -> bytes:
        """Canonical bytes."""
        writer = Writer(TASK).number(self.way.value, 1).text(self.header).text(self.layout)
        return writer.text(self.order.encode("utf-8", "surrogatepass")).text(_bytes_of(self.model)).bytes()

    @staticmethod
    def decode(data: bytes) -> Task:
        """Raises Refused."""
        reader = Reader(data, TASK, _MOST)
        way, header, layout = reader.number(1, 2), reader.text(MAX_HEADER), reader.text(MAX_LAYOUT)
        order, model = _text(reader, MOST_ORDER), reader.text(MOST_TENSORS)
        reader.end()
        if way not in (1, 2) or (way == Way.PLAIN.value) != (not header):
            raise malformed(f"a task of way {way} with a header of {len(header)} bytes; a masked one has one, a plain none")
        return Task(Way(way), header, layout, order, _tensors_of(model))


@dataclass(frozen=True)
class Masked:
    """A device's masked vector with its envelope."""

    envelope: bytes
    vector: bytes
    """Little-endian lanes."""

    def encode(self) -> bytes:
        """Canonical bytes."""
        return Writer(MASKED).text(self.envelope).text(self.vector).bytes()

    @staticmethod
    def decode(data: bytes) -> Masked:
        """Raises Refused."""
        reader = Reader(data, MASKED, MOST_TENSORS + 2 * SMALL)
        read = Masked(reader.text(SMALL), reader.text(MOST_TENSORS))
        reader.end()
        return read


@dataclass(frozen=True)
class Plain:
    """A device's change as it is, where its clinic has too few devices for a sum to hide it."""

    cases: int
    metrics: Mapping[str, float | None]
    """None where undefined."""
    change: Tensors

    def encode(self) -> bytes:
        """Canonical bytes."""
        writer = Writer(PLAIN).number(self.cases, 8).text(canonical(dict(self.metrics)))
        return writer.text(_bytes_of(self.change)).bytes()

    @staticmethod
    def decode(data: bytes) -> Plain:
        """Raises Refused."""
        reader = Reader(data, PLAIN, MOST_TENSORS + MOST_METRICS + SMALL)
        cases, metrics = reader.number(8, MOST_CASES), _metrics(_text(reader, MOST_METRICS))
        change = reader.text(MOST_TENSORS)
        reader.end()
        return Plain(cases, metrics, _tensors_of(change))


@dataclass(frozen=True)
class Failed:
    """Why a device gives no answer."""

    reason: str

    def encode(self) -> bytes:
        """Canonical bytes; a reason that is too long is cut."""
        return Writer(FAILED).text(self.reason[: MOST_REASON // 4].encode("utf-8", "backslashreplace")).bytes()

    @staticmethod
    def decode(data: bytes) -> Failed:
        """Raises Refused."""
        reader = Reader(data, FAILED, MOST_REASON * 4 + SMALL)
        read = Failed(_text(reader, MOST_REASON * 4))
        reader.end()
        return read


def _text(reader: Reader, most: int) -> str:
    try:
        return reader.text(most).decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise malformed("a text is no UTF-8") from error


def _metrics(text: str) -> Metrics:
    try:
        told = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise malformed("a device's metrics are no JSON") from error
    if not isinstance(told, dict):
        raise malformed("a device's metrics are an object of numbers")
    for name, value in told.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or not _is_finite(value)):
            raise malformed(f"a device's metric {name[:80]!r} is no finite number")
    return {name: None if value is None else float(value) for name, value in told.items()}


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number that no float64 holds
        return False


def _bytes_of(model: Tensors) -> bytes:
    buffer = bytearray(tensors.size_of(model))
    tensors.put(model, memoryview(buffer))
    return bytes(buffer)


def _tensors_of(data: bytes) -> Tensors:
    try:
        return tensors.view(data, "a device's tensors")
    except DataError as error:
        raise malformed(str(error)) from error
