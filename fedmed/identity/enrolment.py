"""How a clinic becomes a member of the transport, and stops being one: events in, the new roll and what to do out.

    invited --Ask--> requested --Admit--> admitted --Renew--> renewed
                         |                   |                  |
                         +--Refuse--> refused+----Revoke----> revoked

A seat is one name. Its invitation is good for the keys that ask first, and for no others: a second request under other keys
is refused and changes nothing. The operator admits keys, not a name, after comparing six words with the clinic, so that who
asks first with a stolen join file is found out. Revoked keys never come back, under any name; the name may be invited again.
No step here decides who takes part in encryption: that takes a pin at each clinic (`fedmed.identity.pins`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from types import MappingProxyType

from fedmed.errors import JoinRefused
from fedmed.identity.authority import day
from fedmed.identity.member import joined
from fedmed.identity.pins import words
from fedmed.identity.requests import Request

MOST_SEATS = 1024


class Stage(str, Enum):
    """How far a seat has come."""

    INVITED = "invited"
    REQUESTED = "requested"
    ADMITTED = "admitted"
    REFUSED = "refused"
    RENEWED = "renewed"
    REVOKED = "revoked"


MEMBERS = frozenset((Stage.ADMITTED, Stage.RENEWED))


@dataclass(frozen=True)
class Seat:
    """One name, and whose it is by now."""

    name: str
    stage: Stage
    serial: str
    """The newest invitation's 16 bytes in hexadecimal."""
    expires: int
    """Until when that invitation is good, seconds since 1970."""
    since: int
    """When the seat last changed, seconds since 1970."""
    fingerprint: str = ""
    """Of the keys that asked, in hexadecimal; empty until somebody did."""
    request: bytes = field(default=b"", repr=False)
    """Their certificate request, DER."""
    certificate: bytes = field(default=b"", repr=False)
    """The newest certificate, DER; empty until there is one."""
    until: int = 0
    """Until when that certificate is valid, seconds since 1970."""


@dataclass(frozen=True)
class Roll:
    """Every seat, by name, and the keys that were revoked."""

    seats: Mapping[str, Seat] = field(default_factory=lambda: MappingProxyType({}))
    revoked: frozenset[str] = frozenset()
    """Fingerprints in hexadecimal."""

    def of(self, name: str) -> Seat:
        """The seat of this name. Raises JoinRefused where there is none."""
        if name not in self.seats:
            known = ", ".join(sorted(self.seats)[:8]) or "nobody yet"
            raise JoinRefused(f"nobody called {name[:64]!r} was invited; invited were: {known}")
        return self.seats[name]


@dataclass(frozen=True)
class Invite:
    """The operator makes a join file."""

    name: str
    serial: str
    expires: int


@dataclass(frozen=True)
class Ask:
    """A request arrived with the ticket of an invitation."""

    name: str
    serial: str
    request: Request
    der: bytes


@dataclass(frozen=True)
class Admit:
    """The operator compared the words and lets these keys in."""

    name: str
    fingerprint: str


@dataclass(frozen=True)
class Refuse:
    """The operator compared the words, and they differ."""

    name: str


@dataclass(frozen=True)
class Renew:
    """A request arrived with the valid certificate of a member."""

    name: str
    fingerprint: str
    request: Request
    der: bytes


@dataclass(frozen=True)
class Revoke:
    """The operator shuts a clinic out."""

    name: str


@dataclass(frozen=True)
class Signed:
    """The authority signed what a `Sign` asked for."""

    name: str
    certificate: bytes
    until: int


Event = Invite | Ask | Admit | Refuse | Renew | Revoke | Signed


@dataclass(frozen=True)
class Sign:
    """Have the authority sign this request, and come back with `Signed`."""

    name: str
    request: bytes


@dataclass(frozen=True)
class Wait:
    """Tell the caller that the operator has not decided yet."""

    name: str
    fingerprint: str
    expires: int


@dataclass(frozen=True)
class Deliver:
    """Give the caller this certificate."""

    name: str
    certificate: bytes


Instruction = Sign | Wait | Deliver | None


def words_for(fingerprint: str, center: bytes, authority_public: bytes) -> str:
    """Six words of a clinic's keys (fingerprint in hexadecimal), the center's Ed25519 key and its authority's key together.

    Of all three, so that somebody between the two, who hands the clinic a join file of his own and passes its request on to
    the center with a stolen one, makes the two sides read different words.
    """
    parts = (b"fedmed/admission words/1", bytes.fromhex(fingerprint), center, authority_public)
    return words(hashlib.sha256(joined(*parts)).digest())


def step(roll: Roll, event: Event, now: int) -> tuple[Roll, Instruction]:
    """The roll after `event` at `now` (seconds since 1970), and what to do.

    Raises JoinRefused, and changes nothing, where the event is not allowed.
    """
    if isinstance(event, Invite):
        return _invite(roll, event, now), None
    seat = roll.of(event.name)
    if isinstance(event, Ask):
        return _ask(roll, seat, event, now)
    if isinstance(event, Admit):
        return _admit(roll, seat, event, now)
    if isinstance(event, Renew):
        return _renew(roll, seat, event, now)
    if isinstance(event, Signed):
        signed = replace(seat, certificate=event.certificate, until=event.until, since=now)
        return _with(roll, signed), Deliver(event.name, event.certificate)
    if isinstance(event, Refuse):
        return _refuse(roll, seat, now), None
    return _revoke(roll, seat, now), None


