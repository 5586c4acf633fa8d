"""How a device comes to its clinic's hub and leaves it: events in, the new roll and what to do out.

    invited --Ask--> enrolled --Renew--> enrolled
       |                |
       +----Revoke------+--> revoked        a name that is revoked may be invited again; keys that are revoked never

An invitation is good for one device, for an hour by default, and for five wrong proofs. A device that asks twice under the
same keys, since the first answer was lost, has the same certificate again; with other keys the code is used up. A device
that enrolled belongs to this clinic alone: nothing here knows of another clinic.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from types import MappingProxyType

from fedmed.errors import DeviceRefused, JoinRefused
from fedmed.identity.authority import day
from fedmed.identity.devicecode import proves
from fedmed.identity.requests import Request

MOST_DEVICES = 1024
MOST_WRONG = 5
"""Wrong proofs after which an invitation is void."""
LASTS_S = 3600
"""How long an invitation is good, where nobody says otherwise."""
MOST_LASTS_S = 7 * 86400


class Stage(str, Enum):
    """How far a device has come."""

    INVITED = "invited"
    ENROLLED = "enrolled"
    REVOKED = "revoked"


@dataclass(frozen=True)
class Device:
    """One name, and whose it is by now."""

    name: str
    stage: Stage
    invitation: str
    """Of the newest code, `devicecode.Kept.invitation`."""
    stored: str
    """Of the newest code, `devicecode.Kept.stored`."""
    expires: int
    """Until when that code is good, seconds since 1970."""
    wrong: int
    """Proofs for it that were wrong."""
    since: int
    """Since when the device is at this stage, seconds since 1970."""
    fingerprint: str = ""
    """Of the device's two keys, in hexadecimal; empty before it enrolled."""
    until: int = 0
    """Until when its certificate is valid, seconds since 1970."""
    certificate: bytes = field(default=b"", repr=False)
    """The newest one, DER."""


@dataclass(frozen=True)
class Roll:
    """Every device of one clinic."""

    devices: Mapping[str, Device] = field(default_factory=lambda: MappingProxyType({}))
    revoked: frozenset[str] = frozenset()
    """Fingerprints that never come back."""


@dataclass(frozen=True)
class Invite:
    """A code was made for a device to be called `name`."""

    name: str
    invitation: str
    stored: str
    expires: int


@dataclass(frozen=True)
class Ask:
    """A device asks for its certificate, and proves that it knows a code."""

    invitation: str
    request: Request
    der: bytes = field(repr=False)
    """The request as it was sent."""
    proof: bytes = field(repr=False)
    authority: bytes = field(repr=False)
    """The clinic's authority for devices: its certificate, DER."""
    hub: bytes = field(repr=False)
    """The certificate that the hub showed the device, DER."""


@dataclass(frozen=True)
class Renew:
    """An enrolled device, known by its certificate, asks for a newer one for the same keys."""

    name: str
    fingerprint: str
    request: Request
    der: bytes = field(repr=False)


@dataclass(frozen=True)
class Signed:
    """The certificate that `Sign` asked for was made."""

    name: str
    fingerprint: str
    certificate: bytes = field(repr=False)
    until: int


@dataclass(frozen=True)
class Revoke:
    """A device is to be let in no more."""

    name: str


@dataclass(frozen=True)
class Sign:
    """Make a certificate for this request, then step on with `Signed`."""

    name: str
    request: bytes = field(repr=False)
    fingerprint: str


@dataclass(frozen=True)
class Deliver:
    """Send this certificate."""

    certificate: bytes = field(repr=False)
    until: int


@dataclass(frozen=True)
class Refuse:
    """Refuse, after the new roll is kept."""

    reason: str


Event = Invite | Ask | Renew | Signed | Revoke
Instruction = Sign | Deliver | Refuse | None


def step(roll: Roll, event: Event, now: int) -> tuple[Roll, Instruction]:
    """The next roll and what to do. Raises JoinRefused for a step that is not allowed: nothing changed then."""
    if isinstance(event, Invite):
        return _invited(roll, event, now), None
    if isinstance(event, Ask):
        return _asked(roll, event, now)
    if isinstance(event, Signed):
        return _enrolled(roll, event, now)
    if isinstance(event, Renew):
        return _renewed(roll, event)
    return _revoked(roll, _device(roll, event.name), now), None


