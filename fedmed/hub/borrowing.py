"""A device's end of looks: it asks that others look at its images, or looks at theirs. One call each; nothing waits here.

See `fedmed.hub.lending`. Every method raises DeviceRefused, VersionRefused, ProtocolRefused, QuotaRefused, Unreachable, and
StoreError where the hub's disk refuses. What the hub says is looked at before it is used.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fedmed.errors import ProtocolRefused
from fedmed.hub.client import HubClient
from fedmed.hub.looks import MOST_TENSOR, NOW, TASK, digest_of
from fedmed.hub.messages import DIGEST, Message, rows, text, whole
from fedmed.wire.visible import visible

PIECE = 1 << 18
"""Bytes of a call: at 100 kbit/s it takes 21 s."""
MOST_ATTEMPT = 1 << 40
STATES = ("more", "waiting", "running", "failed", "done")
_STATE, _DO, _WORD = re.compile("|".join(STATES)), re.compile("start|yield|stop"), re.compile("[a-z0-9]{1,16}")


@dataclass
class Question:
    """A look that this device asks for, and what has come of its answer."""

    package: str
    content: bytes = field(repr=False)
    """The input, float32 in little-endian order."""
    answer: bytearray = field(default_factory=bytearray, repr=False)
    offset: int = 0
    """Bytes of the input that the hub has."""

    def __post_init__(self) -> None:
        self.task = digest_of(self.package, hashlib.sha256(self.content).hexdigest())


@dataclass(frozen=True)
class Stand:
    """Where a look stands."""

    state: str
    by: str = ""
    """Where it is looked at, or was."""
    precision: str = ""
    why: str = ""
    """Why nowhere."""


@dataclass(frozen=True)
class Order:
    """What the hub wants: start, yield or stop an attempt of a look."""

    do: str
    task: str
    attempt: int
    package: str = ""
    size: int = 0


class Borrowing:
    """Over the device's line to its hub; safe from any thread, as the line is."""

    def __init__(self, client: HubClient) -> None:
        self._client = client

    def ask(self, question: Question) -> Stand:
        """Send what the hub has not, and hear where it stands; the answer is whole in `question` once that is `done`."""
        while True:
            body = question.content[question.offset : question.offset + PIECE]
            answer = self._client.call("ask", {**_named(question), "from": len(question.answer)}, body)
            stand = _stand(answer)
            if stand.state == "more":
                offset = whole(answer.head, "offset", len(question.content))
                if offset == question.offset and body:
                    raise ProtocolRefused("the hub takes of an input and stays where it was")
                question.offset = offset
            elif stand.state != "done":
                question.offset = len(question.content)
                return stand
            elif _come(question.answer, answer):
                return stand

    def unask(self, question: Question, is_refused: bool = False) -> None:
        """It is not wanted any more; or its answer is none, and another machine than the one that gave it is wanted."""
        self._client.call("unask", {"task": question.task, "refused": is_refused})
        question.answer.clear()

    def work(self, runs: Sequence[Order], waits: int) -> tuple[bool, list[Order]]:
        """Whether there is, or soon may be, something to look at; and what is to be done, of which `runs` is under way.

        `waits`: images of this device's own that wait.
        """
        told = [{"task": each.task, "attempt": each.attempt} for each in runs]
        head = self._client.call("work", {"runs": told, "waits": waits}).head
        return head.get("elsewhere") == NOW, [_order(row) for row in rows(head, "orders")]

    def input(self, order: Order) -> bytes:
        """The input of a look that this device was given."""
        come = bytearray()
        while len(come) < order.size:
            answer = self._client.call("input", {"task": order.task, "attempt": order.attempt, "offset": len(come)})
            if not answer.body or len(come) + len(answer.body) > order.size:
                raise ProtocolRefused(f"an input of {order.size} bytes came with {len(come)} + {len(answer.body)}")
            come += answer.body
        return bytes(come)

    def done(self, order: Order, logits: bytes, precision: str) -> bool:
        """Logits (float32, little-endian); whether they count."""
        offset = 0
        while True:
            head = {**_told(order, "done", ""), "precision": precision, "size": len(logits), "offset": offset}
            said = self._client.call("answer", head, logits[offset : offset + PIECE]).head
            if said.get("state") != "more":
                return said.get("state") == "taken"
            before, offset = offset, whole(said, "offset", len(logits) - 1)
            if offset == before:
                raise ProtocolRefused("the hub takes of an answer and stays where it was")

    def not_done(self, order: Order, outcome: str, why: str) -> None:
        """It `failed` here, or is `given-back`."""
        self._client.call("answer", _told(order, outcome, why))


def _named(question: Question) -> dict[str, object]:
    size = len(question.content)
    return {"task": question.task, "package": question.package, "size": size, "offset": min(question.offset, size)}


def _told(order: Order, outcome: str, why: str) -> dict[str, object]:
    return {"task": order.task, "attempt": order.attempt, "outcome": outcome, "why": visible(why)[:400]}


def _stand(answer: Message) -> Stand:
    head, state = answer.head, text(answer.head, "state", _STATE)
    if state == "done":
        return Stand(state, visible(text(head, "by", most=128)), text(head, "precision", _WORD))
    by = visible(text(head, "by", most=128)) if state == "running" else ""
    why = visible(text(head, "why", most=1000)) if state in ("waiting", "failed") else ""
    return Stand(state, by, "", why)


def _come(come: bytearray, answer: Message) -> bool:
    """Put a piece of the answer to what has come; whether it is whole now."""
    size = whole(answer.head, "size", MOST_TENSOR)
    if whole(answer.head, "offset", MOST_TENSOR) != len(come) or len(come) + len(answer.body) > size or not answer.body:
        raise ProtocolRefused(f"{len(answer.body)} bytes of an answer of {size} came, and {len(come)} are here")
    come += answer.body
    return len(come) == size


def _order(row: Mapping[str, object]) -> Order:
    do, task, attempt = text(row, "do", _DO), text(row, "task", TASK), whole(row, "attempt", MOST_ATTEMPT)
    if do != "start":
        return Order(do, task, attempt)
    return Order(do, task, attempt, text(row, "package", DIGEST), whole(row, "size", MOST_TENSOR))
