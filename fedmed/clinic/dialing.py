"""One request to the center: TLS 1.3 and the federation's own authority alone, through an HTTP proxy where there is one."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import ssl
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from fedmed.errors import ConfigError, JoinRefused, Unreachable
from fedmed.wire.visible import visible

TIMEOUT_S = 30.0
NO_PROXY = "none"
MOST_ANSWER = 4 << 20
_MOST_REASON = 600
_CLOCK = {9, 10}  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED
_NAME = {62, 64}  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH


def shaking(authority: bytes, chain_pem: Path, key_pem: Path) -> ssl.SSLContext:
    """What the clinic shakes hands with: one authority (DER) is trusted, and none of the machine's own.

    Raises ConfigError for files that are not there or do not go together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # A member may be called like the center's host, and the same authority signs for both: only the names of a server count.
    context.hostname_checks_common_name = False
    try:
        context.load_verify_locations(cadata=authority)
        context.load_cert_chain(chain_pem, key_pem)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(
            f"{chain_pem} and {key_pem} are no certificate and its key ({error.strerror or error}); put copies of them back"
        ) from error
    return context


def proxy_for(host: str, given: str | None) -> str | None:
    """The proxy to dial `host` through: the one given (or "none"), or the environment's (https_proxy, no_proxy)."""
    if given is not None:
        return None if given == NO_PROXY else given
    found = urllib.request.getproxies_environment()
    return None if urllib.request.proxy_bypass(host) else found.get("https")


@dataclass(frozen=True)
class Line:
    """How to reach the center."""

    host: str
    port: int
    context: ssl.SSLContext
    proxy: str | None = None
    """http://[USER:PASSWORD@]HOST:PORT"""

    def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, dict[str, Any]]:
        """Status and content (JSON) of an answer that is no refusal.

        Raises Unreachable where none came, JoinRefused where the center refused, or is not the one that was meant.
        """
        try:
            connection = self._connection()
            try:
                connection.request(method, path, body or None)
                answer = connection.getresponse()
                return _content(answer.status, answer.read(MOST_ANSWER + 1), self._where)
            finally:
                connection.close()
        except ssl.SSLCertVerificationError as error:
            raise JoinRefused(self._stranger(error)) from error
        except ConnectionRefusedError as error:
            raise Unreachable(f"nobody listens at {self._where}; it is not up, or its port is another one") from error
        except (ssl.SSLEOFError, ConnectionError, http.client.RemoteDisconnected) as error:
            raise Unreachable(
                f"{self._where} ended the connection ({type(error).__name__}): it is not up, or something between cuts TLS, "
                "or this clinic's certificate is expired or of another federation; see its dates and the clock here"
            ) from error
        except ssl.SSLError as error:
            if "ALERT" in (error.reason or ""):
                raise JoinRefused(
                    f"{self._where} does not take this clinic's certificate ({error.reason}): it is expired, of another "
                    "federation, or one of the two clocks is wrong. Where the clocks are right, ask for a new join file"
                ) from error
            raise Unreachable(f"{self._where}: no TLS 1.3 there ({error.reason}); is this the center's port?") from error
        except socket.gaierror as error:
            raise Unreachable(f"{self._where}: this name is not known here ({error.strerror}); mend DNS") from error
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(
                f"{self._where} does not answer ({error or type(error).__name__}); look at firewall and proxy, and whether "
                "the center is up"
            ) from error

    @property
    def _where(self) -> str:
        return f"the center at {self.host}:{self.port}" + (f" through {_without_password(self.proxy)}" if self.proxy else "")

    def _connection(self) -> http.client.HTTPSConnection:
        if self.proxy is None:
            return http.client.HTTPSConnection(self.host, self.port, timeout=TIMEOUT_S, context=self.context)
        try:
            parts = urlsplit(self.proxy)
            host, port = parts.hostname, parts.port or 80
        except ValueError as error:
            raise ConfigError(f"the proxy {_without_password(self.proxy)!r} has no port that is a number") from error
        if parts.scheme != "http" or not host:
            raise ConfigError(
                f"the proxy {_without_password(self.proxy)!r} cannot be dialled; write http://[USER:PASSWORD@]HOST:PORT"
            )
        headers = {}
        if parts.username is not None:
            secret = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
            headers["Proxy-Authorization"] = f"Basic {base64.b64encode(secret).decode()}"
        connection = http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=self.context)
        connection.set_tunnel(self.host, self.port, headers)
        return connection

    def _stranger(self, error: ssl.SSLCertVerificationError) -> str:
        said = f"{self._where} shows a certificate that cannot be trusted ({error.verify_message}); "
        if error.verify_code in _CLOCK:
            return said + "set this machine's clock right, and where it is right tell the center to renew its certificate"
        if error.verify_code in _NAME:
            return said + "the center's certificate does not name this host: dial it by a name given at its `center init`"
        return said + (
            "it is not of the authority in the join file: another machine answers there, or a firewall opens TLS. Have the "
            "firewall leave this connection alone"
        )


def _without_password(proxy: str | None) -> str:
    return (proxy or "").rpartition("@")[2].removeprefix("http://")


def _content(status: int, content: bytes, where: str) -> tuple[int, dict[str, Any]]:
    try:
        read = json.loads(content) if len(content) <= MOST_ANSWER else None
    except (ValueError, RecursionError):
        read = None
    if not isinstance(read, dict):
        raise Unreachable(f"{where} answered with status {status} and nothing that fedmed can read; is it a center?")
    if status >= 500:
        raise Unreachable(f"{where} cannot answer now: {visible(str(read.get('refused')))[:_MOST_REASON]}")
    if status >= 400:
        raise JoinRefused(f"the center refused: {visible(str(read.get('refused')))[:_MOST_REASON]}")
    return status, read