def reason_against(roll: Roll, name: str, fingerprint: str) -> str | None:
    """Why the holder of these keys is not let in under this name; None where it is. Dates are judged elsewhere."""
    seat = roll.seats.get(name)
    if fingerprint in roll.revoked:
        return f"the keys of {name!r} were revoked; the operator can tell why"
    if seat is None:
        return f"nobody called {name!r} is a member here; is this certificate of another federation?"
    if seat.stage not in MEMBERS:
        return f"{name!r} is {seat.stage.value}, not admitted"
    if seat.fingerprint != fingerprint:
        return f"{name!r} is a member with other keys than these"
    return None


def _invite(roll: Roll, event: Invite, now: int) -> Roll:
    seat = roll.seats.get(event.name)
    if seat is not None and seat.stage in MEMBERS and now <= seat.until:
        raise JoinRefused(
            f"{event.name!r} is a member, with a certificate valid until {day(seat.until)}; a second clinic needs a name of "
            "its own, and one that lost its keys is revoked first: fedmed center revoke"
        )
    if seat is None and len(roll.seats) >= MOST_SEATS:
        raise JoinRefused(f"{MOST_SEATS} clinics were invited, which is all that there may be")
    return _with(roll, Seat(event.name, Stage.INVITED, event.serial, event.expires, now))


def _ask(roll: Roll, seat: Seat, event: Ask, now: int) -> tuple[Roll, Instruction]:
    fingerprint = event.request.fingerprint.hex()
    _check_invitation(seat, event, now)
    if fingerprint in roll.revoked:
        raise JoinRefused("these keys were revoked and never come back; make new ones in an empty folder")
    holder = next((each.name for each in roll.seats.values() if each.fingerprint == fingerprint), seat.name)
    if holder != seat.name:
        raise JoinRefused(f"these keys are those of {holder!r}; each clinic makes its own, in a folder of its own")
    if seat.stage in (Stage.REFUSED, Stage.REVOKED):
        raise JoinRefused(f"the center has {seat.stage.value} {seat.name!r}; its operator can tell why and invite anew")
    if seat.fingerprint and seat.fingerprint != fingerprint:
        raise JoinRefused(
            f"the join file of {seat.name!r} was used already, with other keys than these; if that was not you, somebody "
            "else has the file: telephone the center, have that request refused, and ask for a new join file"
        )
    if seat.stage in MEMBERS:
        return roll, Deliver(seat.name, seat.certificate)
    asked = replace(seat, stage=Stage.REQUESTED, fingerprint=fingerprint, request=event.der, since=now)
    waiting = Wait(seat.name, fingerprint, seat.expires)
    return (roll if seat.fingerprint else _with(roll, asked)), waiting


def _check_invitation(seat: Seat, event: Ask, now: int) -> None:
    if event.serial != seat.serial:
        raise JoinRefused(f"there is a newer join file for {seat.name!r} than this; use that, or ask the center for another")
    if now > seat.expires:
        raise JoinRefused(
            f"the invitation of {seat.name!r} ended at {day(seat.expires)}; ask the center for a new join file"
        )
    if event.request.name != seat.name:
        raise JoinRefused(f"a request of {event.request.name!r} with the join file of {seat.name!r}; ask under its name")


def _admit(roll: Roll, seat: Seat, event: Admit, now: int) -> tuple[Roll, Instruction]:
    if seat.stage is not Stage.REQUESTED:
        raise JoinRefused(f"{seat.name!r} is {seat.stage.value}; only one that has asked can be admitted")
    if event.fingerprint != seat.fingerprint:
        raise JoinRefused(f"{seat.name!r} asked with other keys than those whose words were compared; compare them again")
    if now > seat.expires:
        raise JoinRefused(f"the invitation of {seat.name!r} ended at {day(seat.expires)}; make one: fedmed center invite")
    return _with(roll, replace(seat, stage=Stage.ADMITTED, since=now)), Sign(seat.name, seat.request)


def _renew(roll: Roll, seat: Seat, event: Renew, now: int) -> tuple[Roll, Instruction]:
    if (reason := reason_against(roll, event.name, event.fingerprint)) is not None:
        raise JoinRefused(reason)
    asked = event.request
    if asked.name != seat.name or asked.fingerprint.hex() != seat.fingerprint:
        raise JoinRefused(
            f"a renewal for {asked.name!r} with other keys or another name than those of {seat.name!r}: a certificate is "
            "renewed for the same keys; new keys take revocation and a new join file"
        )
    return _with(roll, replace(seat, stage=Stage.RENEWED, request=event.der, since=now)), Sign(seat.name, event.der)


def _refuse(roll: Roll, seat: Seat, now: int) -> Roll:
    if seat.stage is not Stage.REQUESTED:
        raise JoinRefused(f"{seat.name!r} is {seat.stage.value}; only one that has asked can be refused")
    return _with(roll, replace(seat, stage=Stage.REFUSED, since=now))


def _revoke(roll: Roll, seat: Seat, now: int) -> Roll:
    if seat.stage is Stage.REVOKED:
        return roll
    gone = _with(roll, replace(seat, stage=Stage.REVOKED, since=now))
    return replace(gone, revoked=roll.revoked | ({seat.fingerprint} if seat.fingerprint else set()))


def _with(roll: Roll, seat: Seat) -> Roll:
    return replace(roll, seats=MappingProxyType({**roll.seats, seat.name: seat}))
