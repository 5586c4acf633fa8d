"""Where results may go: the one storage server that the configuration names, and how its line is secured."""

from __future__ import annotations

import math
import ssl
from dataclasses import dataclass
from pathlib import Path

from fedmed.dicom.network.tls import CIPHERS
from fedmed.errors import ConfigError
from fedmed.wire.tls import no_password

AE_TITLE_LENGTH = 16


@dataclass(frozen=True)
class Tls:
    """Files (PEM) of a line under TLS."""

    ca: Path
    """The authority that the server's certificate must come from; none of the system's is believed."""
    certificate: Path | None = None
    """Our own, where the server asks for one."""
    key: Path | None = None

    def context(self) -> ssl.SSLContext:
        """TLS 1.2 or newer after BCP 195 (PS3.15 annex B.12), the server's name checked. ConfigError for the files."""
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        made.minimum_version = ssl.TLSVersion.TLSv1_2
        made.set_ciphers(CIPHERS)
        try:
            made.load_verify_locations(self.ca)
            if self.certificate is not None:
                made.load_cert_chain(self.certificate, self.key, password=no_password)
        except OSError as error:  # ssl.SSLError is one
            raise ConfigError(
                f"{self.ca} is no certificate (PEM) of an authority, or {self.certificate} and {self.key} are no certificate"
                f" and its key ({error.strerror or error})"
            ) from error
        return made


@dataclass(frozen=True)
class Destination:
    """A storage server (PACS); ConfigError, with every fault, for what cannot be one."""

    host: str
    port: int
    ae_title: str
    """Called AE title: how the server is named there."""
    calling: str = "FEDMED"
    """Our own AE title; many servers store for known ones only."""
    connect_s: float = 10.0
    """For the TCP connection, and again for the association to be accepted."""
    answer_s: float = 60.0
    """For the server to answer each object: it writes it to its disk first."""
    tls: Tls | None = None

    def __post_init__(self) -> None:
        """Every fault at once."""
        faults = []
        if not self.host or not self.host.isprintable() or " " in self.host:
            faults.append(f"the host is {self.host!r}; a name or an address belongs there")
        if not 0 < self.port < 65536:
            faults.append(f"the port is {self.port}; 1 to 65535 (104 and 11112 are usual) are allowed")
        for name, title in (("called", self.ae_title), ("calling", self.calling)):
            if not is_ae_title(title):
                faults.append(
                    f"the {name} AE title is {title!r}; 1 to {AE_TITLE_LENGTH} characters of ASCII without backslash,"
                    " not all blank, are one (PS3.5 section 6.2)"
                )
        for name, seconds in (("connect_s", self.connect_s), ("answer_s", self.answer_s)):
            if not math.isfinite(seconds) or not 0 < seconds <= 3600:
                faults.append(f"{name} is {seconds}; more than 0 and at most 3600 seconds are allowed")
        if faults:
            raise ConfigError(f"This destination cannot be used: {'; '.join(faults)}.")

    def __str__(self) -> str:
        return f"{self.ae_title} at {self.host}:{self.port}"


def is_ae_title(text: str) -> bool:
    """VR AE (PS3.5 section 6.2)."""
    if not text.strip(" ") or len(text) > AE_TITLE_LENGTH:
        return False
    return text.isascii() and text.isprintable() and "\\" not in text
