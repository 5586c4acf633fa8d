"""The hub's enrolment port: where a device with a code and no certificate yet may do one thing."""

from __future__ import annotations

import socket
import socketserver
import ssl
import sys
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from fedmed import __version__
from fedmed.errors import FedmedError
from fedmed.hub.greeting import LASTS_S, ONLY, Talk, hexadecimal
from fedmed.hub.messages import text
from fedmed.hub.refusals import MOST_TEXT, word_of
from fedmed.wire import ports
from fedmed.wire.skew import MOST_TEXT as MOST_VERSION
from fedmed.wire.skew import refuse_far

AT_ONCE = 16
ENDS_S = LASTS_S
"""For those who are being served when it stops; no turn of theirs takes longer."""
TRIES, PER_S, ADDRESSES = 10, 60.0, 4096
"""Failed tries that one address has in so many seconds, and the addresses that are remembered."""


class Desk(Protocol):
    """Who decides."""

    def greeting(self) -> Mapping[str, Any]:
        """The first turn."""

    def named(self, invitation: str) -> str:
        """What the device of this invitation is to be called. Raises JoinRefused."""

    def enrolled(self, invitation: str, request: bytes, proof: bytes) -> Mapping[str, Any]:
        """The last turn. Raises JoinRefused, ProtocolRefused, StoreError."""

    def failed(self, peer: str, error: FedmedError) -> None:
        """Write down who was refused, and why."""

    def shook(self, peer: str, error: OSError) -> None:
        """Write down what ended a handshake."""


class Tries:
    """Failed tries by address; who has used up its own is not listened to."""

    def __init__(self) -> None:
        self._failed: OrderedDict[str, deque[float]] = OrderedDict()

    def may(self, address: str, now: float) -> bool:
        """Whether the address has a try left."""
        failed = self._failed.get(address, deque())
        while failed and now - failed[0] >= PER_S:
            failed.popleft()
        return len(failed) < TRIES

    def fail(self, address: str, now: float) -> None:
        """A try failed."""
        self._failed.setdefault(address, deque(maxlen=TRIES)).append(now)
        self._failed.move_to_end(address)
        while len(self._failed) > ADDRESSES:
            self._failed.popitem(last=False)


class Door(socketserver.ThreadingTCPServer):
    """Serves from `start` to `stop`."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 32

    def __init__(self, host: str, port: int, context: ssl.SSLContext, desk: Desk, now: Callable[[], float]) -> None:
        """Raises ConfigError where the address is not to be had."""
        self.context, self._desk, self._now = context, desk, now
        """What handshakes from now on are made with."""
        self._room, self._turn, self._tries = threading.BoundedSemaphore(AT_ONCE), threading.Lock(), Tries()
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            super().__init__((host, port), socketserver.BaseRequestHandler)
        except OSError as error:
            raise ports.refused(host, port, error.strerror) from error
        self._thread = threading.Thread(target=self.serve_forever, args=(0.2,), name="door", daemon=True)

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self.server_address[1])

    def start(self) -> None:
        """Listen."""
        self._thread.start()

    def stop(self) -> None:
        """Listen no more; who is being served comes to the end within `ENDS_S`, and writes nothing after this."""
        self.shutdown()
        self._thread.join()
        self.server_close()
        until = self._now() + ENDS_S
        found = sum(self._room.acquire(timeout=max(0.0, until - self._now())) for _ in range(AT_ONCE))
        if found:
            self._room.release(found)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread of its own, where there is room and the address has a try left."""
        with self._turn:
            may = self._tries.may(client_address[0], self._now())
        if not may or not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # this machine has no thread for it
            self._room.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """That thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def finish_request(self, request: Any, client_address: Any) -> None:
        """One device's turns, in a thread of its own."""
        peer = str(client_address[0])
        try:
            request.settimeout(LASTS_S)
            line = self.context.wrap_socket(request, server_side=True)
        except OSError as error:
            self._fail(peer)
            self._desk.shook(peer, error)
            return
        try:
            with line:
                self._serve(Talk(line, self._now), peer)
        except OSError:
            self._fail(peer)

    def _serve(self, talk: Talk, peer: str) -> None:
        try:
            talk.say({**self._desk.greeting(), "version": __version__})
            asked = talk.hear()
            if ONLY in asked:
                self._fail(peer)  # it costs a handshake, so it counts as a try; there is nothing to write down
                return
            refuse_far(__version__, text(asked, "version", most=MOST_VERSION), "the device")
            invitation = text(asked, "invitation", most=64)
            talk.say({"name": self._desk.named(invitation)})
            sent = talk.hear()
            talk.say(self._desk.enrolled(invitation, hexadecimal(sent, "request"), hexadecimal(sent, "proof")))
        except FedmedError as error:
            self._fail(peer)
            self._desk.failed(peer, error)
            talk.say({"refused": str(error)[:MOST_TEXT], "word": word_of(error)})

    def _fail(self, peer: str) -> None:
        with self._turn:
            self._tries.fail(peer, self._now())

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who has gone is no news, and why it was refused is written down; anything else is a fault of ours."""
        if not isinstance(sys.exc_info()[1], (FedmedError, OSError)):
            super().handle_error(request, client_address)
