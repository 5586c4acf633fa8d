"""Names and addresses of machines, as a configuration and a join file may name them."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated

from pydantic import AfterValidator, Field

_HOST = re.compile(r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*", re.ASCII)


def is_host(host: str) -> bool:
    """Whether this is a DNS name in lower case, or an address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return _HOST.fullmatch(host) is not None
    return "%" not in host  # an IPv6 zone means something on one machine alone


def _checked(host: str) -> str:
    if not is_host(host):
        raise ValueError(f"got {host[:64]!r}, allowed: a DNS name in lower case, or an address, without port or path")
    return host


Host = Annotated[str, AfterValidator(_checked)]
Port = Annotated[int, Field(ge=1, le=65535)]
