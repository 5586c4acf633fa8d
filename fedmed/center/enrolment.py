"""The paths that let clinics in: `/fedmed/enrol` for a ticket, `/fedmed/renew` and `/fedmed/members` for members.

A request's body is a certificate request in DER, an answer's is JSON. Everything else is judged before the body is read.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from typing import Any

from fedmed.center.folder import CenterFolder
from fedmed.errors import JoinRefused, ProtocolRefused, StoreError
from fedmed.identity import requests
from fedmed.identity.enrolment import MEMBERS, Ask, Deliver, Instruction, Renew, Wait
from fedmed.identity.requests import read_request
from fedmed.identity.transport import Ticket, read_ticket
from fedmed.wire.asgi import Receive, Scope, Send, answer, body_of, certificate_in, length_in, refuse
from fedmed.wire.canonical import canonical

ENROL, RENEW, MEMBERS_PATH = "/fedmed/enrol", "/fedmed/renew", "/fedmed/members"
PATHS = {ENROL: "POST", RENEW: "POST", MEMBERS_PATH: "GET"}
"""Each path of ours, and the one method that it takes."""
OK, WAITING, BAD, FORBIDDEN, NOWHERE, METHOD, LARGE, BROKEN = 200, 202, 400, 403, 404, 405, 413, 503
_JSON = b"application/json"

Answer = tuple[int, dict[str, Any]]


class EnrolmentApp:
    """An ASGI application over a center's folder; `fedmed.center.listening` has checked who signed the certificate."""

    def __init__(self, folder: CenterFolder) -> None:
        """Raises KeyRefused where the authority's key is missing, or others can read it."""
        self._folder, authority = folder, folder.authority()
        self._authority = authority.certificate
        self._public = authority.public
        self.admissions = folder.admissions()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        path, certificate, length = scope["path"], certificate_in(scope), length_in(scope)
        if path not in PATHS:
            return await refuse(send, NOWHERE, f"nothing is here; these paths are: {', '.join(PATHS)}")
        if scope["method"] != PATHS[path]:
            return await refuse(send, METHOD, f"{path} takes {PATHS[path]} alone")
        if length is None or length > requests.MAX_BYTES:
            return await refuse(send, LARGE, f"a body of {length} bytes; allowed are {requests.MAX_BYTES}")
        body = await body_of(receive)
        if body is not None:
            handle = {ENROL: self._enrol, RENEW: self._renew, MEMBERS_PATH: self._members}[path]
            # In a thread: a step waits for the disk, and for another process that is within one.
            status, found = await asyncio.to_thread(self._judged, handle, certificate or b"", body)
            if status in (OK, WAITING):
                return await answer(send, status, canonical(found), _JSON)
            await refuse(send, status, found["refused"])

    def _judged(self, handle: Callable[[bytes, bytes], Answer], certificate: bytes, body: bytes) -> Answer:
        try:
            return handle(certificate, body)
        except ProtocolRefused as error:
            return BAD, {"refused": str(error)}
        except JoinRefused as error:
            return FORBIDDEN, {"refused": str(error)}
        except StoreError:
            return BROKEN, {"refused": "the center cannot read or write its roll of clinics; tell its operator"}

    def _enrol(self, certificate: bytes, body: bytes) -> Answer:
        ticket, request = self._ticket(certificate), read_request(body)
        if request.transport_public == ticket.transport_public:
            raise JoinRefused("the request is for the ticket's own key, which was mailed; make keys on site")
        return self._told(self._folder.enrolments.apply(Ask(ticket.name, ticket.serial.hex(), request, body)))

    def _renew(self, certificate: bytes, body: bytes) -> Answer:
        member, request = self.admissions.member(certificate), read_request(body)
        event = Renew(member.name, member.fingerprint.hex(), request, body)
        return self._told(self._folder.enrolments.apply(event, self._folder.sign))

    def _members(self, certificate: bytes, body: bytes) -> Answer:
        self.admissions.member(certificate)
        seats = self._folder.enrolments.roll().seats.values()
        return OK, {"members": [_text(seat.certificate) for seat in seats if seat.stage in MEMBERS]}

    def _ticket(self, certificate: bytes) -> Ticket:
        try:
            return read_ticket(certificate, self._public, self._folder.clock.unix())
        except ProtocolRefused as error:
            raise JoinRefused(str(error)) from error

    def _told(self, todo: Instruction) -> Answer:
        if isinstance(todo, Deliver):
            return OK, {"chain": [_text(todo.certificate), _text(self._authority)]}
        assert isinstance(todo, Wait)  # nothing else comes of a request
        return WAITING, {"expires": todo.expires, "waiting": todo.name}


def _text(der: bytes) -> str:
    return base64.b64encode(der).decode()
