"""gRPC as a device dials with it: TLS 1.3 and nothing older.

gRPC offers TLS 1.2 as well, and its Python API has no minimum version (grpc/grpc#37305). So TLS 1.2 is left with one suite,
for certificates of RSA keys, and every certificate of the hub and its devices has a key of P-384: no handshake of TLS 1.2
can find a suite, while TLS 1.3 has suites of its own. gRPC reads the setting once, before it is first imported; hence every
module of the hub takes `grpc` from here. The hub itself shakes no hands by gRPC (`hub.relaying`, ADR 0048).
"""

from __future__ import annotations

import os

SUITES, WITHOUT_ANY = "GRPC_SSL_CIPHER_SUITES", "ECDHE-RSA-AES128-GCM-SHA256"
os.environ[SUITES] = WITHOUT_ANY
os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # it writes of every scan of a port to standard error

import grpc as grpc  # noqa: E402
