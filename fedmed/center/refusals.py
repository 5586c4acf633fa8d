"""Every refusal of the port in the audit log: who was refused what, and why; a flood of them as a count."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from fedmed.clock import Clock
from fedmed.store.audit.event import Event, event
from fedmed.wire.asgi import App, Receive, Scope, Send, certificate_in
from fedmed.wire.asgi import Event as Said

AGAIN_S = 60.0
"""The same refusal of the same peer is one entry in this time, with its number."""
MOST = 256
"""Different refusals that are told apart; all others count as one."""
OTHERS = ("others", "other paths", 0)
Key = tuple[str, str, int]
"""Peer, path, status."""


@dataclass
class Refusals:
    """Looks at what an application answers; safe from any thread."""

    federation: str
    clock: Clock
    record: Callable[[Event], None]
    paths: frozenset[str]
    """Those that are told by name."""
    _seen: dict[Key, tuple[float, int]] = field(default_factory=dict)
    """When each was written, and how many came since."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

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
        now = self.clock.now()
        with self._lock:
            self._forget(now)
            key = (peer, path if path in self.paths else "another path", status)
            if key not in self._seen and len(self._seen) >= MOST:
                key = OTHERS
            before = self._seen.get(key)
            if before is not None and now - before[0] < AGAIN_S:
                self._seen[key] = before[0], before[1] + 1
                return
            self._seen[key] = now, 0
        self.record(self._entry(key, reason, 1))

    def _forget(self, now: float) -> None:
        """Write the number of those that came again, and begin anew."""
        for key, (since, count) in list(self._seen.items()):
            if now - since >= AGAIN_S:
                del self._seen[key]
                if count:
                    self.record(self._entry(key, "as before", count))

    def _entry(self, key: Key, reason: str, count: int) -> Event:
        peer, path, status = key
        return event(
            self.clock.unix(), self.federation, "center", "refuse.request", path, "refused",
            reason=reason, peer=peer, code=status, number=count,
        )  # fmt: skip


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
