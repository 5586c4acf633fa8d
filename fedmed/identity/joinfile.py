"""A join file: what a clinic needs to enrol, in one line of signed canonical JSON.

    {"join": {"authority", "center", "expires", "federation", "host", "key", "kind", "name", "port", "serial", "ticket",
              "version"}, "signature"}

Bytes are base64. The center's Ed25519 key, which the file names, signs `joined("fedmed/join file/1", canonical(join))`: that
finds what was damaged or edited, not a file that somebody else made as a whole. Such a file names another center, and the
six words that both sides compare are of the clinic's keys and the center's together (`fedmed.identity.enrolment.words_for`).
The ticket's secret key travels in the file, so whoever reads the file can ask for admission in the clinic's name, once.
"""

from __future__ import annotations

import base64
import json
import secrets
from dataclasses import dataclass, field
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fedmed.config.hosts import is_host
from fedmed.errors import ConfigError, JoinRefused, ProtocolRefused
from fedmed.identity import binding
from fedmed.identity.authority import day
from fedmed.identity.issuing import certificate_pem, public_of
from fedmed.identity.member import NAME, SIGNING_KEY, MemberKeys, check_name, is_p384, joined, public_der, verify
from fedmed.identity.transport import SERIAL, TransportAuthority, read_ticket
from fedmed.wire.canonical import canonical

MAX_BYTES = 16 * 1024
"""A join file of ours has some 3,500."""
MOST_DAYS = 30
KIND, VERSION = "fedmed-join", 1
_AGAIN = "ask the center for a new join file"
_BYTES = ("authority", "center", "key", "serial", "ticket")
_KEYS = {"expires", "federation", "host", "kind", "name", "port", "version", *_BYTES}


@dataclass(frozen=True)
class Join:
    """What a join file tells."""

    federation: str
    host: str
    """A name or an address."""
    port: int
    authority: bytes
    """Certificate of the transport's authority, DER: the only one that the clinic will trust on this connection."""
    center: bytes
    """Ed25519, 32 bytes: the key that the center signs with."""
    name: str
    """What the clinic will be called."""
    serial: bytes
    """16 bytes that name the invitation."""
    expires: int
    """Seconds since 1970."""
    ticket: bytes
    """Certificate in DER, for the enrolment path alone."""
    key: bytes = field(repr=False)
    """The ticket's P-384 secret key, PKCS#8 in DER."""

    def credential_pem(self) -> bytes:
        """The ticket and its secret key, as TLS takes them."""
        key = serialization.load_der_private_key(self.key, None)
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return certificate_pem(self.ticket) + secret

    @property
    def authority_public(self) -> bytes:
        """The authority's P-384 key, SubjectPublicKeyInfo in DER."""
        return public_of(self.authority)


def new_join(
    authority: TransportAuthority, center: MemberKeys, at: tuple[str, str, int], name: str, days: int, now_unix: float
) -> Join:
    """An invitation of `name` to the federation, host and port of `at`, good for `days`, with a ticket of its own.

    Raises ConfigError for a name that no member may have, and for days that are not 1 to 30.
    """
    check_name(name, "a clinic")
    if not 1 <= days <= MOST_DAYS:
        raise ConfigError(f"an invitation for {days} days; allowed are 1 to {MOST_DAYS}: a mailed file should not live long")
    key, serial = MemberKeys.generate().transport, secrets.token_bytes(SERIAL)
    ticket = authority.ticket(name, serial, public_der(key), days)
    secret = key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    expires = int(read_ticket(ticket, authority.public, now_unix).expires)
    return Join(*at, authority.certificate, center.signing_public, name, serial, expires, ticket, secret)


def write_join(join: Join, center: MemberKeys) -> bytes:
    """The file's content, signed by the center."""
    body = _body(join)
    return canonical({"join": body, "signature": center.sign(_signed(body)).hex()}) + b"\n"


