"""What servers of ours shake hands with; each role adds whom its port lets in."""

from __future__ import annotations

import ssl
from os import PathLike


def serving(
    chain_pem: str | PathLike[str], key_pem: str | PathLike[str], oldest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
) -> ssl.SSLContext:
    """The server's certificate, then those above it, and its key. Nothing is resumed: who comes again is looked at again.

    Raises OSError (ssl.SSLError is one) for files that are not there, do not go together, or ask for a password.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = oldest
    made.num_tickets = 0
    made.load_cert_chain(chain_pem, key_pem, password=no_password)
    return made


def no_password() -> str:
    """A service asks nobody for a password."""
    return ""
