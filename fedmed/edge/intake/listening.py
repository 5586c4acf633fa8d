"""The HTTP port that STOW-RS comes in by: loopback alone, or with a token, in a thread of its own."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from fedmed.dicom.arrivals import Door
from fedmed.edge.intake.stow import Limits, Stow, Told
from fedmed.errors import ConfigError
from fedmed.wire import ports

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application

HEAD_S = 15.0
"""For the head of a request, from the connection on."""
MOST_HEAD = 32 * 2**10
MOST_CONNECTIONS = 64
SHORTEST_TOKEN = 16
STARTING_S = 10.0
BACKLOG = 128


@dataclass(frozen=True)
class WebConfig:
    """Where STOW-RS listens; by default this machine alone can reach it."""

    host: str = "127.0.0.1"
    port: int = 8042
    """0 takes a free one."""
    token: str = ""
    """What a sender must show; needed wherever others can reach the port."""
    chain_pem: Path | None = None
    """Certificate and those above it; with `key_pem`, TLS is spoken. Without, a token can be read on its way."""
    key_pem: Path | None = None
    limits: Limits = field(default_factory=Limits)

    def faults(self) -> list[str]:
        """What is wrong with it, all at once."""
        found = []
        if not 0 <= self.port < 2**16:
            found.append(f"port {self.port}: 0 to 65535")
        if self.token and (len(self.token) < SHORTEST_TOKEN or not self.token.isascii() or not self.token.isprintable()):
            found.append(f"token: {SHORTEST_TOKEN} or more printable ASCII characters")
        if not self.token and not _is_loopback(self.host):
            found.append(f"host {self.host} is open to the network; give a token")
        if (self.chain_pem is None) != (self.key_pem is None):
            found.append("chain_pem and key_pem: both or none")
        return found


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class WebIntake:
    """Serves STOW-RS from `start` to `stop`."""

    def __init__(self, config: WebConfig, door: Door, told: Told = lambda address, title, why: None) -> None:
        """Raises ConfigError, naming all that is wrong with `config`."""
        if faults := config.faults():
            raise ConfigError("STOW-RS: " + "; ".join(faults))
        self._config, self._port = config, config.port
        self._thread: threading.Thread | None = None
        settings = uvicorn.Config(
            cast("ASGI3Application", Stow(door, config.token, config.limits, told)),
            http=_Protocol,
            ws="none",
            lifespan="off",
            loop="asyncio",
            log_config=None,
            log_level="critical",
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            limit_concurrency=MOST_CONNECTIONS,
            timeout_graceful_shutdown=10,
            h11_max_incomplete_event_size=MOST_HEAD,
            ssl_certfile=config.chain_pem,
            ssl_keyfile=config.key_pem,
        )
        try:
            settings.load()
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(
                f"{config.chain_pem} and {config.key_pem} are no certificate and its key ({error.strerror or error})"
            ) from error
        self._server = uvicorn.Server(settings)

    @property
    def port(self) -> int:
        """The port that is listened on; the wanted one before `start`."""
        return self._port

    def start(self) -> None:
        """Listen, and return once requests are taken. Raises ConfigError where the address is not to be had."""
        listening = ports.listening(self._config.host, self._config.port, BACKLOG)
        self._port = listening.getsockname()[1]
        ready = threading.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(listening, ready)), name="stow-intake", daemon=True
        )
        self._thread.start()
        ready.wait(STARTING_S)

    async def _serve(self, listening: socket.socket, ready: threading.Event) -> None:
        serving = asyncio.ensure_future(self._server.serve([listening]))
        while not (self._server.started or serving.done()):
            await asyncio.sleep(0.01)
        ready.set()
        await serving

    def stop(self) -> None:
        """Take no more requests, let those that run come to their end, then close."""
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def __enter__(self) -> WebIntake:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class _Protocol(H11Protocol):
    """One connection; uvicorn waits without end for the head of a request, and takes connections without number."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > 2 * MOST_CONNECTIONS:
            transport.close()
            return
        self.loop.call_later(HEAD_S, self._close_without_head)

    def _close_without_head(self) -> None:
        if self.cycle is None and not self.transport.is_closing():
            self.transport.close()
