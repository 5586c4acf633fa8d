"""DICOMweb's Store transaction as an ASGI application (PS3.18 section 10.5): instances in, one status each out.

Parts are kept as they come, each before the next is read, so a request of any length needs the memory of one instance. A
request that breaks off leaves what was kept by then; the sender has no answer, sends all again, and duplicates do no harm.
"""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from fedmed.dicom.arrivals import Arrival, Door
from fedmed.dicom.network.commands import Outcome
from fedmed.dicom.network.pdus import UID
from fedmed.edge.intake.multipart import BadMultipart, Part, Parts, TooLarge, content_type
from fedmed.wire.asgi import CLOSE, Receive, Scope, Send, header_in, length_in, refuse

DICOM, ANSWER = b"application/dicom", b"application/dicom+json"
NOT_DICOM = Outcome.NOT_UNDERSTOOD
SOP_CLASS, SOP_INSTANCE = "00081150", "00081155"
FAILURE_REASON, FAILED, REFERENCED = "00081197", "00081198", "00081199"
Told = Callable[[str, str, str], None]
"""As in `fedmed.dicom.receiving`: address, nothing, and why."""


@dataclass(frozen=True)
class Limits:
    """Of requests."""

    parts: int = 10_000
    request_bytes: int = 8 * 2**30
    at_once: int = 2
    """Requests; each may hold one instance in memory, twice while it is kept."""
    silence_s: float = 30.0
    """Within a body."""


@dataclass
class _Count:
    """Of one request."""

    arrivals: list[Arrival] = field(default_factory=list)
    bytes: int = 0


