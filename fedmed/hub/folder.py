"""The folder of a clinic's hub, below the clinic's own: `devices`. The first invitation makes it.

devices-ca.key    the secret key of the authority for devices, and .crt its certificate: a root of its own
hub.keys          the hub's own keys, and hub.crt its certificate, renewed in place
hub.yaml          the configuration
devices.json      who was invited, enrolled, was revoked
down              what devices are to have (`hub.desk`)
arriving, held.sqlite    what they send (`hub.landing`)
looks.sqlite      which look was given to whom (`hub.looklog`)
own               the release that this machine has open, where it looks at devices' images (`edge.atclinic`)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fedmed.clock import Clock
from fedmed.config.roles import HUB_FILE, Hub, load_role, written
from fedmed.errors import ConfigError, StoreError
from fedmed.hub.roll import Devices
from fedmed.identity import files
from fedmed.identity.authority import read_certificate
from fedmed.identity.deviceca import DeviceAuthority, check_device_name
from fedmed.identity.devicecode import Code, kept, new_code
from fedmed.identity.devices import LASTS_S, MOST_LASTS_S, Invite, Revoke
from fedmed.identity.issuing import MAX_BYTES, MOST_DAYS, certificate_pem, der_of_pem
from fedmed.identity.member import MemberKeys
from fedmed.identity.requests import read_request
from fedmed.identity.shown import shown

FOLDER, KEYS_FILE, CERTIFICATE_FILE, ROLL_FILE, DOWN = "devices", "hub.keys", "hub.crt", "devices.json", "down"


@dataclass(frozen=True)
class HubFolder:
    """An opened folder; its keys are read when they are needed."""

    path: Path
    config: Hub
    clock: Clock
    devices: Devices

    def authority(self) -> DeviceAuthority:
        """The authority for devices. Raises KeyRefused where its key is missing, or others can read it."""
        return DeviceAuthority.load(self.path, self.clock)

    def keys(self) -> MemberKeys:
        """The hub's own keys. Raises KeyRefused as `MemberKeys.load`."""
        return MemberKeys.load(self.path / KEYS_FILE)

    def certificate(self) -> bytes:
        """The hub's certificate, DER. Raises StoreError where there is none to read."""
        path = self.path / CERTIFICATE_FILE
        try:
            return der_of_pem(files.read(path, 2 * MAX_BYTES, files.OTHERS_CHANGE))
        except OSError as error:
            raise StoreError(f"{path} cannot be read ({error.strerror}); put a copy of it back") from error

    def renew_hub(self) -> bool:
        """Make the hub's certificate anew, for the same keys, where a third is left of it; whether it was made.

        Raises KeyRefused, StoreError.
        """
        known = shown(self.certificate())
        if known.ends - self.clock.unix() > (known.ends - known.begins) / 3:
            return False
        path = self.path / CERTIFICATE_FILE
        try:
            files.replace(path, certificate_pem(self.authority().hub(self.keys().transport_public, MOST_DAYS)))
        except OSError as error:
            raise StoreError(f"{path} cannot be written ({error.strerror}); make room, the old one is served on") from error
        return True

    def sign(self, request: bytes) -> tuple[bytes, int]:
        """A device's certificate for a request (both DER), and until when it is valid (seconds since 1970)."""
        authority = self.authority()
        certificate = authority.issue(read_request(request), self.config.certificate_days)
        return certificate, int(read_certificate(certificate, authority.public, self.clock.unix()).not_after)

    def invite(self, name: str, lasts_s: int = LASTS_S) -> Code:
        """A code for a device to be called `name`, good for `lasts_s` seconds; what is kept of it is on the disk then.

        Raises ConfigError for the name or the time, JoinRefused where a device has the name.
        """
        check_device_name(name)
        if not 60 <= lasts_s <= MOST_LASTS_S:
            raise ConfigError(f"a code for {lasts_s} s; allowed are 60 to {MOST_LASTS_S}, a week")
        authority = self.authority().certificate
        code = new_code(authority)
        held = kept(code, authority)
        self.devices.apply(Invite(name, held.invitation, held.stored, int(self.clock.unix()) + lasts_s))
        return code

    def revoke(self, name: str) -> None:
        """Let a device in no more: a hub that is up cuts its lines. Raises JoinRefused where there is none, StoreError."""
        self.devices.apply(Revoke(name))


def make_hub(clinic: Path, config: Hub, clock: Clock) -> HubFolder:
    """Make a hub's folder below the clinic's. Raises ConfigError where there is something in it, KeyRefused."""
    path = clinic / FOLDER
    if path.exists() and any(path.iterdir()):
        raise ConfigError(f"{path} is not empty, and no hub's folder; an authority's keys are never written over")
    authority, keys = DeviceAuthority.generate(clock, name=f"{config.clinic} devices"[:64]), MemberKeys.generate()
    authority.save(path)
    keys.save(path / KEYS_FILE)
    files.write_new(path / CERTIFICATE_FILE, certificate_pem(authority.hub(keys.transport_public, MOST_DAYS)))
    Devices(path / ROLL_FILE, clock).create()
    files.write_new(path / HUB_FILE, written(config))
    return open_hub(clinic, clock)


def open_hub(clinic: Path, clock: Clock) -> HubFolder:
    """The hub's folder of a clinic. Raises ConfigError where there is none, with every fault of its configuration."""
    path = clinic / FOLDER
    if not (path / HUB_FILE).is_file():
        raise ConfigError(
            f"{clinic} has no hub for devices yet; invite one: fedmed clinic devices invite NAME --at {clinic}"
        )
    return HubFolder(path, load_role(path / HUB_FILE, Hub), clock, Devices(path / ROLL_FILE, clock))
