"""Probes of the way to the other end: names looked up, a connection made, through a proxy by CONNECT where there is one."""

from __future__ import annotations

import base64
import socket
from collections.abc import Callable
from dataclasses import dataclass

from fedmed.operation.doctor.peer import Proxy, Settings

CONNECT_S = 5.0
MOST_HEAD = 16 * 2**10
IP_MTU, IPV6_MTU = 14, 24
"""Socket options of Linux (linux/in.h, linux/in6.h) that Python has no names for."""


@dataclass(frozen=True)
class Lookup:
    """What the resolver said."""

    name: str
    addresses: tuple[str, ...]
    fault: str = ""
    is_proxy: bool = False


@dataclass(frozen=True)
class Dialled:
    """How a connection went: `kind` is connected, refused, silent, unreachable, or for a proxy denied, password, odd."""

    kind: str
    where: str
    said: str = ""
    seconds: float = 0.0
    is_proxy: bool = False
    """Whether it was to go through a proxy."""


class NotConnected(Exception):
    """No connection to the other end; holds the `Dialled` that says why."""

    def __init__(self, dialled: Dialled) -> None:
        super().__init__(dialled.said)
        self.dialled = dialled


def look_up(settings: Settings) -> Lookup:
    """The name that this machine itself has to know: the proxy's where there is one."""
    proxy = settings.proxy
    name, port = (proxy.host, proxy.port) if proxy else (settings.host, settings.port)
    try:
        found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        return Lookup(name, (), getattr(error, "strerror", None) or str(error), proxy is not None)
    return Lookup(name, tuple(dict.fromkeys(str(each[4][0]) for each in found)), is_proxy=proxy is not None)


def dial(settings: Settings, now: Callable[[], float], timeout_s: float = CONNECT_S) -> tuple[socket.socket, Dialled]:
    """A connection to the other end's port, nothing said on it yet. Raises NotConnected."""
    proxy, began = settings.proxy, now()
    host, port = (proxy.host, proxy.port) if proxy else (settings.host, settings.port)
    where = f"{'proxy ' if proxy else ''}{host}:{port}"
    try:
        made = socket.create_connection((host, port), timeout_s)
    except OSError as error:
        raise NotConnected(Dialled(_kind(error), where, error.strerror or str(error), is_proxy=proxy is not None)) from error
    if proxy is None:
        return made, Dialled("connected", where, seconds=now() - began)
    try:
        kind, said = _tunnel(made, proxy, f"[{settings.host}]" if ":" in settings.host else settings.host, settings.port)
    except OSError as error:
        kind, said = _kind(error), f"no answer to CONNECT ({error.strerror or error})"
    if kind != "connected":
        made.close()
        raise NotConnected(Dialled(kind, where, said, is_proxy=True))
    return made, Dialled("connected", f"{settings.host}:{settings.port} through {where}", said, now() - began)


def _kind(error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "refused"
    return "silent" if isinstance(error, TimeoutError) else "unreachable"


def _tunnel(made: socket.socket, proxy: Proxy, host: str, port: int) -> tuple[str, str]:
    """CONNECT (RFC 9110, 9.3.6): how it ended, and the proxy's own words. Raises OSError."""
    head = f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n"
    if proxy.user is not None:
        secret = base64.b64encode(f"{proxy.user}:{proxy.password}".encode()).decode()
        head += f"Proxy-Authorization: Basic {secret}\r\n"
    made.sendall(f"{head}\r\n".encode())
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):  # octet by octet: what follows is no longer the proxy's
        octet = made.recv(1)
        if not octet or len(answer) > MOST_HEAD:
            return "odd", f"{len(answer)} bytes that are no answer to CONNECT"
        answer += octet
    line = answer.split(b"\r\n", 1)[0][:200].decode("latin-1")
    parts = line.split(" ", 2)
    if not line.startswith("HTTP/1.") or len(parts) < 2 or not parts[1].isdigit():
        return "odd", line
    status = int(parts[1])
    if 200 <= status < 300:
        return "connected", line
    return ("password" if status == 407 else "unreachable" if status in (502, 503, 504) else "denied"), line


def path_mtu(connection: socket.socket) -> int | None:
    """Octets of the largest packet that the system believes to pass to the other end; None where it does not say."""
    over_6 = connection.family == socket.AF_INET6
    try:
        if over_6:
            return connection.getsockopt(socket.IPPROTO_IPV6, IPV6_MTU)
        return connection.getsockopt(socket.IPPROTO_IP, IP_MTU)
    except OSError:
        return None
