"""gRPC, with TLS 1.3 and nothing older.

gRPC offers TLS 1.2 as well, and its Python API has no minimum version (grpc/grpc#37305). So TLS 1.2 is left with one suite,
for certificates of RSA keys, and every certificate of the hub and its devices has a key of P-384: no handshake of TLS 1.2
can find a suite, while TLS 1.3 has suites of its own. gRPC reads the setting once, before it is first imported; hence every
module of the hub takes `grpc` from here, and a hub tries a handshake of TLS 1.2 with itself before it lets anybody in (ADR
0048).
"""

from __future__ import annotations

import os
import socket
import ssl
from contextlib import suppress

SUITES, WITHOUT_ANY = "GRPC_SSL_CIPHER_SUITES", "ECDHE-RSA-AES128-GCM-SHA256"
os.environ[SUITES] = WITHOUT_ANY
os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # it writes of every scan of a port to standard error

import grpc as grpc  # noqa: E402

from fedmed.errors import ConfigError  # noqa: E402

_TIMEOUT_S = 5.0
_HANDSHAKE = b"\x16"
"""A record's type (RFC 5246, section 6.2.1)."""


def check_no_older(host: str, port: int) -> None:
    """Raises ConfigError where the port answers TLS 1.2, as where gRPC was imported before this module."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2"])
    said = ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), said).do_handshake()
    with socket.create_connection((host, port), _TIMEOUT_S) as line:
        line.sendall(said.read())
        try:
            answer = line.recv(1)
        except OSError:
            answer = b""
    if answer != _HANDSHAKE:  # an alert, or nothing: refused, as it should be, before any certificate is asked for
        return
    raise ConfigError(
        f"{host} port {port} answers TLS 1.2, and only TLS 1.3 is allowed: {SUITES} was set too late, after another part of "
        "this process had imported gRPC; serve the hub in a process of its own: fedmed clinic hub up"
    )
