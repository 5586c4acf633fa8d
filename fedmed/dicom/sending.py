"""Results to the PACS: a C-STORE user (PS3.4 annex B) over pynetdicom, to the configured destination and nowhere else."""

from __future__ import annotations

import io
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from fedmed.dicom.destination import Destination
from fedmed.dicom.elements import EXPLICIT, IMPLICIT
from fedmed.dicom.faults import UNREADABLE
from fedmed.dicom.statuses import Outcome, meaning
from fedmed.errors import MissingPart, Unreachable

VERIFICATION = "1.2.840.10008.1.1"
MAX_CONTEXTS = 128
"""Presentation contexts of one association: odd numbers of one byte (PS3.8 section 9.3.2.2)."""
MAX_PDU_BYTES = 128 * 1024
REJECTED = 0x03
"""The type of an A-ASSOCIATE-RJ (PS3.8 section 9.3.4)."""
END_S = 2.0
"""For pynetdicom's thread to see that its association is over."""


@dataclass(frozen=True)
class Sent:
    """How one object ended."""

    sop_class: str
    sop_instance: str
    outcome: Outcome
    status: int | None
    """The server's status; None where it gave none."""
    said: str
    """For a person: what the server said, or why nothing was sent; empty where all is well."""


def send(destination: Destination, objects: Sequence[bytes]) -> list[Sent]:
    """Sends `objects` (PS3.10 files) over one association, and tells of each in order how it ended; raises nothing for
    what the server does. MissingPart without pynetdicom, ConfigError for files of TLS that cannot be read.
    """
    with Sender(destination) as sender:
        return sender.send(objects)


def echo(destination: Destination) -> None:
    """C-ECHO (PS3.4 annex A): Unreachable, with the reason, unless the destination answers and accepts us."""
    with Sender(destination) as sender:
        sender.echo()


def not_taken(destination: Destination, sop_classes: Iterable[str]) -> tuple[str, ...]:
    """Those of the SOP classes that the destination would not store, as an association agrees on them; nothing is sent.

    It is asked C-ECHO as well. Raises Unreachable with the reason, MissingPart, ConfigError as `Sender`.
    """
    with Sender(destination) as sender:
        return sender.not_taken(tuple(sop_classes))


class Sender:
    """A destination with an association that is kept for the next object, and opened anew when it is gone.

    For one thread. A context manager: the association is released at the end.
    """

    def __init__(self, destination: Destination) -> None:
        """Connects to nothing yet. Raises MissingPart without pynetdicom, ConfigError for files of TLS."""
        self.destination = destination
        self._tls = None if destination.tls is None else (destination.tls.context(), destination.host)
        self._entity = _entity(destination)
        self._association: Any = None
        self._proposed: frozenset[tuple[str, str]] = frozenset()

    def __enter__(self) -> Sender:
        """Itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Releases the association."""
        self.close()

    def close(self) -> None:
        """Releases the association, if there is one; it may be sent on again."""
        if self._association is not None:
            _end(self._association)
        self._association, self._proposed = None, frozenset()

    def send(self, objects: Sequence[bytes]) -> list[Sent]:
        """See `send`. ValueError for more kinds of object than one association can hold."""
        opened = [_opened(content) for content in objects]
        kinds = frozenset((each.sop_class, each.syntax) for each in opened if each.dataset is not None)
        why = self._associate(kinds) if kinds else ""
        ends = []
        for each in opened:
            ends.append(self._store(each, why))
            if ends[-1].outcome is Outcome.LATER and ends[-1].status is None and not why:
                why = ends[-1].said  # a line that has gone would make each further object wait for an answer
                self.close()
        return ends

    def echo(self) -> None:
        """See `echo`."""
        if why := self._associate(frozenset({(VERIFICATION, IMPLICIT)})):
            raise Unreachable(f"{self.destination}: {why}")
        answer = self._association.send_c_echo()
        if "Status" not in answer or answer.Status != 0x0000:
            said = f"answered C-ECHO with {answer.Status:04X}" if "Status" in answer else "did not answer C-ECHO"
            raise Unreachable(f"{self.destination} {said}; its log says more")

    def not_taken(self, sop_classes: Sequence[str]) -> tuple[str, ...]:
        """See `not_taken`."""
        if why := self._associate(frozenset({(VERIFICATION, IMPLICIT), *((each, EXPLICIT) for each in sop_classes)})):
            raise Unreachable(f"{self.destination}: {why}")
        self.echo()
        taken = {str(context.abstract_syntax) for context in self._association.accepted_contexts}
        return tuple(each for each in sop_classes if each not in taken)

    def _associate(self, kinds: frozenset[tuple[str, str]]) -> str:
        """Empty once an association stands that was proposed all of `kinds`; else why there is none."""
        if self._association is not None and self._association.is_established and kinds <= self._proposed:
            return ""
        wanted = kinds | self._proposed
        self.close()
        if why := self._unreachable():
            return why
        from pynetdicom import evt

        rejections: list[Any] = []
        association = self._entity.associate(
            self.destination.host,
            self.destination.port,
            contexts=_contexts(wanted),
            ae_title=self.destination.ae_title,
            max_pdu=MAX_PDU_BYTES,
            tls_args=self._tls,
            evt_handlers=[(evt.EVT_CONN_OPEN, _send_at_once), (evt.EVT_PDU_RECV, _keep_rejection, [rejections])],
        )
        if not association.is_established:
            _end(association)
            return _why_none(association, rejections, self.destination)
        self._association, self._proposed = association, wanted
        return ""

    def _unreachable(self) -> str:
        """Why no connection can be made, from a connection made to see: pynetdicom keeps the reason to itself."""
        there = self.destination
        try:
            with socket.create_connection((there.host, there.port), there.connect_s) as line:
                if self._tls is not None:
                    context, host = self._tls
                    context.wrap_socket(line, server_hostname=host).close()
        except (OSError, UnicodeError) as error:  # ssl.SSLError is an OSError; UnicodeError: a host that no DNS could know
            why = getattr(error, "strerror", None) or error
            return f"no connection to {there.host}:{there.port} can be made ({why}); nothing was sent"
        return ""

    def _store(self, opened: _Opened, why: str) -> Sent:
        def ended(outcome: Outcome, said: str, status: int | None = None) -> Sent:
            return Sent(opened.sop_class, opened.sop_instance, outcome, status, said)

        if opened.dataset is None:
            return ended(Outcome.NEVER, "it is no DICOM file that can be sent")
        if why:
            return ended(Outcome.LATER, why)
        try:
            answer = self._association.send_c_store(opened.dataset)
        except RuntimeError:  # of pynetdicom, for an association that is gone
            return ended(Outcome.LATER, f"{self.destination} ended the association")
        except ValueError as error:
            taken = {context.abstract_syntax for context in self._association.accepted_contexts}
            if opened.sop_class in taken:
                return ended(Outcome.NEVER, f"it cannot be encoded in a transfer syntax that was agreed on ({error})")
            return ended(Outcome.NEVER, f"{self.destination} takes no {opened.sop_class}; allow this SOP class there")
        if "Status" not in answer:
            return ended(
                Outcome.LATER, f"{self.destination} did not answer within {self.destination.answer_s:g} s, or hung up"
            )
        outcome, said = meaning(int(answer.Status))
        comment = str(answer.get("ErrorComment", "") or "")[:64]
        return ended(outcome, f"{said}: {comment}" if said and comment else said, int(answer.Status))


