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
from fedmed.errors import ConfigError, ProtocolRefused, StoreError
from fedmed.identity import files
from fedmed.identity.authority import PublicMember, read_certificate
from fedmed.identity.issuing import MAX_BYTES, certificate_pem, der_of_pem, public_of
from fedmed.identity.member import MemberKeys
from fedmed.identity.pins import Pins

KEYS_FILE, CERTIFICATE_FILE, AUTHORITY_FILE, PINS_FILE = "member.keys", "member.crt", "transport-ca.crt", "pins.json"


@dataclass(frozen=True)
class ClinicFolder:
    """The folder of a clinic that has joined."""

    path: Path
    config: Clinic
    clock: Clock

    def keys(self) -> MemberKeys:
        """The clinic's own keys. Raises KeyRefused as `MemberKeys.load`."""
        return MemberKeys.load(self.path / KEYS_FILE)

    def certificate(self) -> bytes:
        """The newest certificate, DER. Raises StoreError where there is none to read."""
        return _der(self.path / CERTIFICATE_FILE)

    def authority(self) -> bytes:
        """The authority's certificate, DER. Raises StoreError where there is none to read."""
        return _der(self.path / AUTHORITY_FILE)

    def member(self, at_unix: float | None = None) -> PublicMember:
        """What the certificate says, read as at `at_unix`, now when absent. Raises ProtocolRefused where it is not valid."""
        at = self.clock.unix() if at_unix is None else at_unix
        return read_certificate(self.certificate(), public_of(self.authority()), at)

    def pins(self) -> Pins:
        """The members that this clinic has approved. Raises PinRefused, KeyRefused as `Pins`."""
        return Pins(self.path / PINS_FILE)

    def line(self) -> Line:
        """How to reach the center as a member. Raises ConfigError, StoreError for files that are not in order."""
        context = shaking(self.authority(), self.path / CERTIFICATE_FILE, self.path / KEYS_FILE)
        config = self.config
        return Line(config.host, config.port, context, proxy_for(config.host, config.proxy))

    def keep(self, certificate: bytes) -> None:
        """Put a newer certificate in place of the old one, on the disk before this returns. Raises StoreError."""
        _write(self.path / CERTIFICATE_FILE, certificate_pem(certificate))


def open_clinic(path: Path, clock: Clock) -> ClinicFolder:
    """The folder of a joined clinic. Raises ConfigError where it is none, with every fault of its configuration."""
    if not (path / CLINIC_FILE).is_file():
        raise ConfigError(
            f"{path} is no clinic's folder: it holds no {CLINIC_FILE}; name one with --at, or make one: fedmed clinic join"
        )
    return ClinicFolder(path, load_role(path / CLINIC_FILE, Clinic), clock)


def make_clinic(path: Path, config: Clinic, authority: bytes, certificate: bytes, clock: Clock) -> ClinicFolder:
    """Write all but the keys, which are there; both certificates are DER. Raises StoreError."""
    _write(path / AUTHORITY_FILE, certificate_pem(authority))
    _write(path / CERTIFICATE_FILE, certificate_pem(certificate))
    _write(path / CLINIC_FILE, written(config))
    return ClinicFolder(path, config, clock)


def _der(path: Path) -> bytes:
    try:
        return der_of_pem(files.read(path, 2 * MAX_BYTES, files.OTHERS_CHANGE))
    except (OSError, ProtocolRefused) as error:
        raise StoreError(f"{path} holds no certificate ({error}); put a copy back, or join anew with a new file") from error


def _write(path: Path, content: bytes) -> None:
    try:
        files.replace(path, content)
    except OSError as error:
        raise StoreError(f"{path} cannot be written ({error.strerror}); make room, then try again") from error
