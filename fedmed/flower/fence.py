"""What the center's port lets through: a list of exact paths, and for each only whom its certificate says it is.

Flower's Control and Runtime APIs are not behind this fence but nowhere: of Flower, only the calls of a node are reachable.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from fedmed import __version__
from fedmed.errors import ProtocolRefused, StoreError, VersionRefused
from fedmed.flower.calls import BUNDLE, FLEET, KEY_HEADER, MOST, MOST_OWN, OWN, PROTOBUF
from fedmed.flower.hatch import Hatch
from fedmed.flower.opening import disk_needed
from fedmed.flower.refusals import NO_ROOM, TOO_FAR, UNAUTHORISED, CallRefused, Node
from fedmed.flower.superlink import SuperLink
from fedmed.identity.member import Identity
from fedmed.wire.asgi import App, Receive, Scope, Send, answer, body_of, certificate_in, header_in, length_in, refuse
from fedmed.wire.skew import FIRST, HEADER, MOST_TEXT, refuse_far

HOLD_S = 20.0
"""How long a node's question for messages is held while there are none; proxies close what is silent for longer than 30."""
RECHECK_S = 2.0
"""And how often it is looked at meanwhile whether the node is still admitted."""
PATHS = {FLEET + call: most for call, most in MOST.items()} | {OWN + call: most for call, most in MOST_OWN.items()}
"""All that nodes can reach, and the bytes of a body there."""
HELD = ("pull-messages", "take")
Admit = Callable[[bytes], Identity]
T = TypeVar("T")


class Fence:
    """The public ASGI application."""

    def __init__(
        self,
        link: SuperLink,
        admit: Admit,
        own: Mapping[str, App] | None = None,
        hold_s: float = HOLD_S,
        version: str = __version__,
    ) -> None:
        """`admit` says, for each request anew, who a certificate (DER) is; it raises ProtocolRefused for one that is not
        admitted (any more). `own` are applications of ours by exact path; they look at certificates themselves. `version`:
        this side's; a node's may be a minor from it.
        """
        self._link, self._admit, self._own, self._hold_s = link, admit, dict(own or {}), hold_s
        self._hatch, self._version = Hatch(link), version
        self.versions: dict[int, str] = {}
        """What each node said last that it runs, by its number."""
        self._bells: dict[int, asyncio.Event] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_closing = False
        link.on_post(self._ring)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it with the reason."""
        self._loop = asyncio.get_running_loop()
        path = scope.get("raw_path", b"").decode("latin-1")  # as it was sent: no spelling leads to a path but its own
        if scope["type"] != "http":
            return
        if path in self._own:
            await self._own[path](scope, receive, send)
            return
        if scope["method"] != "POST" or path not in PATHS or scope.get("query_string"):
            await refuse(send, 404, "there is nothing here")
            return
        try:
            await self._serve(path, scope, receive, send)
        except CallRefused as error:
            await refuse(send, error.status, str(error))
        except StoreError as error:
            await refuse(send, NO_ROOM, str(error))

    async def _serve(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        call, length = path.rpartition("/")[2], length_in(scope)
        if length is None or length > PATHS[path]:
            raise CallRefused(413, f"{call}: a body of {length} bytes; allowed are {PATHS[path]}")
        node = await asyncio.to_thread(_on_disk, self._node, scope)
        self._near(node, scope)
        body = await body_of(receive)
        if body is None:
            return
        served, kind = (self._hatch.answer, BUNDLE) if path.startswith(OWN) else (self._link.answer, PROTOBUF)
        said = await asyncio.to_thread(_on_disk, served, call, body, node)
        if call in HELD and not said:
            if not await self._has_mail(node.number, scope, receive):
                return
            said = await asyncio.to_thread(_on_disk, served, call, body, node)
        self._link.traffic.note(len(body), len(said))
        await answer(send, 200, said, kind.encode(), (HEADER.encode(), self._version.encode()))

    def _near(self, node: Node, scope: Scope) -> None:
        """Raises CallRefused for a node whose fedmed is too old or too new."""
        said = header_in(scope, HEADER.encode())
        version = self.versions[node.number] = FIRST if said is None else said[:MOST_TEXT].decode("latin-1")
        try:
            refuse_far(self._version, version, "the clinic")
        except VersionRefused as error:
            raise CallRefused(TOO_FAR, str(error)) from error

    def _node(self, scope: Scope) -> Node:
        """Whom the certificate, Flower's header and the register agree on. Raises CallRefused."""
        certificate = certificate_in(scope)
        if certificate is None:
            raise CallRefused(UNAUTHORISED, "a certificate of this federation is needed")
        try:
            member = self._admit(certificate)
        except ProtocolRefused as error:
            raise CallRefused(UNAUTHORISED, str(error)) from error
        node = self._link.node_of(member.transport_public)
        if node is None:
            raise CallRefused(UNAUTHORISED, f"{member.name} is not registered, or was revoked; ask the center's operator")
        try:
            shown = base64.b64decode(header_in(scope, KEY_HEADER.encode()) or b"", validate=True)
        except binascii.Error:
            shown = b""
        if shown != node.key:
            raise CallRefused(UNAUTHORISED, "the key in Flower's header is not that of the certificate")
        return node

    async def _has_mail(self, node: int, scope: Scope, receive: Receive) -> bool:
        """Wait for messages, for the end of the time, or for the peer to go; only then False. Raises CallRefused for a node
        that is revoked meanwhile.
        """
        bell = self._bells.setdefault(node, asyncio.Event())
        gone, rung = asyncio.ensure_future(receive()), asyncio.ensure_future(bell.wait())
        end = asyncio.get_running_loop().time() + self._hold_s
        try:
            while not (gone.done() or rung.done() or self._is_closing):
                left = end - asyncio.get_running_loop().time()
                if left <= 0:
                    break
                await asyncio.wait({gone, rung}, timeout=min(left, RECHECK_S), return_when="FIRST_COMPLETED")
                await asyncio.to_thread(_on_disk, self._node, scope)
            bell.clear()
            return not gone.done()
        finally:
            gone.cancel()
            rung.cancel()

    def _ring(self, nodes: Iterable[int]) -> None:
        wanted = set(nodes)

        def ring() -> None:
            for node in wanted:
                self._bells.setdefault(node, asyncio.Event()).set()

        self._soon(ring)

    def _soon(self, work: Callable[[], None]) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(work)

    def close(self) -> None:
        """Answer the questions that are held, and hold none any more: before the listener stops."""
        self._is_closing = True
        self._ring(self._bells)


def _on_disk(work: Callable[..., T], *given: object) -> T:
    with disk_needed():
        return work(*given)
