"""What a clinic measures its line with: bytes to fetch, a place to drop bytes, and the center's time.

`GET /fedmed/probe?bytes=N` answers with N zero octets, `POST /fedmed/probe` with the number of octets that came (JSON). Both
are capped, a few run at a time, and each answer has a Date (RFC 9110, 6.6.1), which the listener alone does not send.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from email.utils import formatdate

from fedmed.clock import Clock
from fedmed.errors import FedmedError
from fedmed.wire.asgi import Receive, Scope, Send, certificate_in, length_in, refuse

PATH = "/fedmed/probe"
MOST = 16 * 10**6
"""Octets of one answer, and of one body."""
AT_ONCE = 4
"""Probes that run at the same time; training shares the line with them."""
PIECE = bytes(64 * 2**10)


class Echo:
    """An ASGI application for one exact path."""

    def __init__(self, admit: Callable[[bytes], object], clock: Clock) -> None:
        """`admit` raises a FedmedError for a certificate (DER) whose holder may not measure."""
        self._admit, self._clock, self._running = admit, clock, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it with the reason."""
        try:
            self._admit(certificate_in(scope) or b"")
        except FedmedError as error:
            await refuse(send, 403, str(error))
            return
        if self._running >= AT_ONCE:
            await refuse(send, 503, f"{AT_ONCE} measurements run already; try again in a minute")
            return
        self._running += 1
        try:
            await self._serve(scope, receive, send)
        finally:
            self._running -= 1

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        query = scope.get("query_string", b"")
        if scope["method"] == "GET":
            wanted = _number(query)
            if wanted is None:
                await refuse(send, 400, f"got {query[:80]!r}; allowed is bytes=N with N from 0 to {MOST}")
            else:
                await self._fill(send, wanted)
        elif scope["method"] == "POST" and not query:
            said = length_in(scope)
            if said is None or said > MOST:
                await refuse(send, 413, f"a body of {said} bytes; allowed are {MOST}")
            else:
                await self._drop(receive, send)
        else:
            await refuse(send, 405, "GET ?bytes=N and POST are allowed here")

    async def _fill(self, send: Send, size: int) -> None:
        await self._begin(send, size, b"application/octet-stream")
        for start in range(0, size, len(PIECE)):
            await send({"type": "http.response.body", "body": PIECE[: size - start], "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def _drop(self, receive: Receive, send: Send) -> None:
        dropped = 0
        while True:
            event = await receive()
            if event["type"] != "http.request":
                return
            dropped += len(event.get("body", b""))
            if not event.get("more_body", False):
                break
        body = json.dumps({"bytes": dropped}).encode()
        await self._begin(send, len(body), b"application/json")
        await send({"type": "http.response.body", "body": body})

    async def _begin(self, send: Send, size: int, kind: bytes) -> None:
        date = formatdate(self._clock.unix(), usegmt=True).encode()
        headers = [(b"content-type", kind), (b"content-length", b"%d" % size), (b"date", date)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})


def _number(query: bytes) -> int | None:
    name, _, digits = query.partition(b"=")
    if name != b"bytes" or not digits.isdigit() or len(digits) > len(str(MOST)):
        return None
    return int(digits) if int(digits) <= MOST else None
