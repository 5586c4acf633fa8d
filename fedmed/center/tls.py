"""What the center's port shakes hands with; apart from the listener, so that a command which only looks loads no server."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from fedmed.errors import ConfigError
from fedmed.wire.tls import serving


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
        try:
            context = serving(self.chain_pem, self.key_pem)
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.authorities_pem)
        except OSError as error:  # ssl.SSLError is one
            raise ConfigError(
                f"{self.chain_pem}, {self.key_pem} and {self.authorities_pem} are no certificate, its key and an authority "
                f"({error.strerror or error}); make the server's certificate anew"
            ) from error
        return context
