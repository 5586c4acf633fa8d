"""A ClientApp behind its clinic's gate: the one place where messages of Flower become the gate's plain values and back.

What the app answers never leaves as it is: of work, only a masked vector with its envelope does. Requests of secure
aggregation are answered here, and the app never sees them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from flwr.app import ConfigRecord, Context, Error, Message, MessageType, MetricRecord, RecordDict
from numpy.typing import NDArray

from fedmed.errors import FedmedError, NotApproved, ProtocolRefused
from fedmed.flower import keys
from fedmed.flower.arrays import all_views, borrow, numbers
from fedmed.flower.proposal import text_of
from fedmed.wire.confided import of_error
from fedmed.wire.tensors import Tensors

REFUSED = 2  # Flower's ErrorCode.CLIENT_APP_RAISED_EXCEPTION
SILENT = "this site cannot work for the run now; its own log says why"
MAX_REASON = 2000  # characters of a reason that travel
WORK = (MessageType.TRAIN, MessageType.EVALUATE, keys.CENSUS)
Call = Callable[[Message, Context], Message]


@dataclass(frozen=True)
class Job:
    """Work for an app that came with a masked round, in plain values."""

    kind: str
    """`train`, `evaluate` or `query.census`."""
    header: bytes
    layout: bytes
    text: str
    """All that the message says beside tensors."""
    model: Tensors


class AppFailed(Exception):
    """The app made no answer; the text is for the clinic's staff."""


class Sealed(Protocol):
    """What may leave for a round."""

    @property
    def envelope(self) -> bytes:
        """Signed."""

    @property
    def vector(self) -> NDArray[np.unsignedinteger[Any]]:
        """Masked."""


class Gate(Protocol):
    """A clinic's way out; see `fedmed.outbound.gate`. Every method raises FedmedError where nothing may leave."""

    @property
    def certificate(self) -> bytes:
        """The clinic's own, DER."""

    def answer(self, request: bytes) -> bytes:
        """The answer to a request of the protocol."""

    def describe(self, app: Callable[[], str]) -> str:
        """What the site says of itself; `app` says it, and may raise AppFailed."""

    def work(self, job: Job, app: Callable[[], tuple[Tensors, Mapping[str, Any]]]) -> Sealed:
        """What leaves for a job; `app` does it, giving tensors and numbers, and may raise AppFailed."""


def allowed(
    call_of: Callable[[], Call],
    allow: Callable[[str, str, Tensors], None],
    tell: Callable[[str], None],
    working: Callable[[str], None],
) -> Call:
    """What answers where `allow` returns for a message's kind, text (all that it says beside tensors), and tensors.

    A refusal of `allow` and of the protocol goes to the center with its reason; why else nothing is answered, `tell` hears.
    `working` hears of each kind, and of an empty one when the message is answered.
    """

    def answer(message: Message, context: Context) -> Message:
        kind = message.metadata.message_type
        working(kind)
        try:
            content = message.content if message.has_content() else RecordDict()
            allow(kind, text_of(content), all_views(content))
            return call_of()(message, context)
        except (NotApproved, ProtocolRefused) as error:
            reason = f"{type(error).__name__}: {error}"
        except FedmedError as error:
            tell(of_error(error))
            reason = SILENT
        finally:
            working("")
        return Message(Error(REFUSED, reason[:MAX_REASON]), reply_to=message)

    return answer


class Guarded:
    """Answers every message for one node."""

    def __init__(self, app: Call, gate: Gate) -> None:
        """`app` never raises: what goes wrong in it is an error reply."""
        self._app, self._gate = app, gate

    def __call__(self, message: Message, context: Context) -> Message:
        """The only kinds of answers that there are."""
        kind = message.metadata.message_type
        try:
            if kind == keys.MEMBER:
                return _said(message, self._gate.certificate)
            if kind == keys.PROTOCOL:
                return _said(message, self._gate.answer(_bytes_in(message)))
            if kind == keys.DESCRIBE:
                return _described(message, self._gate.describe(lambda: self._ask_text(message, context)))
            if kind in WORK:
                sealed = self._gate.work(_job(kind, message), lambda: self._ask(message, context))
                return _sealed(message, sealed)
        except FedmedError as error:
            return Message(Error(REFUSED, f"{type(error).__name__}: {error}"[:MAX_REASON]), reply_to=message)
        return Message(Error(REFUSED, f"this site answers nothing of the kind {kind!r}"), reply_to=message)

    def _ask(self, message: Message, context: Context) -> tuple[Tensors, Mapping[str, Any]]:
        content = self._content(message, context)
        return all_views(content), numbers(content, MetricRecord)

    def _ask_text(self, message: Message, context: Context) -> str:
        return str(numbers(self._content(message, context), ConfigRecord).get(keys.CONFIG_KEY, ""))

    def _content(self, message: Message, context: Context) -> RecordDict:
        reply = self._app(message, context)
        if reply.has_error():
            raise AppFailed(reply.error.reason or "the app raised an error without a reason")
        return reply.content


def _job(kind: str, message: Message) -> Job:
    content = message.content
    notice = content.get(keys.ROUND)
    told = dict(notice) if isinstance(notice, ConfigRecord) else {}
    header, layout = (told.get(name) for name in (keys.HEADER, keys.LAYOUT))
    if not (isinstance(header, bytes) and isinstance(layout, bytes)):
        raise ProtocolRefused(
            "work that belongs to no masked round: this site sends nothing unmasked; the center's scenario needs "
            "privacy.secure_aggregation on, as it is here"
        )
    return Job(kind, header, layout, text_of(content), all_views(content))


def _bytes_in(message: Message) -> bytes:
    said = numbers(message.content, ConfigRecord).get(keys.BYTES)
    return said if isinstance(said, bytes) else b""


def _said(message: Message, said: bytes) -> Message:
    return Message(RecordDict({keys.SAID: ConfigRecord({keys.BYTES: said})}), reply_to=message)


def _described(message: Message, text: str) -> Message:
    return Message(RecordDict({"answer": ConfigRecord({keys.CONFIG_KEY: text})}), reply_to=message)


def _sealed(message: Message, sealed: Sealed) -> Message:
    content = RecordDict({keys.SEALED: ConfigRecord({keys.ENVELOPE: sealed.envelope})})
    content["arrays"] = borrow({keys.VECTOR: sealed.vector})
    return Message(content, reply_to=message)
