"""What the center's port lets through: a list of exact paths, and for each only whom its certificate says it is.

Flower's Control and Runtime APIs are not behind this fence but nowhere: of Flower, only the calls of a node are reachable.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Callable, Iterable, Mapping

from fedmed.errors import ProtocolRefused
from fedmed.flower.calls import CHUNK, FLEET, KEY_HEADER, PROTOBUF, REQUESTS
from fedmed.flower.superlink import UNAUTHORISED, CallRefused, Node, SuperLink
from fedmed.identity.member import Identity
from fedmed.wire.asgi import App, Receive, Scope, Send, answer, body_of, certificate_in, header_in, length_in, refuse

HOLD_S = 20.0
"""How long a node's question for messages is held while there are none; proxies close what is silent for longer than 30."""
SMALL, TREE = 4 * 2**10, 4 * 2**20
"""Bytes of a body: of a call that says little, and of one that lists the objects of a message."""
MOST = dict.fromkeys(REQUESTS, SMALL) | {"push-messages": TREE, "push-object": CHUNK + SMALL}
Admit = Callable[[bytes], Identity]


class Fence:
    """The public ASGI application."""

    def __init__(self, link: SuperLink, admit: Admit, own: Mapping[str, App] | None = None, hold_s: float = HOLD_S) -> None:
        """`admit` says, for each request anew, who a certificate (DER) is; it raises ProtocolRefused for one that is not
        admitted (any more). `own` are applications of ours by exact path; they look at certificates themselves.
        """
        self._link, self._admit, self._own, self._hold_s = link, admit, dict(own or {}), hold_s
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
        call = path.removeprefix(FLEET)
        if scope["method"] != "POST" or call not in REQUESTS or path != FLEET + call or scope.get("query_string"):
            await refuse(send, 404, "there is nothing here")
            return
        try:
            await self._serve(call, scope, receive, send)
        except CallRefused as error:
            await refuse(send, error.status, str(error))

    async def _serve(self, call: str, scope: Scope, receive: Receive, send: Send) -> None:
        length = length_in(scope)
        if length is None or length > MOST[call]:
            raise CallRefused(413, f"{call}: a body of {length} bytes; allowed are {MOST[call]}")
        node = await asyncio.to_thread(self._node, scope)
        body = await body_of(receive)
        if body is None:
            return
        said = await asyncio.to_thread(self._link.answer, call, body, node)
        if call == "pull-messages" and not said:
            if not await self._has_mail(node.number, receive):
                return
            node = await asyncio.to_thread(self._node, scope)  # it may have been revoked while it waited
            said = await asyncio.to_thread(self._link.answer, call, body, node)
        await answer(send, 200, said, PROTOBUF.encode())

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

    async def _has_mail(self, node: int, receive: Receive) -> bool:
        """Wait for messages, for the end of the time, or for the peer to go; only then False."""
        bell = self._bells.setdefault(node, asyncio.Event())
        gone, rung = asyncio.ensure_future(receive()), asyncio.ensure_future(bell.wait())
        try:
            await asyncio.wait({gone, rung}, timeout=0 if self._is_closing else self._hold_s, return_when="FIRST_COMPLETED")
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
