"""The hub's ports: one for enrolled devices, gRPC behind TLS with certificates on both sides, and one to enrol at.

Every call is one message and one answer, at most a megabyte. gRPC gives a call a thread before it has read the message, so
there are as many threads as calls: a device that sends slowly holds nobody's place. What a call means is in `hub.calls`.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

from fedmed.errors import FedmedError, ProtocolRefused, StoreError, Unreachable
from fedmed.hub.calls import METHODS, Calls
from fedmed.hub.door import Door
from fedmed.hub.folder import CERTIFICATE_FILE, KEYS_FILE, HubFolder
from fedmed.hub.messages import MOST_MESSAGE, encoded
from fedmed.hub.refusals import KEY, MOST_TEXT, word_of
from fedmed.hub.relaying import ALPN, BACKLOG, Relay
from fedmed.hub.tls import grpc
from fedmed.identity.devices import Ask, invited
from fedmed.identity.issuing import certificate_pem
from fedmed.identity.requests import read_request
from fedmed.operation.accepting import Failed
from fedmed.wire import ports
from fedmed.wire.tls import serving

SERVICE = "fedmed.hub.v1"
AT_ONCE, ANSWERED_AT_ONCE = 128, 16
"""Calls of all devices that are taken at once, each in a thread of its own, and those of them that are worked on."""
DRAIN_S = 10.0
_OPTIONS = (
    ("grpc.max_receive_message_length", MOST_MESSAGE),
    ("grpc.max_send_message_length", MOST_MESSAGE),
    ("grpc.max_concurrent_streams", 16),
    ("grpc.max_metadata_size", 8192),
    ("grpc.so_reuseport", 0),
    ("grpc.keepalive_time_ms", 120_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 30_000),
)
_CODES = {
    "device": grpc.StatusCode.PERMISSION_DENIED,
    "join": grpc.StatusCode.FAILED_PRECONDITION,
    "version": grpc.StatusCode.FAILED_PRECONDITION,
    "message": grpc.StatusCode.INVALID_ARGUMENT,
    "quota": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "store": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "later": grpc.StatusCode.UNAVAILABLE,
}


class Ports:
    """Both ports, from `start` to `stop`."""

    def __init__(self, folder: HubFolder, calls: Calls, failed: Failed) -> None:
        """`failed` is told of handshakes that fail, from many threads.

        Raises ConfigError where a port is not to be had, KeyRefused, StoreError.
        """
        self._folder, self._calls = folder, calls
        self.shown = folder.certificate()
        """The certificate (DER) that the enrolment port shows."""
        config = folder.config
        desk, now = _Desk(folder, calls, self, failed), folder.clock.now
        self._door = Door(config.listen, config.enrolment_port, self._context(), desk, now)
        with ExitStack() as undo:
            undo.callback(self._door.server_close)
            self._listening = undo.enter_context(ports.listening(config.listen, config.port, BACKLOG))
            self._relay = Relay(self._members(), failed)
            undo.pop_all()
        self.port = int(self._listening.getsockname()[1])
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="hub")
        self._turns = threading.BoundedSemaphore(ANSWERED_AT_ONCE)
        self._server = self._made()

    @property
    def enrolment_port(self) -> int:
        """The port that devices enrol at."""
        return self._door.port

    def start(self) -> None:
        """Serve."""
        self._server.start()
        self._relay.start(self._listening)
        self._door.start()

    def stop(self) -> None:
        """Take no more calls; those under way come to their end within `DRAIN_S`."""
        self._door.stop()
        self._relay.close()
        self._server.stop(DRAIN_S).wait()
        self._pool.shutdown()  # a call that nobody waits for any more is over for gRPC, and its thread may write still
        self._relay.end()

    def renew_if_newer(self) -> bool:
        """Show the certificate that is in the folder, where it is another one; whether it was. Open connections stay.

        Raises KeyRefused, StoreError for files that are not in order: the old certificate is shown on.
        """
        newest = self._folder.certificate()
        if newest == self.shown:
            return False
        self._door.context, self._relay.context, self.shown = self._context(), self._members(), newest
        return True

    def cut(self) -> int:
        """Cut the connections of devices that are let in no more; how many. Raises StoreError where that is not known."""
        return self._relay.cut(self._calls.lets_in)

    def _context(self) -> ssl.SSLContext:
        """What is shaken hands with at the enrolment port, where no certificate is asked for. Raises StoreError."""
        certificate, keys = self._folder.path / CERTIFICATE_FILE, self._folder.path / KEYS_FILE
        try:
            return serving(certificate, keys)
        except OSError as error:  # ssl.SSLError is one
            raise StoreError(
                f"{certificate} and {keys} are no certificate and its key ({error.strerror or error}); put copies back"
            ) from error

    def _members(self) -> ssl.SSLContext:
        """At the other, certificates of this clinic's authority alone. Raises KeyRefused, StoreError."""
        context = self._context()
        context.set_alpn_protocols([ALPN])
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=certificate_pem(self._folder.authority().certificate).decode())
        return context

    def _made(self) -> Any:
        server = grpc.server(self._pool, options=_OPTIONS, maximum_concurrent_rpcs=AT_ONCE)
        handlers = {name: grpc.unary_unary_rpc_method_handler(self._answering(name)) for name in METHODS}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        server.add_insecure_port(self._relay.inner)
        return server

    def _answering(self, method: str) -> Callable[[bytes, Any], bytes]:
        def answered(content: bytes, context: Any) -> bytes:
            try:
                caller = self._relay.caller(context.peer())
                if caller is None:
                    raise ProtocolRefused("a call without a certificate")
                with self._turns:
                    if not context.is_active():
                        raise Unreachable("who called went while its call waited for a turn; it asks again")
                    answer = self._calls.answer(method, caller.certificate, content, caller.address, context.add_callback)
                return encoded(answer)
            except FedmedError as error:
                word = word_of(error)
                context.set_trailing_metadata(((KEY, word),))
                context.abort(_CODES[word], str(error)[:MOST_TEXT])
                raise

        return answered


class _Desk:
    """What the enrolment port asks."""

    def __init__(self, folder: HubFolder, calls: Calls, ports: Ports, failed: Failed) -> None:
        self._folder, self._calls, self._ports, self._failed = folder, calls, ports, failed
        self._authority = folder.authority().certificate

    def greeting(self) -> Mapping[str, Any]:
        """Whose hub this is."""
        return {"authority": self._authority.hex(), "clinic": self._folder.config.clinic}

    def named(self, invitation: str) -> str:
        """As `door.Desk`."""
        return invited(self._folder.devices.roll(), invitation, int(self._folder.clock.unix())).name

    def enrolled(self, invitation: str, request: bytes, proof: bytes) -> Mapping[str, Any]:
        """As `door.Desk`."""
        read = read_request(request)
        asked = Ask(invitation, read, request, proof, self._authority, self._ports.shown)
        done = self._folder.devices.apply(asked, self._folder.sign)
        assert done is not None
        self._calls.enrolled(read.name, read.fingerprint, done.until)
        return {"certificate": done.certificate.hex(), "port": self._ports.port, "until": done.until}

    def failed(self, peer: str, error: FedmedError) -> None:
        """As `door.Desk`."""
        self._calls.refused(f"at {peer}", peer, error)

    def shook(self, peer: str, error: OSError) -> None:
        """As `door.Desk`."""
        self._failed(peer, error)
