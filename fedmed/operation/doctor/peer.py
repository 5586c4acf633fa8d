"""The other end of a line: who it is, where it is, and what it is known by."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Other:
    """How people call the other end, and who looks after it."""

    name: str
    """center or hub."""
    owner: str
    """Who looks after it."""
    authority: str
    """Whose authority its certificate is of."""


CENTER = Other("center", "the center's operator", "the federation's own authority")
HUB = Other("hub", "the clinic's staff", "the clinic's own authority for devices")


@dataclass(frozen=True)
class Proxy:
    """An HTTP proxy that knows CONNECT."""

    host: str
    port: int
    user: str | None = None
    password: str = ""


@dataclass(frozen=True)
class Settings:
    """What the checks need to know. A certificate has its key; both are None before this machine has joined."""

    host: str
    port: int
    proxy: Proxy | None
    ca: Path
    certificate: Path | None
    key: Path | None
    proxy_from: str = ""
    """Who named the proxy."""
    other: Other = CENTER
    named: str = ""
    """What its certificate names where that is not the host."""
    protocols: tuple[str, ...] = ()
    """Of ALPN (RFC 7301), where it wants to hear any."""
