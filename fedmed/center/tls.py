"""What the center's port shakes hands with; apart from the listener, so that a command which only looks loads no server."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from fedmed.errors import ConfigError


@dataclass(frozen=True)
class Tls:
    """Files of a server's side, all PEM."""

    chain_pem: Path
    """The server's certificate, then those between it and the authority."""
    key_pem: Path
    authorities_pem: Path
    """Who may have signed a client's certificate."""

    def context(self) -> ssl.SSLContext:
        """What a listener shakes hands with. Raises ConfigError for files that are not there or do not go together."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.verify_mode = ssl.CERT_REQUIRED
        context.num_tickets = 0  # a resumed session would let in a certificate that is not looked at again
        try:
            context.load_verify_locations(self.authorities_pem)
            context.load_cert_chain(self.chain_pem, self.key_pem)
        except OSError as error:  # ssl.SSLError is one
            raise ConfigError(
                f"{self.chain_pem}, {self.key_pem} and {self.authorities_pem} are no certificate, its key and an authority "
                f"({error.strerror or error}); make the server's certificate anew"
            ) from error
        return context
