"""A federation's transport authority, its center and join files, for the tests of enrolment."""

from __future__ import annotations

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from fedmed.identity.joinfile import Join
from fedmed.identity.member import MemberKeys, public_der
from fedmed.identity.transport import TransportAuthority
from tests.identity.parties import NOW, Standing, keys

DAY_S = 86400
CENTER = keys(500)
KEY = keys(600)
SERIAL = bytes(range(16))


def transport(number: int = 2000, at: float = NOW) -> TransportAuthority:
    return TransportAuthority.generate(Standing(at), number.to_bytes(32, "big"), "study transport")


def join_of(authority: TransportAuthority, name: str = "north", days: int = 7, key: MemberKeys = KEY, **other) -> Join:

    ticket = key.transport
    values = {
        "federation": "study",
        "host": "center.example.org",
        "port": 443,
        "authority": authority.certificate,
        "center": CENTER.signing_public,
        "name": name,
        "serial": SERIAL,
        "expires": int(NOW) + days * DAY_S,
        "ticket": authority.ticket(name, SERIAL, public_der(ticket), days),
        "key": ticket.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
    }
    return Join(**(values | other))