def reason_against(roll: Roll, name: str, fingerprint: str) -> str:
    """Why this name with these keys is not let in now; empty where it is. Asked on every call, not only at the handshake."""
    found = roll.devices.get(name)
    if fingerprint in roll.revoked or (found is not None and found.stage is Stage.REVOKED):
        return (
            f"device {name!r} was revoked; where that was a mistake, at the clinic: fedmed clinic devices invite {name};"
            " then on the device, where all that waits stays: fedmed edge join CODE --hub HOST --again"
        )
    if found is None or found.stage is not Stage.ENROLLED:
        return f"device {name!r} is none of this clinic's; enrol it with a code of this clinic"
    if found.fingerprint != fingerprint:
        return f"device {name!r} enrolled with other keys than these; a certificate goes with one device alone"
    return ""


def admitted(roll: Roll, name: str, fingerprint: str) -> Device:
    """The device. Raises DeviceRefused as `reason_against` says."""
    if reason := reason_against(roll, name, fingerprint):
        raise DeviceRefused(reason)
    return roll.devices[name]


def invited(roll: Roll, invitation: str, now: int) -> Device:
    """The device that a code is for. Raises JoinRefused for one that is unknown, used up by wrong proofs, or expired."""
    found = next((each for each in roll.devices.values() if each.invitation == invitation), None)
    if found is None:
        raise JoinRefused("a code that this hub does not know; see that it is this clinic's newest for this device")
    if found.stage is Stage.REVOKED:
        raise JoinRefused(f"the code of {found.name!r} was taken back; ask the clinic for a new one")
    if found.wrong >= MOST_WRONG:
        raise JoinRefused(f"the code of {found.name!r} is void: {MOST_WRONG} wrong proofs; ask the clinic for a new one")
    if now > found.expires:
        raise JoinRefused(f"the code of {found.name!r} ended at {day(found.expires)}; ask the clinic for a new one")
    return found


def _device(roll: Roll, name: str) -> Device:
    if (found := roll.devices.get(name)) is None:
        raise JoinRefused(f"no device is called {name!r}; see: fedmed clinic devices list")
    return found


def _invited(roll: Roll, event: Invite, now: int) -> Roll:
    known = roll.devices.get(event.name)
    if known is not None and known.stage is Stage.ENROLLED:
        raise JoinRefused(f"{event.name!r} is enrolled; revoke it first, or take another name")
    if known is None and len(roll.devices) >= MOST_DEVICES:
        raise JoinRefused(f"a clinic has {MOST_DEVICES} devices at most; take the name of one that is revoked")
    return _with(roll, Device(event.name, Stage.INVITED, event.invitation, event.stored, event.expires, 0, now))


def _asked(roll: Roll, event: Ask, now: int) -> tuple[Roll, Instruction]:
    found, asked = invited(roll, event.invitation, now), event.request.fingerprint.hex()
    if not proves(found.stored, event.proof, event.authority, event.hub, found.name, event.der):
        wrong = replace(found, wrong=found.wrong + 1)
        return _with(roll, wrong), Refuse(f"a wrong proof for the code of {found.name!r}; read the code again")
    if event.request.name != found.name:
        raise JoinRefused(f"a request of {event.request.name!r} with the code of {found.name!r}; ask under its name")
    if asked in roll.revoked:
        raise JoinRefused(f"{found.name!r} asked with keys that were revoked; have the device make new ones")
    if found.stage is Stage.ENROLLED:
        if asked != found.fingerprint:
            raise JoinRefused(f"the code of {found.name!r} was used by another device; ask the clinic for a new one")
        return roll, Deliver(found.certificate, found.until)
    return roll, Sign(found.name, event.der, asked)


def _enrolled(roll: Roll, event: Signed, now: int) -> tuple[Roll, Instruction]:
    found = _device(roll, event.name)
    since = found.since if found.stage is Stage.ENROLLED else now
    kept = replace(
        found,
        stage=Stage.ENROLLED,
        since=since,
        fingerprint=event.fingerprint,
        certificate=event.certificate,
        until=event.until,
    )
    return _with(roll, kept), Deliver(event.certificate, event.until)


def _renewed(roll: Roll, event: Renew) -> tuple[Roll, Instruction]:
    found = admitted(roll, event.name, event.fingerprint)
    asked = event.request.fingerprint.hex()
    if event.request.name != found.name or asked != found.fingerprint:
        raise JoinRefused(
            f"a renewal for {event.request.name!r} with other keys or another name than those of {found.name!r}: a "
            "certificate is renewed for the same keys; new keys take revocation and a new code"
        )
    return roll, Sign(found.name, event.der, asked)


def _revoked(roll: Roll, found: Device, now: int) -> Roll:
    if found.stage is Stage.REVOKED:
        return roll
    gone = _with(roll, replace(found, stage=Stage.REVOKED, since=now))
    return replace(gone, revoked=roll.revoked | ({found.fingerprint} if found.fingerprint else set()))


def _with(roll: Roll, device: Device) -> Roll:
    return replace(roll, devices=MappingProxyType({**roll.devices, device.name: device}))
