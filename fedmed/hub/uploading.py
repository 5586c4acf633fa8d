"""Objects on their way from a device: cut into messages, each part from where the hub has its object to. No I/O here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedmed.errors import DataError, FedmedError, ProtocolRefused
from fedmed.hub.messages import HELD, MOST_HEAD, MOST_OBJECT, Piece, text
from fedmed.hub.refusals import MOST_TEXT, error_of
from fedmed.wire.canonical import canonical

MOST_STUCK = 3
"""Messages in a row after which the hub has nothing more of anything."""
_REST = 4096
"""Bytes of a head beside its parts."""
Read = Callable[[Piece], bytes]
"""The whole content of an object."""


@dataclass(frozen=True)
class Sent:
    """What became of one object."""

    piece: Piece
    error: FedmedError | None
    """None where the hub has it whole, on its disk; QuotaRefused and StoreError may pass, others are for good."""


@dataclass(frozen=True)
class Part:
    """What goes of one object in one message."""

    index: int
    piece: Piece
    offset: int
    data: bytes

    def record(self) -> dict[str, Any]:
        """For a head."""
        return {**self.piece.record(), "length": len(self.data), "offset": self.offset}


class Sending:
    """Where each object stands: batches of parts until the hub has all of them, or will not."""

    def __init__(self, pieces: Sequence[Piece], offsets: Sequence[int], read: Read) -> None:
        """`offsets` as the hub answered the offer."""
        self._pieces, self._offsets, self._read = pieces, list(offsets), read
        self._errors: dict[int, FedmedError] = {}
        self._open: tuple[int, bytes] | None = None
        self._stuck = 0

    def batch(self, most: int) -> list[Part]:
        """Parts of at most `most` bytes together; none where all is done. Raises DataError for content of another size."""
        parts: list[Part] = []
        room, head = most, MOST_HEAD - _REST
        for index in self._waiting():
            piece, offset = self._pieces[index], self._offsets[index]
            if room <= 0 or head <= 0 or (parts and piece.size - offset > room):
                break  # a large one begins in a message of its own
            data = self._content(index)[offset : offset + room]
            part = Part(index, piece, offset, data)
            room, head = room - len(data), head - len(canonical(part.record())) - 1
            if parts and head <= 0:
                break
            parts.append(part)
        return parts

    def answered(self, batch: Sequence[Part], answers: Sequence[Mapping[str, Any]]) -> None:
        """Take in what the hub said of each part. Raises ProtocolRefused for an answer that leads nowhere."""
        if len(answers) != len(batch):
            raise ProtocolRefused(f"{len(batch)} parts were sent, and {len(answers)} answered")
        before = list(self._offsets), len(self._errors)
        for part, answer in zip(batch, answers, strict=True):
            if "refused" in answer:
                self._errors[part.index] = error_of(text(answer, "word"), text(answer, "refused", most=MOST_TEXT))
            else:
                self._offsets[part.index] = offset_in(answer.get("offset"), part.piece.size)
        self._stuck = self._stuck + 1 if before == (self._offsets, len(self._errors)) else 0
        if self._stuck >= MOST_STUCK:
            raise ProtocolRefused("the hub takes parts and stays where it was")

    def done(self) -> list[Sent]:
        """What became of each object, in their order."""
        return [Sent(piece, self._errors.get(index)) for index, piece in enumerate(self._pieces)]

    def _waiting(self) -> Iterator[int]:
        return (index for index, at in enumerate(self._offsets) if at != HELD and index not in self._errors)

    def _content(self, index: int) -> bytes:
        if self._open is None or self._open[0] != index:
            content, piece = self._read(self._pieces[index]), self._pieces[index]
            if len(content) != piece.size:
                raise DataError(f"object {piece.digest[:12]} has {len(content)} bytes here, and {piece.size} were offered")
            self._open = index, content
        return self._open[1]


def offset_in(value: object, most: int = MOST_OBJECT) -> int:
    """An offset as a hub tells it. Raises ProtocolRefused."""
    if type(value) is not int or not HELD <= value <= most:
        raise ProtocolRefused(f"an offset is {value!r:.40}; it is a whole number from {HELD} to {most}")
    return value
