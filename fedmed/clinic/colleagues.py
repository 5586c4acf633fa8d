"""The other members, as the center lists them, beside the pins that this clinic has set itself.

What the center lists admits nobody here: it is where the keys come from whose six words are then compared by telephone.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path

from fedmed.clinic.folder import ClinicFolder
from fedmed.errors import ConfigError, JoinRefused, ProtocolRefused
from fedmed.identity.authority import PublicMember, read_certificate
from fedmed.identity.issuing import MAX_BYTES, der_of_pem, public_of
from fedmed.identity.member import Identity
from fedmed.identity.pins import PinRefused, Pins, words

MEMBERS = "/fedmed/members"


@dataclass(frozen=True)
class Colleague:
    """Another member, or this clinic itself."""

    identity: Identity
    approved: bool
    conflict: bool
    """Its name is pinned with other keys."""

    @property
    def words(self) -> str:
        """The six words of its keys, the same at every clinic."""
        return words(self.identity.fingerprint)


def listed(folder: ClinicFolder) -> list[PublicMember]:
    """The members as the center lists them, each with a valid certificate, by name. Raises Unreachable, JoinRefused."""
    _, found = folder.line().ask("GET", MEMBERS)
    members, public, now = [], public_of(folder.authority()), folder.clock.unix()
    for text in found.get("members", []):
        try:
            members.append(read_certificate(base64.b64decode(str(text), validate=True), public, now))
        except (ValueError, ProtocolRefused):
            continue  # out of date, or not a member's: not one that could be approved
    return sorted(members, key=lambda member: member.name)


def from_file(folder: ClinicFolder, path: Path) -> PublicMember:
    """The member whose certificate (PEM) is in a file. Raises ConfigError, and JoinRefused for another's."""
    try:
        with path.open("rb") as file:
            content = file.read(2 * MAX_BYTES)
        return read_certificate(der_of_pem(content), public_of(folder.authority()), folder.clock.unix())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); give a member's certificate (member.crt)") from error
    except ProtocolRefused as error:
        raise JoinRefused(f"{path}: {error}") from error


def beside_pins(members: list[PublicMember], pins: Pins) -> list[Colleague]:
    """Whom the center lists and whom the clinic has pinned, together, by name."""
    known = {member.fingerprint: Identity(member.name, member.transport_public, member.signing_public) for member in members}
    known.update(pins)
    names = {member.name: fingerprint for fingerprint, member in pins.items()}
    found = [
        Colleague(member, fingerprint in pins, names.get(member.name, fingerprint) != fingerprint)
        for fingerprint, member in known.items()
    ]
    return sorted(found, key=lambda each: (each.identity.name, not each.approved))


def the_one(members: list[PublicMember], name: str) -> PublicMember:
    """The member of this name among those listed. Raises PinRefused where there is none, or more than one."""
    found = [member for member in members if member.name == name]
    if len(found) != 1:
        there = ", ".join(member.name for member in members) or "nobody"
        raise PinRefused(f"the center lists {len(found)} members called {name[:64]!r}; listed are: {there}")
    return found[0]


def remove(pins: Pins, name: str) -> Identity:
    """Take away the pin of this name. Raises PinRefused where there is none."""
    found = next((member for member in pins.values() if member.name == name), None)
    if found is None:
        there = ", ".join(sorted(member.name for member in pins.values())) or "nobody"
        raise PinRefused(f"no member called {name[:64]!r} is approved here; approved are: {there}")
    pins.remove(found.fingerprint)
    return found
