"""The shape of an ASGI application, and the few plain steps that ours share."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

EXTENSION, CERTIFICATE = "fedmed", "certificate"
CLOSE = (b"connection", b"close")
PIECE = 256 * 2**10


def certificate_in(scope: Scope) -> bytes | None:
    """The peer's certificate, DER; None where a listener put none there."""
    found = scope.get("extensions", {}).get(EXTENSION, {}).get(CERTIFICATE)
    return found if isinstance(found, bytes) else None


def header_in(scope: Scope, name: bytes) -> bytes | None:
    """The value of a request's header (lower-case name); None where it is there no time, or more than once."""
    found = [value for each, value in scope["headers"] if each == name]
    return found[0] if len(found) == 1 else None


def length_in(scope: Scope) -> int | None:
    """Bytes of the body that a request says it has, 0 where it says nothing; None where it cannot be known beforehand."""
    if any(name == b"transfer-encoding" for name, _ in scope["headers"]):
        return None
    if all(name != b"content-length" for name, _ in scope["headers"]):
        return 0
    said = header_in(scope, b"content-length") or b""
    return int(said) if said.isdigit() and len(said) < 20 else None


async def body_of(receive: Receive) -> bytes | None:
    """The whole body; None where the peer has gone. Whoever calls this has looked at `length_in` first."""
    body = bytearray()
    while True:
        event = await receive()
        if event["type"] != "http.request":
            return None
        body += event.get("body", b"")
        if not event.get("more_body", False):
            return bytes(body)


async def answer(
    send: Send, status: int, body: bytes, kind: bytes = b"application/octet-stream", *more: tuple[bytes, bytes]
) -> None:
    """A whole answer, with `more` headers; in pieces, so that TLS and socket of a slow peer hold no copies of all of it."""
    headers = [(b"content-type", kind), (b"content-length", b"%d" % len(body)), *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    for start in range(0, max(1, len(body)), PIECE):
        end = start + PIECE
        await send({"type": "http.response.body", "body": body[start:end], "more_body": end < len(body)})


async def refuse(send: Send, status: int, reason: str) -> None:
    """An answer that says why nothing was done, as JSON; the connection ends, so that an unread body is not waited for."""
    body = json.dumps({"refused": reason}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), CLOSE]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
