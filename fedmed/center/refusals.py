"""Every refusal of a request in the audit log: who was refused what, and why; a flood of them as a count."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable

from fedmed.clock import Clock
from fedmed.store.audit.event import Event
from fedmed.store.audit.floods import Floods, Kind
from fedmed.wire.asgi import App, Receive, Scope, Send, certificate_in
from fedmed.wire.asgi import Event as Said

MOST = 256
"""Different refusals that are told apart; all others count as one."""
OTHERS = Kind("others", "other paths", 0)


class Refusals:
    """Looks at what an application answers; safe from any thread."""

    def __init__(self, federation: str, clock: Clock, record: Callable[[Event], None], paths: frozenset[str]) -> None:
        """`paths` are those that are told by name."""
        self._paths = paths
        self.floods = Floods(federation, "center", clock, record, "refuse.request", OTHERS, MOST)

    def around(self, app: App) -> App:
        """The application, its refusals noted before they are sent."""

        async def watched(scope: Scope, receive: Receive, send: Send) -> None:
            status = 0

            async def sent(said: Said) -> None:
                nonlocal status
                if said["type"] == "http.response.start":
                    status = int(said["status"])
                elif status >= 400:
                    told = _peer(scope), str(scope.get("path", "")), status, _reason(said.get("body", b""))
                    status = 0
                    await asyncio.to_thread(self.note, *told)
                await send(said)

            await app(scope, receive, sent)

        return watched

    def note(self, peer: str, path: str, status: int, reason: str) -> None:
        """Write a refusal down, or count it."""
        self.floods.note(Kind(peer, path if path in self._paths else "another path", status), reason)


def _peer(scope: Scope) -> str:
    certificate = certificate_in(scope)
    if certificate is None:
        return "no certificate"
    return f"certificate {hashlib.sha256(certificate).hexdigest()[:16]}"


def _reason(body: bytes) -> str:
    try:
        return str(json.loads(body)["refused"])
    except (ValueError, LookupError, TypeError):
        return ""
