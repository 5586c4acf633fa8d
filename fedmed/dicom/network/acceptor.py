"""One association seen from the acceptor: whole PDUs in, what to do out; no sockets, no time (PS3.8 section 9.2).

The state table of the standard shrinks to four states where only the peer may ask: waiting for the request, open, a message
half received, over. Every PDU that does not belong into its state ends the association, and with it what was half received.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fedmed.dicom.network import pdus
from fedmed.dicom.network.commands import CANCEL, ECHO, MOST_COMMAND, STORE, Command, Outcome, read_command, write_answer
from fedmed.dicom.network.pdus import UNEXPECTED_PDU, Broken, Request

VERIFICATION = "1.2.840.10008.1.1"
STORAGE = "1.2.840.10008.5.1.4.1.1."
"""Root of the standard's storage classes, those to come included (PS3.4 annex B.5)."""
NO_STORAGE = (STORAGE + "200.", STORAGE + "201.")
"""Inventories and their queries, under the same root."""
PLAIN = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1")
NO_ABSTRACT, NO_TRANSFER = 3, 4


def stores(named: frozenset[str]) -> Callable[[str], bool]:
    """Tells of a SOP class whether it is among those `named`; where none is, whether the standard calls it storage."""
    if named:
        return named.__contains__
    return lambda sop_class: sop_class.startswith(STORAGE) and not sop_class.startswith(NO_STORAGE)


@dataclass(frozen=True)
class Policy:
    """Who may send what."""

    ae_title: str
    callers: frozenset[str]
    """AE titles; none named: all."""
    stores: Callable[[str], bool]
    """Whether instances of a SOP class are taken."""
    transfers: frozenset[str]
    pdu_bytes: int
    most_bytes: int
    """Of one data set."""


@dataclass(frozen=True)
class Say:
    """Send these bytes; `why` is not empty where they refuse something."""

    data: bytes
    why: str = ""


@dataclass(frozen=True)
class Keep:
    """Keep an instance, then say what `Acceptor.answer` gives."""

    context: int
    command: Command
    data: bytearray
    """The data set as it was received."""
    transfer_syntax: str


@dataclass(frozen=True)
class End:
    """Send these bytes, if any, and close; `why` is empty where all is well."""

    data: bytes
    why: str = ""


Step = Say | Keep | End
Room = Callable[[int], bool]
"""Asks for so many bytes of memory, False where they are not to be had; gives back what is negative."""


@dataclass
class _Message:
    """What has come of one message."""

    context: int
    head: bytearray
    command: Command | None
    data: bytearray
    refused: str = ""
    """Why its data set is thrown away as it comes."""


