"""Signed heads of an audit log: how many entries it had, under which root, when; and another member's signature on that.

    head           Ed25519 of the log's owner over joined("fedmed/audit/head/1", log, size, root, time)
    countersigned  Ed25519 of a witness over joined("fedmed/audit/countersigned/1", what the owner signed, its signature,
                   witness, time)

`log` and `witness` are fingerprints; size and time (milliseconds since 1970) are 8 bytes, big-endian. Whoever signs two
heads of one size with different roots has shown two histories, and the signatures prove it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from fedmed.errors import ProtocolRefused
from fedmed.identity.member import FINGERPRINT, SIGNATURE, joined, verify
from fedmed.wire import merkle
from fedmed.wire.canonical import digest

MOST_MS = 1 << 48
"""The year 10889."""
AHEAD_MS = 300_000
"""How far a member's clock may be ahead of ours."""
_HEX = re.compile("[0-9a-f]*")


class Signer(Protocol):
    """Who signs: a member's keys."""

    @property
    def fingerprint(self) -> bytes:
        """32 bytes."""

    def sign(self, message: bytes) -> bytes:
        """Ed25519, 64 bytes."""


@dataclass(frozen=True)
class SignedHead:
    """What a log's owner says of it."""

    log: bytes
    """Fingerprint of the owner, 32 bytes."""
    size: int
    """Entries."""
    root: bytes
    """Of the Merkle tree over them, 32 bytes."""
    unix_ms: int
    """When it was signed: milliseconds since 1970."""
    signature: bytes = field(default=b"", repr=False)

    def signed_part(self) -> bytes:
        """What the signature is over."""
        return joined(b"fedmed/audit/head/1", self.log, _number(self.size), self.root, _number(self.unix_ms))

    def is_signed_by(self, public: bytes) -> bool:
        """Whether the Ed25519 key (32 bytes) signed it."""
        return verify(public, self.signature, self.signed_part())

    def as_json(self) -> dict[str, Any]:
        """For files and messages; `read_head` reads it back."""
        return {
            "log": self.log.hex(),
            "size": self.size,
            "root": self.root.hex(),
            "unix_ms": self.unix_ms,
            "signature": self.signature.hex(),
        }

    def __str__(self) -> str:
        return f"{self.size} entries, root {self.root.hex()}, signed at {self.unix_ms} ms"


@dataclass(frozen=True)
class Countersigned:
    """A head, and a witness' signature that it goes on from every head that the witness signed before."""

    head: SignedHead
    witness: bytes
    """Fingerprint, 32 bytes."""
    unix_ms: int
    signature: bytes = field(default=b"", repr=False)

    def signed_part(self) -> bytes:
        """What the witness' signature is over."""
        head = self.head.signed_part(), self.head.signature
        return joined(b"fedmed/audit/countersigned/1", *head, self.witness, _number(self.unix_ms))

    def is_signed_by(self, public: bytes) -> bool:
        """Whether the Ed25519 key (32 bytes) countersigned it; the head's own signature is another matter."""
        return verify(public, self.signature, self.signed_part())

    def as_json(self) -> dict[str, Any]:
        """For files and messages; `read_countersigned` reads it back."""
        return {
            "head": self.head.as_json(),
            "witness": self.witness.hex(),
            "unix_ms": self.unix_ms,
            "signature": self.signature.hex(),
        }


def sign_head(owner: Signer, size: int, root: bytes, unix_ms: int) -> SignedHead:
    """The head of the owner's own log."""
    unsigned = SignedHead(owner.fingerprint, size, root, unix_ms)
    return replace(unsigned, signature=owner.sign(unsigned.signed_part()))


def countersign(witness: Signer, head: SignedHead, unix_ms: int) -> Countersigned:
    """The witness' signature; whether it may be given is for `fedmed.identity.witness` to say."""
    unsigned = Countersigned(head, witness.fingerprint, unix_ms)
    return replace(unsigned, signature=witness.sign(unsigned.signed_part()))


def bound(ledger_head: bytes, newest: Countersigned | None) -> bytes:
    """What a clinic binds into its confirmations: 32 bytes for what left it and for the center's log as it saw it.

    The head of its ledger alone where it has countersigned none; else SHA-256 over that and the countersigned head. All
    clinics of the round receive the confirmations: whoever later shows another history does not have these 32 bytes.
    """
    if newest is None:
        return ledger_head
    return bytes.fromhex(digest({"fedmed/audit/bound/1": [ledger_head.hex(), newest.as_json()]}))


def read_head(said: Any, what: str = "a head") -> SignedHead:
    """A head from JSON; its signature is not yet checked. Raises ProtocolRefused for anything but its five fields."""
    fields = _fields(said, ("log", "size", "root", "unix_ms", "signature"), what)
    return SignedHead(
        _bytes(fields["log"], FINGERPRINT, f"{what}: log"),
        _count(fields["size"], merkle.MOST, f"{what}: size"),
        _bytes(fields["root"], merkle.BYTES, f"{what}: root"),
        _count(fields["unix_ms"], MOST_MS, f"{what}: unix_ms"),
        _bytes(fields["signature"], SIGNATURE, f"{what}: signature"),
    )


def read_countersigned(said: Any, what: str = "a countersigned head") -> Countersigned:
    """A countersigned head from JSON; no signature is checked yet. Raises ProtocolRefused."""
    fields = _fields(said, ("head", "witness", "unix_ms", "signature"), what)
    return Countersigned(
        read_head(fields["head"], f"{what}: head"),
        _bytes(fields["witness"], FINGERPRINT, f"{what}: witness"),
        _count(fields["unix_ms"], MOST_MS, f"{what}: unix_ms"),
        _bytes(fields["signature"], SIGNATURE, f"{what}: signature"),
    )


def read_path(said: Any, what: str = "a proof") -> merkle.Path:
    """The hashes of a proof from JSON. Raises ProtocolRefused."""
    if not isinstance(said, list) or len(said) > 2 * merkle.MOST.bit_length():
        raise ProtocolRefused(f"{what} is {_short(said)}; allowed is a list of up to {2 * merkle.MOST.bit_length()} hashes")
    return tuple(_bytes(each, merkle.BYTES, what) for each in said)


def _fields(said: Any, names: tuple[str, ...], what: str) -> dict[str, Any]:
    if not isinstance(said, dict) or set(said) != set(names):
        got = ", ".join(sorted(map(str, said)))[:200] if isinstance(said, dict) else _short(said)
        raise ProtocolRefused(f"{what} has the fields {got}; allowed are just {', '.join(names)}. Ask for it again")
    return said


def _bytes(said: Any, size: int, what: str) -> bytes:
    if not isinstance(said, str) or len(said) != 2 * size or not _HEX.fullmatch(said):
        raise ProtocolRefused(f"{what} is {_short(said)}; allowed are {2 * size} hexadecimal digits. Ask for it again")
    return bytes.fromhex(said)


def _count(said: Any, most: int, what: str) -> int:
    if type(said) is not int or not 0 <= said <= most:
        raise ProtocolRefused(f"{what} is {_short(said)}; allowed is a whole number from 0 to {most}. Ask for it again")
    return said


def _short(said: Any) -> str:
    try:
        return repr(said)[:80]
    except ValueError:  # a whole number of more than 4300 digits
        return "a number too long to be shown"


def _number(value: int) -> bytes:
    return value.to_bytes(8, "big")
