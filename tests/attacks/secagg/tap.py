"""A tap on every byte that leaves the sites of a run, and a search for what must not be in them.

Secrets are searched for as bytes, at every offset. Eight bytes (two float32 or lanes, one float64 or int64) are met by
chance in one of 10^9 runs of this size; four bytes (one float32, one int32) are met now and then, so they count as found
where they are found more often than chance explains.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from flwr.app import Message
from flwr.common.serde import message_to_proto
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects

from fedmed.flower.inprocess import InProcessGrid
from fedmed.flower.lanes import Lane

RATE = 1e-9  # of false alarms of a search for short needles
DIGEST = re.compile(rb"[0-9a-f]{64}")
TEXT = re.compile(rb'"base64": "([^"]*)"')


@dataclass(frozen=True)
class Said:
    """What left a site at once: the JSON side through the pipe, and all of the shared memory that goes with it."""

    node: int
    kind: str
    head: bytes
    memory: bytes

    def parts(self) -> Iterator[bytes]:
        """Bytes as they are and, of what JSON cannot hold, as they were; without digests, by which Flower names objects."""
        yield self.text
        yield from (base64.b64decode(each) for each in TEXT.findall(self.head))
        yield DIGEST.sub(b"", self.memory)

    @property
    def text(self) -> bytes:
        """JSON's own text."""
        return TEXT.sub(b"", self.head)


@dataclass
class Tap:
    """All that was said."""

    said: list[Said] = field(default_factory=list)

    def on(self, lane: type[Lane] = Lane) -> type[Lane]:
        """A kind of lane whose pipe and upward slots are listened to."""
        tap = self

        class Tapped(lane):  # type: ignore[misc, valid-type]
            def start(self) -> None:
                super().start()
                self.connection = Listening(self, self.connection, tap)

        return Tapped

    def on_flower(self) -> type[InProcessGrid]:
        """A grid that calls its sites here, and whose answers are noted as Flower's own runtime encodes them."""
        tap = self

        class Encoding(InProcessGrid):
            def _call_here(self, message: Message) -> Message:
                reply, meta = super()._call_here(message), message.metadata
                tap.said += [Said(meta.dst_node_id, meta.message_type, b"", each) for each in flowers_bytes(reply)]
                return reply

        return Encoding

    def of(self, node: int) -> list[Said]:
        return [each for each in self.said if each.node == node]


def flowers_bytes(message: Message) -> list[bytes]:
    """What a SuperNode pushes for a reply: the message in protobuf, and every object under it by itself."""
    objects = get_all_nested_objects(message)
    return [message_to_proto(message).SerializeToString(), *(each.deflate() for each in objects.values())]


class Listening:
    """A pipe's end; what comes out of it is noted, with the shared memory that it speaks of, before anybody reads it."""

    def __init__(self, lane: Any, connection: Any, tap: Tap) -> None:
        self._lane, self._connection, self._tap = lane, connection, tap

    def recv_bytes(self) -> bytes:
        said: bytes = self._connection.recv_bytes()
        if self._lane._current is not None and said.startswith(b"{"):
            task, turn = self._lane._current
            memory = b""
            if json.loads(said).get("arrays"):
                memory = self._lane._memory.up[turn].path.read_bytes()
            meta = task.message.metadata
            self._tap.said.append(Said(meta.dst_node_id, meta.message_type, said, memory))
        return said

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


def long_needles(*values: np.ndarray) -> np.ndarray:
    """Eight bytes each, as uint64: float32 and float64 of either byte order, and lanes as they are.

    Two neighbours of four bytes each; one of eight. Those that say little (zeros, equal neighbours) are left out.
    """
    found = [np.zeros(0, np.uint64)]
    for value in values:
        flat = value.reshape(-1)
        if flat.dtype.kind == "f":
            with np.errstate(over="ignore"):
                forms = [flat.astype(f"{order}f{size}") for order in "<>" for size in (4, 8)]
        else:
            forms = [flat.astype(flat.dtype.newbyteorder(order)) for order in "<>"]
        found += [_telling(each) for each in forms]
    return np.unique(np.concatenate(found))


def _telling(values: np.ndarray) -> np.ndarray:
    bytes_ = values.view(np.uint8).reshape(-1, values.itemsize)
    width = 8 // values.itemsize
    if len(bytes_) < width:
        return np.zeros(0, np.uint64)
    windows = np.lib.stride_tricks.sliding_window_view(bytes_.reshape(-1), 8)[:: values.itemsize]
    telling = (np.diff(np.sort(windows, axis=1), axis=1) != 0).sum(axis=1) >= 2  # three different bytes
    return np.ascontiguousarray(windows[telling]).view(np.uint64).reshape(-1)


def counts_as_bytes(counts: Iterable[int]) -> np.ndarray:
    """Whole numbers as uint64 needles: int64 and float64, of either byte order."""
    numbers = np.array(sorted(counts))
    return np.concatenate([numbers.astype(f"{order}{kind}").view(np.uint64) for order in "<>" for kind in ("i8", "f8")])


def short_needles(numbers: Iterable[float]) -> np.ndarray:
    """Four bytes each, as uint32: float32 and, of whole numbers of four digits, int32 of either byte order, and digits."""
    numbers = [each for each in numbers if math.isfinite(each)]
    whole = np.array([each for each in numbers if isinstance(each, int)], np.int64)
    forms = [np.array(numbers).astype(f"{order}f4") for order in "<>"] + [whole.astype(f"{order}i4") for order in "<>"]
    digits = np.frombuffer("".join(map(str, whole)).encode(), np.uint32)
    return np.unique(np.concatenate([digits, *(each.view(np.uint32) for each in forms)]))


def hits(needles: np.ndarray, said: Iterable[Said]) -> int:
    """How often any of the needles stands in what was said, at any offset."""
    size, found = needles.itemsize, 0
    for part in (part for each in said for part in each.parts()):
        if len(part) >= size:
            windows = np.lib.stride_tricks.sliding_window_view(np.frombuffer(part, np.uint8), size)
            found += int(np.isin(np.ascontiguousarray(windows).view(needles.dtype).reshape(-1), needles).sum())
    return found


def more_than_chance(needles: np.ndarray, said: list[Said]) -> int:
    """So many hits of short needles are met by chance in fewer than one of 10^9 runs (Poisson's tail)."""
    size = sum(len(part) for each in said for part in each.parts())
    expected, most, term = size * len(needles) / 2.0**32, 0, 1.0
    tail = -math.expm1(-expected)
    while tail > RATE:
        most += 1
        term *= expected / most
        tail -= term * math.exp(-expected)
    return most + 1


def texts_in(texts: Iterable[str], said: Iterable[Said]) -> list[str]:
    """Those of the numbers that stand in JSON, not inside of a longer one."""
    parts = [each.text for each in said]
    return [
        text
        for text in texts
        if any(re.search(rb"(?<![0-9.])" + re.escape(text.encode()) + rb"(?![0-9])", part) for part in parts)
    ]


def beginnings_in(texts: Iterable[str], said: Iterable[Said], digits: int = 9) -> list[str]:
    """Those of the texts whose first characters stand in what was said: numbers that may have been rounded."""
    parts = [part for each in said for part in each.parts()]
    return [text for text in texts if any(text[:digits].encode() in part for part in parts)]
