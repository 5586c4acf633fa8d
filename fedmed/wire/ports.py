"""A port of this machine to listen on, and one way to say that it is not to be had."""

from __future__ import annotations

import os
import socket

from fedmed.errors import ConfigError


def listening(host: str, port: int, backlog: int) -> socket.socket:
    """A socket that listens on an address of this machine; port 0 takes a free one. Raises ConfigError as `refused`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=backlog)
    except OSError as error:
        raise refused(host, port, os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror) from error


def refused(host: str, port: int, why: str | None = None) -> ConfigError:
    """What is raised where nothing can listen on an address."""
    reason = f" ({why})" if why else ""
    return ConfigError(f"nothing can listen on {host} port {port}{reason}; name one of this machine and a free port")
