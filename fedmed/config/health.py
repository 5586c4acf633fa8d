"""Where a service answers `/healthz`, `/readyz` and `/metrics`: never anywhere but on this machine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

_LOOPBACK = re.compile(r"(127\.0\.0\.1|\[::1\]):([0-9]{1,5})")
_MOST_PATH = 107
"""Of a Unix socket's address (sockaddr_un)."""


def parsed(address: str) -> Path | tuple[str, int]:
    """A socket's path, or host and port. Raises ValueError."""
    found = _LOOPBACK.fullmatch(address)
    if found is not None and int(found[2]) <= 65535:
        return found[1].strip("[]"), int(found[2])
    if address.startswith("/") and len(address.encode()) <= _MOST_PATH:
        return Path(address)
    raise ValueError(f"got {address[:120]!r}, allowed: 127.0.0.1:PORT, [::1]:PORT, or the path of a Unix socket")


def _checked(address: str) -> str:
    parsed(address)
    return address


HealthAddress = Annotated[str, AfterValidator(_checked)]