def read_join(content: bytes, now_unix: float) -> Join:
    """The join file in `content`.

    Raises JoinRefused for what is larger than 16 KiB, not written by `write_join`, altered anywhere, or expired.
    """
    if len(content) > MAX_BYTES:
        raise JoinRefused(f"a join file of more than {MAX_BYTES} bytes; ours have some 3,500: this is another file")
    body, signature = _parsed(content)
    join = _join(body)
    if canonical({"join": _body(join), "signature": signature.hex()}) != content.rstrip(b"\r\n"):
        raise JoinRefused(f"the join file is not in the form that it was written in; use the file as it came, or {_AGAIN}")
    if not verify(join.center, signature, _signed(body)):
        raise JoinRefused(f"the join file was changed after the center signed it; {_AGAIN}")
    if now_unix > join.expires:
        raise JoinRefused(
            f"the join file of {join.name!r} expired at {day(join.expires)}, and it is {day(now_unix)} here; where that is "
            f"wrong set this machine's clock right, else {_AGAIN}"
        )
    _check(join, now_unix)
    return join


def _signed(body: dict[str, Any]) -> bytes:
    return joined(b"fedmed/join file/1", canonical(body))


def _body(join: Join) -> dict[str, Any]:
    held = {key: base64.b64encode(getattr(join, key)).decode() for key in _BYTES}
    plain = {key: getattr(join, key) for key in ("expires", "federation", "host", "name", "port")}
    return {**held, **plain, "kind": KIND, "version": VERSION}


def _parsed(content: bytes) -> tuple[dict[str, Any], bytes]:
    try:
        read = json.loads(content)
        body, signature = read["join"], bytes.fromhex(read["signature"])
        kind, version = body["kind"], body["version"]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise JoinRefused(
            f"this is no join file ({type(error).__name__}), or only a part of one; copy the whole file, or {_AGAIN}"
        ) from error
    if kind != KIND or type(version) is not int or version != VERSION:
        raise JoinRefused(
            f"a file of another kind, or of version {str(version)[:20]}; this program reads {KIND} of version {VERSION}: "
            "bring both sides to the same version"
        )
    return body, signature


def _join(body: dict[str, Any]) -> Join:
    if set(body) != _KEYS:
        raise JoinRefused(f"the join file has other keys than {', '.join(sorted(_KEYS))}; {_AGAIN}")
    held: dict[str, bytes] = {}
    for key in _BYTES:
        try:
            held[key] = base64.b64decode(body[key], validate=True)
        except (ValueError, TypeError) as error:
            raise JoinRefused(f"the join file's {key!r} is not base64; {_AGAIN}") from error
    faults = [key for key in ("federation", "name") if not (isinstance(body[key], str) and NAME.fullmatch(body[key]))]
    faults += [] if isinstance(body["host"], str) and is_host(body["host"]) else ["host"]
    faults += [key for key, most in (("port", 65535), ("expires", 1 << 40)) if not _within(body[key], most)]
    sizes = {"center": SIGNING_KEY, "serial": SERIAL}
    faults += [key for key, size in sizes.items() if len(held[key]) != size]
    if faults:
        raise JoinRefused(f"the join file's {', '.join(faults)}: not what may stand there; {_AGAIN}")
    plain: dict[str, Any] = {key: body[key] for key in _KEYS - {"kind", "version"}} | held
    return Join(**plain)


def _within(value: object, most: int) -> bool:
    return type(value) is int and 0 < value <= most


def _check(join: Join, now_unix: float) -> None:
    """What the file holds must go together: ticket, its key, its authority, name, serial and end."""
    try:
        with binding.parsing("the certificate of the federation's authority"):
            authority = x509.load_der_x509_certificate(join.authority)
            sound = is_p384(authority.public_key())
            key = serialization.load_der_private_key(join.key, None)
            ticket = read_ticket(join.ticket, join.authority_public, now_unix)
    except ProtocolRefused as error:
        raise JoinRefused(f"the join file does not fit together: {error}") from error
    same = (ticket.name, ticket.serial, int(ticket.expires)) == (join.name, join.serial, join.expires)
    if (
        not sound
        or not isinstance(key, ec.EllipticCurvePrivateKey)
        or public_der(key) != ticket.transport_public
        or not same
    ):
        raise JoinRefused(f"the join file's ticket is not for its name, serial, end and key; {_AGAIN}")
