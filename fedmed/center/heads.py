"""`POST /fedmed/heads`: a clinic hands in the head that it countersigned, and gets the newest, with what joins them.

    request   {"countersigned": {...} or null, "size": entries of the head that it countersigned last,
               "asked": [[smaller, larger size], ...]}
    answer    {"head": {...}, "proof": [hex, ...], "others": [{...}, ...], "answers": [[smaller, larger, [hex, ...]], ...]}

`head` goes on from `size` by `proof` (RFC 6962); `others` are the newest heads that all other members countersigned.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Mapping
from typing import Any

from fedmed.errors import FedmedError, ProtocolRefused, StoreError
from fedmed.identity.gathered import Gathered
from fedmed.identity.heads import SignedHead, read_countersigned
from fedmed.identity.member import Identity
from fedmed.store.audit.log import AuditLog
from fedmed.wire.asgi import Receive, Scope, Send, answer, body_of, certificate_in, length_in, refuse
from fedmed.wire.canonical import canonical

PATH = "/fedmed/heads"
MOST, MOST_ASKED = 64 * 2**10, 16
"""Bytes of a request, and questions in it."""
Admit = Callable[[bytes], Identity]


class HeadsApp:
    """An ASGI application for one exact path."""

    def __init__(self, log: AuditLog, admit: Admit, members: Callable[[], Mapping[bytes, bytes]]) -> None:
        """`members`: fingerprint -> Ed25519 key of all that are members now, the log's owner among them."""
        self._log, self._admit, self._members = log, admit, members
        self._lock = threading.Lock()
        self.gathered = Gathered()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it with the reason."""
        length = length_in(scope)
        if scope["method"] != "POST":
            return await refuse(send, 405, f"{PATH} takes POST alone")
        if length is None or length > MOST:
            return await refuse(send, 413, f"a body of {length} bytes; allowed are {MOST}")
        body = await body_of(receive)
        if body is None:
            return
        status, found = await asyncio.to_thread(self._judged, certificate_in(scope) or b"", body)
        if status != 200:
            return await refuse(send, status, found["refused"])
        await answer(send, status, canonical(found), b"application/json")

    def _judged(self, certificate: bytes, body: bytes) -> tuple[int, dict[str, Any]]:
        try:
            who = self._admit(certificate)
        except ProtocolRefused as error:
            return 403, {"refused": str(error)}
        try:
            return 200, self._answered(who, _read(body))
        except StoreError:
            return 503, {"refused": "the center cannot read its audit log; tell its operator"}
        except FedmedError as error:
            return 400, {"refused": str(error)}

    def _answered(self, who: Identity, said: dict[str, Any]) -> dict[str, Any]:
        log = self._log.owner.fingerprint
        with self._lock:
            if (given := said["countersigned"]) is not None:
                self.gathered = self.gathered.taken(read_countersigned(given), log, self._members())
            gathered, head = self.gathered, self._log.head()
        size = said["size"] if said["size"] <= head.size else 0
        return {
            "head": head.as_json(),
            "proof": _proof(self._log, size, head),
            "others": [each.as_json() for each in gathered.for_member(who.fingerprint)],
            "answers": [
                [old, new, [each.hex() for each in self._log.consistency(old, new)]]
                for old, new in said["asked"]
                if new <= head.size
            ],
        }


def _proof(log: AuditLog, size: int, head: SignedHead) -> list[str]:
    return [each.hex() for each in log.consistency(size, head.size)] if 0 < size < head.size else []


def _read(body: bytes) -> dict[str, Any]:
    """The request in a body. Raises ProtocolRefused for anything else."""
    try:
        said = json.loads(body)
        size, asked = said["size"], said["asked"]
        is_whole = type(size) is int and size >= 0 and len(asked) <= MOST_ASKED and "countersigned" in said
        pairs = [(old, new) for old, new in asked]
        if not is_whole or any(type(old) is not int or type(new) is not int or not 0 < old <= new for old, new in pairs):
            raise ValueError("other values than allowed")
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise ProtocolRefused(
            f"a request for {PATH} has countersigned, size and up to {MOST_ASKED} pairs of sizes in asked ({error})"
        ) from error
    return {"countersigned": said["countersigned"], "size": size, "asked": pairs}
