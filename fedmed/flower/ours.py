"""What our own Grids can do beside Flower's interface."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from flwr.app import Message
from numpy.typing import NDArray

from fedmed.clock import Clock
from fedmed.wire.tensors import Tensors


@runtime_checkable
class Queueing(Protocol):
    """A Grid that tells what no site has begun to work on."""

    def queued(self, message_ids: Iterable[str]) -> frozenset[str]:
        """Those of the messages that perhaps still wait behind others."""


@runtime_checkable
class OwnGrid(Queueing, Protocol):
    """A Grid that can wait and give up, lends the arrays of its answers, and knows what time it is."""

    @property
    def clock(self) -> Clock:
        """The time that it goes by."""

    def get_node_ids(self) -> Iterable[int]:
        """Nodes that are online."""

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Send; returns the messages' ids."""

    def lane_of(self, node: int) -> int:
        """Answers of one lane come in an order that depends on no timing."""

    def borrow_messages(self, message_ids: Iterable[str]) -> Generator[Message, None, None]:
        """Answers that are ready, one by one; an answer's arrays are valid until the next one is asked for."""

    def line_s(self, asked: str) -> float:
        """Seconds that an answer was on its way, as far as that was seen; only while it is lent out."""

    def wait(self, timeout_s: float) -> None:
        """Block until there may be an answer, at most `timeout_s` seconds."""

    def cancel(self, message_ids: Iterable[str]) -> None:
        """Give up on these messages."""


@dataclass(frozen=True)
class Summed:
    """What many nodes answered together."""

    mean: Tensors | None
    """Of their models, by cases; None where nobody answered."""
    told: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    """The numbers of each node that is in it."""
    failed: Mapping[int, str] = field(default_factory=dict)
    refused: Mapping[int, str] = field(default_factory=dict)
    """Whose update cannot be used, and why."""


@dataclass(frozen=True)
class MaskedPart:
    """What one process hands over of a masked round."""

    total: NDArray[Any]
    """The masked vectors of its nodes, summed."""
    uploads: Mapping[int, tuple[bytes, bytes]]
    """By node: the envelope that it signed, and its vector's digest."""


@dataclass(frozen=True)
class Masked:
    """What many nodes answered together to a masked question."""

    parts: Sequence[MaskedPart]
    failed: Mapping[int, str] = field(default_factory=dict)
    refused: Mapping[int, str] = field(default_factory=dict)

    @property
    def told(self) -> frozenset[int]:
        """The nodes that are in it."""
        return frozenset(node for part in self.parts for node in part.uploads)


@dataclass(frozen=True)
class Asked:
    """A masked question, the same for all."""

    kind: str
    order: str
    model: Tensors
    header: bytes
    layout: bytes


@runtime_checkable
class Crowding(Protocol):
    """A Grid whose nodes train and validate together; each has no message of its own."""

    def train_all(self, nodes: Sequence[int], model: Tensors, order: str) -> Summed:
        """One round of training of these nodes."""

    def validate_all(self, nodes: Sequence[int], model: Tensors, order: str) -> Mapping[int, Mapping[str, Any]]:
        """Each node's measures of `model` on its validation cases; those without any are left out."""


@runtime_checkable
class MaskedCrowding(Protocol):
    """A Grid whose nodes mask, and speak the protocol, together."""

    def masked_all(self, nodes: Sequence[int], asked: Asked) -> Masked:
        """One masked round of these nodes."""

    def answer_all(self, kind: str, requests: Mapping[int, bytes]) -> Iterator[tuple[int, bytes, str | None]]:
        """Each node's answer to a request of the protocol, or the error that it met; in any order."""
