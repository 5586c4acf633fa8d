"""The hub's ports: one for enrolled devices, over gRPC with certificates on both sides, and one to enrol at.

Every call is one message and one answer, at most a megabyte: gRPC has read a request whole before a thread takes it, so a
device that sends slowly, or not at all, holds nobody's place. What a call means is in `hub.calls`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fedmed.errors import ConfigError, FedmedError, ProtocolRefused
from fedmed.hub.calls import METHODS, Calls
from fedmed.hub.door import Door
from fedmed.hub.folder import CERTIFICATE_FILE, KEYS_FILE, HubFolder
from fedmed.hub.greeting import listening
from fedmed.hub.messages import MOST_MESSAGE, Message, encoded
from fedmed.hub.refusals import KEY, MOST_TEXT, word_of
from fedmed.hub.tls import check_no_older, grpc
from fedmed.identity.devices import Ask, invited
from fedmed.identity.issuing import certificate_pem, der_of_pem
from fedmed.identity.requests import read_request
from fedmed.wire import ports

SERVICE = "fedmed.hub.v1"
THREADS, AT_ONCE = 16, 128
"""Threads that answer, and calls that are taken at once, of all devices together."""
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

    def __init__(self, folder: HubFolder, calls: Calls) -> None:
        """Raises ConfigError where a port is not to be had, KeyRefused, StoreError."""
        self._folder, self._calls = folder, calls
        self.shown = folder.certificate()
        """The certificate (DER) that the enrolment port shows."""
        config = folder.config
        desk, now = _Desk(folder, calls, self), folder.clock.now
        self._context = listening(*self._files())
        self._door = Door(config.listen, config.enrolment_port, self._context, desk, now)
        self._server, self.port = self._bound(config.listen, config.port)

    @property
    def enrolment_port(self) -> int:
        """The port that devices enrol at."""
        return self._door.port

    def start(self) -> None:
        """Serve. Raises ConfigError where the port would shake hands over TLS 1.2."""
        self._server.start()
        try:
            check_no_older(_own(self._folder.config.listen), self.port)
        except ConfigError:
            self._server.stop(0).wait()
            self._door.server_close()
            raise
        self._door.start()

    def stop(self) -> None:
        """Take no more calls; those under way come to their end within `DRAIN_S`."""
        self._door.stop()
        self._server.stop(DRAIN_S).wait()

    def renew(self) -> None:
        """Show the newer certificate from now on; open connections keep the old one."""
        self._context.load_cert_chain(*self._files())
        self.shown = self._folder.certificate()

    def _files(self) -> tuple[str, str]:
        return str(self._folder.path / CERTIFICATE_FILE), str(self._folder.path / KEYS_FILE)

    def _bound(self, host: str, port: int) -> tuple[Any, int]:
        server = grpc.server(
            ThreadPoolExecutor(THREADS, thread_name_prefix="hub"), options=_OPTIONS, maximum_concurrent_rpcs=AT_ONCE
        )
        handlers = {name: grpc.unary_unary_rpc_method_handler(self._answering(name)) for name in METHODS}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            return server, server.add_secure_port(address, self._credentials())
        except RuntimeError as error:
            self._door.server_close()
            raise ports.refused(host, port) from error

    def _credentials(self) -> Any:
        """Certificates of this clinic's authority alone; the hub's own is looked up at each handshake."""
        known = [self.shown]

        def newer() -> Any:
            found = self._folder.certificate()
            if found == known[0]:
                return None
            known[0] = found
            return self._configuration(found)

        return grpc.dynamic_ssl_server_credentials(self._configuration(known[0]), newer, True)

    def _configuration(self, certificate: bytes) -> Any:
        authority = certificate_pem(self._folder.authority().certificate)
        pair = (self._folder.keys().transport_pem(), certificate_pem(certificate))
        return grpc.ssl_server_certificate_configuration([pair], authority)

    def _answering(self, method: str) -> Callable[[bytes, Any], bytes]:
        def answer(content: bytes, context: Any) -> bytes:
            try:
                shown = context.auth_context().get("x509_pem_cert", [])
                if len(shown) != 1:
                    raise ProtocolRefused("a call without a certificate")
                return encoded(self._answered(method, der_of_pem(shown[0]), content, context))
            except FedmedError as error:
                word = word_of(error)
                context.set_trailing_metadata(((KEY, word),))
                context.abort(_CODES[word], str(error)[:MOST_TEXT])
                raise

        return answer

    def _answered(self, method: str, certificate: bytes, content: bytes, context: Any) -> Message:
        return self._calls.answer(method, certificate, content, context.peer(), context.add_callback)


class _Desk:
    """What the enrolment port asks."""

    def __init__(self, folder: HubFolder, calls: Calls, ports: Ports) -> None:
        self._folder, self._calls, self._ports = folder, calls, ports
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


def _own(listen: str) -> str:
    """An address of this machine that reaches what listens at `listen`."""
    try:
        address = ipaddress.ip_address(listen)
    except ValueError:
        return listen
    return ("::1" if address.version == 6 else "127.0.0.1") if address.is_unspecified else listen
