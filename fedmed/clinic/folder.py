"""A clinic's folder: what `fedmed clinic join` makes, and what every other command of the clinic opens.

member.keys         the clinic's two secret keys, made here and never sent
member.crt          its certificate, renewed in place
transport-ca.crt    the one authority that is trusted for the connection to the center
pins.json           the members that this clinic has approved itself
clinic.yaml         the configuration; written last, so that a folder with it is a joined one
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fedmed.clinic.dialing import Line, proxy_for, shaking
from fedmed.clock import Clock
from fedmed.config.roles import CLINIC_FILE, Clinic, load_role, written
from fedmed.errors import ConfigError
from fedmed.identity.issuing import certificate_pem
from fedmed.identity.joined import JoinedFolder, put
from fedmed.identity.pins import Pins

KEYS_FILE, CERTIFICATE_FILE, AUTHORITY_FILE, PINS_FILE = "member.keys", "member.crt", "transport-ca.crt", "pins.json"
PAUSED = "paused"
"""A file of this name is the staff's word that the daemon is to rest."""


@dataclass(frozen=True)
class ClinicFolder(JoinedFolder):
    """The folder of a clinic that has joined."""

    config: Clinic
    keys_file, certificate_file, authority_file, joined_with = KEYS_FILE, CERTIFICATE_FILE, AUTHORITY_FILE, "a new file"

    def pins(self) -> Pins:
        """The members that this clinic has approved. Raises PinRefused, KeyRefused as `Pins`."""
        return Pins(self.path / PINS_FILE)

    def line(self) -> Line:
        """How to reach the center as a member. Raises ConfigError, StoreError for files that are not in order."""
        context = shaking(self.authority(), self.path / CERTIFICATE_FILE, self.path / KEYS_FILE)
        config = self.config
        return Line(config.host, config.port, context, proxy_for(config.host, config.proxy))


def open_clinic(path: Path, clock: Clock) -> ClinicFolder:
    """The folder of a joined clinic. Raises ConfigError where it is none, with every fault of its configuration."""
    if not (path / CLINIC_FILE).is_file():
        raise ConfigError(
            f"{path} is no clinic's folder: it holds no {CLINIC_FILE}; name one with --at, or make one: fedmed clinic join"
        )
    return ClinicFolder(path, clock, load_role(path / CLINIC_FILE, Clinic))


def make_clinic(path: Path, config: Clinic, authority: bytes, certificate: bytes, clock: Clock) -> ClinicFolder:
    """Write all but the keys, which are there; both certificates are DER. Raises StoreError."""
    put(path / AUTHORITY_FILE, certificate_pem(authority))
    put(path / CERTIFICATE_FILE, certificate_pem(certificate))
    put(path / CLINIC_FILE, written(config))
    return ClinicFolder(path, clock, config)