class Stow:
    """The application. Without `token` it must be listened to on loopback alone, which `listening` sees to."""

    def __init__(
        self,
        door: Door,
        token: str = "",
        limits: Limits = Limits(),
        told: Told = lambda address, title, why: None,
    ) -> None:
        self._door, self._token, self._limits, self._told = door, token.encode(), limits, told
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification; one request a connection."""
        if scope["type"] != "http":
            return
        address = str((scope.get("client") or ("?",))[0])
        refusal = self._refusal(scope)
        if refusal:
            self._told(address, "", refusal[1])
            await refuse(send, *refusal)
            return
        self._running += 1
        try:
            await self._store(scope, receive, send, address)
        finally:
            self._running -= 1

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        """What can be said before the body is read."""
        if self._token:
            scheme, _, given = (header_in(scope, b"authorization") or b"").partition(b" ")
            if scheme.lower() != b"bearer" or not hmac.compare_digest(given.strip(), self._token):
                return 401, "the token is missing or another one; send Authorization: Bearer TOKEN"
        if _study_in(scope["path"]) is None:
            return 404, "there is /studies and /studies/{study}, nothing else"
        if scope["method"] != "POST":
            return 405, "instances are stored with POST; nothing can be read here"
        if header_in(scope, b"content-encoding") is not None:
            return 415, "the body is encoded; send it as it is"
        said = length_in(scope)
        if said is not None and said > self._limits.request_bytes:
            return 413, f"a body of {said} bytes; allowed are {self._limits.request_bytes}"
        if self._running >= self._limits.at_once:
            return 503, f"{self._running} requests are running, as many as are allowed; send it again later"
        return None

    async def _store(self, scope: Scope, receive: Receive, send: Send, address: str) -> None:
        study = _study_in(scope["path"]) or ""
        count = _Count()
        try:
            parts = self._parts(scope)
            await self._read(receive, parts, study, address, count)
            status = _status(count.arrivals)
        except _Unsupported as error:
            return await self._refuse(send, 415, str(error), address)
        except TooLarge as error:
            return await self._refuse(send, 413, str(error), address)
        except BadMultipart as error:
            return await self._refuse(send, 400, str(error), address)
        except TimeoutError:
            return await self._refuse(send, 408, "nothing came for too long", address)
        body = json.dumps(_answer(count.arrivals)).encode()
        headers = [(b"content-type", ANSWER), (b"content-length", b"%d" % len(body)), CLOSE]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        return None

    async def _refuse(self, send: Send, status: int, why: str, address: str) -> None:
        self._told(address, "", why)
        await refuse(send, status, why)

    def _parts(self, scope: Scope) -> Parts:
        kind, parameters = content_type(header_in(scope, b"content-type") or b"")
        if kind != b"multipart/related" or parameters.get(b"type", b"").lower() != DICOM:
            raise _Unsupported('send multipart/related; type="application/dicom"; boundary=...')
        return Parts(parameters.get(b"boundary", b""), self._door.most_bytes, self._limits.parts)

    async def _read(self, receive: Receive, parts: Parts, study: str, address: str, count: _Count) -> None:
        while True:
            # wait_for raises asyncio's own TimeoutError before Python 3.11.
            try:
                event = await asyncio.wait_for(receive(), self._limits.silence_s)
            except asyncio.TimeoutError:
                raise TimeoutError from None
            if event["type"] != "http.request":
                raise BadMultipart("the sender left before the end")
            count.bytes += len(event.get("body", b""))
            if count.bytes > self._limits.request_bytes:
                raise TooLarge(f"a body of more than {self._limits.request_bytes} bytes")
            for part in parts.take(event.get("body", b"")):
                count.arrivals.append(await asyncio.to_thread(self._take, part, study, address))
            if not event.get("more_body", False):
                break
        if not parts.is_over:
            raise BadMultipart("the body ends before its last boundary")
        if not count.arrivals:
            raise BadMultipart("there is no part in it")

    def _take(self, part: Part, study: str, address: str) -> Arrival:
        headers, content = part
        kind, _ = content_type(headers.get(b"content-type", b""))
        if kind != DICOM:
            raise _Unsupported(f"a part of type {kind[:40].decode('ascii', 'replace')!r}; parts are application/dicom")
        arrival = self._door.take(content, {"by": "stow", "from": "", "address": address}, study=study)
        if arrival.why:
            self._told(address, "", f"an instance was refused with {arrival.outcome:04X}: {arrival.why}")
        return arrival


class _Unsupported(BadMultipart):
    """A media type that is not taken."""


def _study_in(path: str) -> str | None:
    """The study that a request is about, empty where it may be any; None where there is no such resource."""
    parts = path.strip("/").split("/")
    if parts[-2:] != ["", "studies"] and parts[-1] == "studies" and len(parts) <= 2:
        return ""
    if len(parts) in (2, 3) and parts[-2] == "studies" and UID.fullmatch(parts[-1]):
        return parts[-1]
    return None


def _status(arrivals: list[Arrival]) -> int:
    """PS3.18 table 10.5.3-1: all kept, some, none; and 503 where none is for want of room, since later it may go."""
    kept = sum(arrival.outcome == Outcome.SUCCESS for arrival in arrivals)
    if kept == len(arrivals):
        return 200
    if kept:
        return 202
    return 503 if all(arrival.outcome == Outcome.OUT_OF_RESOURCES for arrival in arrivals) else 409


def _answer(arrivals: list[Arrival]) -> dict[str, Any]:
    """The Store Instances Response Module (PS3.18 section 10.5.3.2.1) as DICOM JSON; nothing can be retrieved, so no URL."""
    kept = [_reference(arrival) for arrival in arrivals if arrival.outcome == Outcome.SUCCESS]
    failed = [
        {**_reference(arrival), FAILURE_REASON: {"vr": "US", "Value": [int(arrival.outcome)]}}
        for arrival in arrivals
        if arrival.outcome != Outcome.SUCCESS
    ]
    found = {REFERENCED: kept, FAILED: failed}
    return {tag: {"vr": "SQ", "Value": items} for tag, items in found.items() if items}


def _reference(arrival: Arrival) -> dict[str, Any]:
    known = {SOP_CLASS: arrival.facts.get("sop_class"), SOP_INSTANCE: arrival.facts.get("sop_instance")}
    return {tag: {"vr": "UI", "Value": [uid]} for tag, uid in known.items() if uid}