class Acceptor:
    """The state of one association."""

    def __init__(self, policy: Policy, room: Room) -> None:
        """`room` is asked before a data set grows; whoever takes a `Keep` gives its bytes back."""
        self._policy, self._room = policy, room
        self._chosen: dict[int, tuple[str, str]] = {}
        self._message: _Message | None = None
        self._over = False
        self.calling = ""
        """The caller's AE title, once it has asked."""

    @property
    def is_open(self) -> bool:
        """Whether the association was accepted and has not ended."""
        return bool(self.calling) and not self._over

    @property
    def is_receiving(self) -> bool:
        """Whether a message has come in part."""
        return self._message is not None

    def take(self, kind: int, body: memoryview, full: bool = False) -> Iterator[Step]:
        """What one PDU asks for; `full`: no more associations are to be had. Raises Broken, after which nothing is taken."""
        if self._over:
            return
        if kind == pdus.ABORT:
            yield self._end(b"", "the other side aborted")
        elif kind == pdus.REQUEST and not self.calling:
            yield self._requested(pdus.read_request(body), full)
        elif kind == pdus.DATA and self.is_open:
            yield from self._received(body)
        elif kind == pdus.RELEASE and self.is_open and not self._message:
            yield self._end(pdus.released())
        else:
            raise Broken(UNEXPECTED_PDU, f"a PDU of type {kind:02X}, which does not belong here")

    def close(self) -> None:
        """Forget what was half received."""
        self._over = True
        if self._message:
            self._room(-len(self._message.data))
            self._message = None

    def answer(self, keep: Keep, status: int, comment: str = "") -> bytes:
        """The PDU that answers a C-STORE."""
        return pdus.command_pdu(keep.context, write_answer(keep.command, status, comment))

    def _end(self, data: bytes, why: str = "") -> End:
        self.close()
        return End(data, why)

    def _requested(self, request: Request, full: bool) -> Step:
        refusal = self._refusal(request, full)
        if refusal:
            (result, source, reason), why = refusal
            return self._end(pdus.reject(result, source, reason), why)
        self.calling = request.calling or "?"
        answers: dict[int, str | int] = {}
        for context in request.contexts:
            answers[context.number] = self._choose(context)
            answer = answers[context.number]
            if isinstance(answer, str):
                self._chosen[context.number] = (context.abstract, answer)
        return Say(pdus.accept(request, answers, self._policy.pdu_bytes))

    def _refusal(self, request: Request, full: bool) -> tuple[tuple[int, int, int], str] | None:
        """PS3.8 table 9-21: result, source and reason."""
        policy = self._policy
        if not request.version & 1:
            return (1, 2, 2), f"protocol version {request.version:04X}; version 1 is spoken"
        if request.application != pdus.APPLICATION_CONTEXT:
            return (1, 1, 2), "an application context that is not DICOM's"
        if request.called != policy.ae_title:
            return (1, 1, 7), f"AE title {request.called!r} was called; this is {policy.ae_title!r}"
        if policy.callers and request.calling not in policy.callers:
            return (1, 1, 3), f"AE title {request.calling!r} called, which is not among those allowed"
        if full:
            return (2, 3, 2), "there are as many associations as are allowed"
        return None

    def _choose(self, context: pdus.Context) -> str | int:
        """The transfer syntax: the proposer's first that we read. Or why not."""
        policy = self._policy
        if context.abstract != VERIFICATION and not policy.stores(context.abstract):
            return NO_ABSTRACT
        able = PLAIN if context.abstract == VERIFICATION else policy.transfers
        return next((syntax for syntax in context.transfers if syntax in able), NO_TRANSFER)

    def _received(self, body: memoryview) -> Iterator[Step]:
        for context, of_command, last, data in pdus.fragments(body):
            if context not in self._chosen:
                raise Broken(pdus.INVALID_VALUE, f"a message under presentation context {context}, which was not accepted")
            message = self._message = self._message or _Message(context, bytearray(), None, bytearray())
            if message.context != context or of_command == (message.command is not None):
                raise Broken(UNEXPECTED_PDU, "a message within a message")
            if of_command:
                message.head += data
                if len(message.head) > MOST_COMMAND:
                    raise Broken(pdus.INVALID_VALUE, f"a command of more than {MOST_COMMAND} bytes")
                if last:
                    message.command = read_command(bytes(message.head))
            else:
                self._grow(message, data)
            if last and message.command and not (of_command and message.command.has_data):
                self._message = None
                yield from self._asked(message, message.command)

    def _grow(self, message: _Message, data: memoryview) -> None:
        if message.refused:
            return
        if len(message.data) + len(data) > self._policy.most_bytes:
            message.refused = f"more than {self._policy.most_bytes} bytes"
        elif not self._room(len(data)):
            message.refused = "no memory for it now"
        else:
            message.data += data
            return
        self._room(-len(message.data))
        message.data = bytearray()

    def _asked(self, message: _Message, command: Command) -> Iterator[Step]:
        abstract, syntax = self._chosen[message.context]
        keep = Keep(message.context, command, message.data, syntax)
        status, why = Outcome.SUCCESS, ""
        if command.field == CANCEL:
            return
        if command.field not in (STORE, ECHO) or (command.field == ECHO) != (abstract == VERIFICATION):
            status, why = Outcome.UNRECOGNISED_OPERATION, "only C-STORE and C-ECHO are served"
        elif command.field == STORE and command.sop_class != abstract:
            status, why = Outcome.SOP_CLASS_NOT_SUPPORTED, "not the SOP class of its presentation context"
        elif command.field == STORE and message.refused:
            status, why = Outcome.OUT_OF_RESOURCES, message.refused
        elif command.field == STORE:
            yield keep
            return
        self._room(-len(message.data))
        told = f"a message was refused with {status:04X}: {why}" if why else ""
        yield Say(self.answer(keep, status, why), told)
