"""`/healthz`, `/readyz` and `/metrics` over plain HTTP, for this machine alone: a port of the loopback, or a Unix socket.

`/healthz` tells that the main loop turns, `/readyz` that the service does its work, with one line for each reason why not.
"""

from __future__ import annotations

import socket
import socketserver
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from fedmed.clock import Clock
from fedmed.config.health import parsed
from fedmed.errors import ConfigError, FedmedError
from fedmed.wire.visible import visible

TEXT, EXPOSITION = "text/plain; charset=utf-8", "text/plain; version=0.0.4; charset=utf-8"
STALLED_S = 60.0
"""A main loop that has not turned for so long is not healthy."""
AT_ONCE, TIMEOUT_S = 8, 5.0
_LOCAL = ("localhost", "127.0.0.1", "[::1]")


class Pulse:
    """When the main loop turned last."""

    def __init__(self, clock: Clock, stalled_s: float = STALLED_S) -> None:
        self._clock, self._stalled_s, self._at = clock, stalled_s, clock.now()

    def turned(self) -> None:
        """The main loop went round; call it there and nowhere else."""
        self._at = self._clock.now()

    def fault(self) -> str:
        """Why the service is not healthy; empty where it is."""
        ago = self._clock.now() - self._at
        return f"the main loop has not turned for {ago:.0f} s" if ago > self._stalled_s else ""


@dataclass(frozen=True)
class Probes:
    """What is asked; each is called in a thread of the server's."""

    fault: Callable[[], str]
    """Why the service is not healthy; empty where it is."""
    unready: Callable[[], list[str]]
    """Each reason why it does not do its work, in words without names of patients or files."""
    metrics: Callable[[], bytes]
    """The exposition."""


@dataclass(frozen=True)
class Answer:
    """One answer."""

    status: int
    body: bytes
    kind: str = TEXT


def answered(method: str, path: str, host: str | None, probes: Probes) -> Answer:
    """The answer to a request; `host` is its Host header, None on a Unix socket."""
    if host is not None and host.rsplit(":", 1)[0] not in _LOCAL and host not in _LOCAL:
        # A page in a browser on this machine may have been told that its own name is 127.0.0.1 (DNS rebinding).
        return Answer(403, b"asked under another name than localhost\n")
    if method != "GET":
        return Answer(405, b"GET is allowed here\n")
    try:
        return _found(path, probes)
    except (FedmedError, OSError) as error:
        return Answer(503, f"it cannot be known ({type(error).__name__})\n".encode())


def _found(path: str, probes: Probes) -> Answer:
    if path == "/healthz":
        fault = probes.fault()
        return Answer(503 if fault else 200, f"{fault or 'ok'}\n".encode())
    if path == "/readyz":
        reasons = [fault] if (fault := probes.fault()) else probes.unready()
        return Answer(503 if reasons else 200, "".join(f"{visible(line)}\n" for line in reasons or ["ready"]).encode())
    if path == "/metrics":
        return Answer(200, probes.metrics(), EXPOSITION)
    return Answer(404, b"/healthz, /readyz and /metrics are here\n")


class HealthServer:
    """Serves from `with` to its end, at an address as `config.health` describes."""

    def __init__(self, address: str, probes: Probes) -> None:
        self._address, self._probes = parsed(address), probes
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port, where it is one; that of the system's choice for port 0."""
        assert self._server is not None
        return int(self._server.server_address[1])

    def __enter__(self) -> HealthServer:
        """Raises ConfigError where the address cannot be had."""
        try:
            self._server = _Server(self._address, self._probes)
        except OSError as error:
            where = self._address if isinstance(self._address, Path) else "{}:{}".format(*self._address)
            raise ConfigError(
                f"health: {where} cannot be listened at ({error.strerror}); name another address, or null for none"
            ) from error
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.2,), name="health", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
            if isinstance(self._address, Path):
                self._address.unlink(missing_ok=True)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 16

    def __init__(self, address: Path | tuple[str, int], probes: Probes) -> None:
        self.probes, self.is_unix = probes, isinstance(address, Path)
        self._room = threading.BoundedSemaphore(AT_ONCE)
        if isinstance(address, Path):
            self.address_family = socket.AF_UNIX
            _free(address)
            super().__init__(str(address), _Handler)  # type: ignore[arg-type]
            address.chmod(0o660)
        else:
            self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
            super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._room.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)  # one more thread could be one too many; who asks comes again

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever asked has gone: that is no news, anything else is."""
        if not isinstance(sys.exc_info()[1], (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = TIMEOUT_S
    server_version, sys_version = "fedmed", ""
    protocol_version = "HTTP/1.0"

    def _answer(self) -> None:
        host = None if self.server.is_unix else self.headers.get("Host", "")
        found = answered(self.command, self.path, host, self.server.probes)
        self.send_response(found.status)
        self.send_header("Content-Type", found.kind)
        self.send_header("Content-Length", str(len(found.body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(found.body)

    do_GET = do_POST = do_PUT = do_DELETE = do_OPTIONS = do_PATCH = _answer

    def do_HEAD(self) -> None:
        self.send_error(405)

    def address_string(self) -> str:
        return "local"

    def log_message(self, *_: object) -> None:
        """Scrapes every fifteen seconds are no news."""


def _free(path: Path) -> None:
    """Remove a socket that a killed process left; one that answers stays, and is refused."""
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asked:
        try:
            asked.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
