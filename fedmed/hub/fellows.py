"""Which devices a clinic has, as each of them pins them: their certificates, told by the hub to all of them.

A device believes what the authority for devices signed, and remembers the most devices that it ever knew of: a hub that
tells it of fewer later cannot talk it out of masks. The hub has that authority's key, so it can still make devices up; what
secure aggregation among devices is worth says so (`fedmed.tiers.terms.told`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from fedmed.errors import ProtocolRefused, StoreError
from fedmed.hub.desk import ALL
from fedmed.hub.folder import DOWN, HubFolder
from fedmed.hub.joining import DeviceFolder
from fedmed.hub.messages import Owed
from fedmed.identity import files
from fedmed.identity.authority import PublicMember, read_certificate
from fedmed.identity.devices import MOST_DEVICES, Stage
from fedmed.identity.issuing import public_of
from fedmed.wire.canonical import canonical

FELLOWS, NAME = "fellows", "devices.json"
MOST_BYTES = MOST_DEVICES * 4096


def enrolled(folder: HubFolder) -> list[PublicMember]:
    """The devices that are let in, by name. Raises StoreError."""
    return [member for _, member in _certified(folder)]


def publish(folder: HubFolder) -> None:
    """Put the list on the hub's desk, for every device. Raises StoreError."""
    content = canonical({"devices": [certificate.hex() for certificate, _ in _certified(folder)]}) + b"\n"
    place = folder.path / DOWN / ALL / FELLOWS / NAME
    try:
        if place.is_file() and place.read_bytes() == content:
            return
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        beside = place.with_name(f".{NAME}")
        beside.write_bytes(content)
        beside.replace(place)
    except OSError as error:
        raise StoreError(f"{place} cannot be written ({error.strerror}); make room or mend the disk") from error


def _certified(folder: HubFolder) -> list[tuple[bytes, PublicMember]]:
    public, now = folder.authority().public, folder.clock.unix()
    there = [each for _, each in sorted(folder.devices.roll().devices.items()) if each.stage is Stage.ENROLLED]
    return [
        (each.certificate, read_certificate(each.certificate, public, now))
        for each in there
        if each.certificate and each.until > now
    ]


class Fellows:
    """A device's pins, kept in its folder."""

    def __init__(self, folder: DeviceFolder) -> None:
        """Raises StoreError for a file that is not in order."""
        self._folder, self._place = folder, folder.path / "fellows.json"
        own = folder.keys()
        self.pins: dict[bytes, bytes] = {own.fingerprint: own.signing_public}
        """Fingerprint -> Ed25519 key; the same object as long as this one lives."""
        self._most = 1
        if self._place.exists():
            self._most, content = _kept(self._place)
            with suppress(ProtocolRefused):  # a certificate in it has ended meanwhile: the hub tells the list anew
                self._pin(content)

    def known(self) -> int:
        """The most devices that it ever knew of, itself among them."""
        return self._most

    def wanted(self, owed: Sequence[Owed]) -> Owed | None:
        """The list, where the hub has one."""
        return next((each for each in owed if each.kind == FELLOWS and each.name == NAME and each.size <= MOST_BYTES), None)

    def take(self, content: bytes) -> None:
        """Pin the devices of a list, and no others; on the disk before this returns. Raises ProtocolRefused, StoreError."""
        self._pin(content)
        kept = canonical({"devices": content.decode(), "most": self._most})
        try:
            files.replace(self._place, kept)
        except OSError as error:
            raise StoreError(f"{self._place} cannot be written ({error.strerror}); make room or mend the disk") from error

    def _pin(self, content: bytes) -> None:
        public, now, own = public_of(self._folder.authority()), self._folder.clock.unix(), self._folder.keys()
        pins = {own.fingerprint: own.signing_public}
        for certificate in _certificates(content):
            member = read_certificate(certificate, public, now)
            pins[member.fingerprint] = member.signing_public
        self._most = max(self._most, len(pins))
        self.pins.clear()
        self.pins.update(pins)


def _kept(place: Path) -> tuple[int, bytes]:
    try:
        read = json.loads(files.read(place, 2 * MOST_BYTES))
        return max(1, int(read["most"])), str(read["devices"]).encode()
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise StoreError(f"{place} cannot be read ({type(error).__name__}); put a copy of it back") from error


def _certificates(content: bytes) -> list[bytes]:
    try:
        read = json.loads(content[: MOST_BYTES + 1])["devices"]
        found = [bytes.fromhex(each) for each in read]
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise ProtocolRefused(f"a list of devices that cannot be read ({type(error).__name__})") from error
    if len(found) > MOST_DEVICES:
        raise ProtocolRefused(f"a list of {len(found)} devices; allowed: {MOST_DEVICES}")
    return found