@dataclass(frozen=True)
class _Opened:
    """An object as pynetdicom takes it; no data set where it is none."""

    sop_class: str
    sop_instance: str
    syntax: str
    dataset: Any


def _opened(content: bytes) -> _Opened:
    import pydicom

    try:
        dataset = pydicom.dcmread(io.BytesIO(content))
        return _Opened(
            str(dataset.SOPClassUID), str(dataset.SOPInstanceUID), str(dataset.file_meta.TransferSyntaxUID), dataset
        )
    except UNREADABLE:
        return _Opened("", "", "", None)


def _entity(destination: Destination) -> Any:
    try:
        from pynetdicom import AE
    except ImportError as error:
        raise MissingPart("Sending DICOM needs pynetdicom; install it with: pip install 'fedmed[edge]'") from error
    found = AE(ae_title=destination.calling)
    found.connection_timeout = found.acse_timeout = destination.connect_s
    found.dimse_timeout = destination.answer_s
    found.network_timeout = max(destination.answer_s, destination.connect_s) * 2
    return found


def _end(association: Any) -> None:
    """Releases an association that stands, and closes the socket of one that does not, which pynetdicom may leave open."""
    if association.is_established:
        association.release()
    if association.dul.is_alive():
        association.dul.join(END_S)
    line = association.dul.socket
    if line is not None and line.socket is not None:
        line.socket.close()


def _send_at_once(event: Any) -> None:
    """Without Nagle's algorithm, which holds the last piece of each object back until the server's kernel has waited."""
    event.assoc.dul.socket.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _keep_rejection(event: Any, rejections: list[Any]) -> None:
    """Adds an A-ASSOCIATE-RJ (PS3.8 section 9.3.4) where one came.

    The association itself forgets it at times: pynetdicom's reader closes the connection once it has one, and where that
    was before the thread that asked looked whether there is a connection, that thread takes it for one never made.
    """
    if event.pdu.pdu_type == REJECTED:
        rejections.append(event.pdu)


def _contexts(kinds: Iterable[tuple[str, str]]) -> list[Any]:
    """One presentation context for each SOP class and transfer syntax, so that the server chooses none for us; what is
    not compressed is proposed in implicit VR as well, which every server takes (PS3.5 section 10.1).
    """
    from pynetdicom import build_context

    pairs = set(kinds)
    pairs |= {(sop_class, IMPLICIT) for sop_class, syntax in pairs if syntax == EXPLICIT}
    if len(pairs) > MAX_CONTEXTS:
        raise ValueError(f"{len(pairs)} kinds of object; one association holds {MAX_CONTEXTS}, send them in parts")
    return [build_context(sop_class, syntax) for sop_class, syntax in sorted(pairs)]


def _why_none(association: Any, rejections: Sequence[Any], destination: Destination) -> str:
    """Why no association stands."""
    if rejections:
        return (
            f"it rejected the association ({rejections[0].reason_str}); the AE titles, called {destination.ae_title!r}"
            f" and calling {destination.calling!r}, must be those that it knows"
        )
    if association.rejected_contexts:
        classes = sorted({str(context.abstract_syntax) for context in association.rejected_contexts})
        return f"it takes none of the SOP classes {', '.join(classes)}; allow them there"
    return (
        f"{destination.host}:{destination.port} takes connections and does not answer as a DICOM server within"
        f" {destination.connect_s:g} s, or hung up"
    )
