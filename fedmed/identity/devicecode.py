"""The one-time code that a device enrols with: a secret, and by which hub alone it may be used.

32 letters of base32 (RFC 4648) and a check letter, in groups of four: ABCD-EFGH-...-WXYZ-K. The first sixteen letters are a
secret of 80 bits, the others the first 80 bits of the SHA-256 of the certificate of the clinic's authority for devices. So a
device refuses a hub of anybody else before it sends anything that helps to enrol.

The secret never travels, and the hub does not keep it. As in SCRAM (RFC 5802, section 3) the hub keeps a digest of a key
that is derived from it, salted with the authority's certificate; the device proves that it has the key, over its own request
and the certificate that the hub showed. So who reads the hub's file cannot enrol, and a proof is good for one request at one
hub.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from fedmed.errors import JoinRefused
from fedmed.identity.deviceca import fingerprint_of
from fedmed.identity.member import joined

SECRET, PREFIX = 10, 10
"""Bytes of the secret, and of the fingerprint that the code carries."""
INVITATION, KEY = 8, 32
"""Bytes of an invitation's name, and of keys and proofs."""
MOST_TEXT = 200
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_LETTERS = 32
_MISREAD = str.maketrans("018", "OIB")
"""Digits that base32 does not have, and the letters that they are mistaken for."""


@dataclass(frozen=True)
class Code:
    """What a code says."""

    secret: bytes = field(repr=False)
    prefix: bytes
    """The first bytes of the fingerprint of the clinic's authority for devices."""

    def text(self) -> str:
        """The code as people read and type it."""
        letters = base64.b32encode(self.secret + self.prefix).decode()
        whole = letters + _check_letter(letters)
        return "-".join(whole[at : at + 4] for at in range(0, len(whole), 4))

    def fits(self, authority: bytes) -> bool:
        """Whether the code was made for this authority (certificate, DER)."""
        return hmac.compare_digest(fingerprint_of(authority)[:PREFIX], self.prefix)


@dataclass(frozen=True)
class Kept:
    """What the hub keeps of a code: nothing that lets anybody enrol."""

    invitation: str
    """By which it is found, in hexadecimal."""
    stored: str
    """SHA-256 of the device's key, in hexadecimal."""


def new_code(authority: bytes, random_bytes: Callable[[int], bytes] = secrets.token_bytes) -> Code:
    """A new code of the authority with this certificate (DER)."""
    return Code(random_bytes(SECRET), fingerprint_of(authority)[:PREFIX])


def read_code(text: str) -> Code:
    """The code that was typed: any case, groups or none, 0, 1 and 8 for O, I and B. Raises JoinRefused for what is none."""
    letters = "".join(text[:MOST_TEXT].split()).replace("-", "").upper().translate(_MISREAD)
    if len(text) > MOST_TEXT or len(letters) != _LETTERS + 1 or set(letters) - set(_ALPHABET):
        raise JoinRefused(
            f"a code of {len(letters)} letters and digits, where one has {_LETTERS + 1} of A-Z and 2-7; read it again"
        )
    if _check_letter(letters[:-1]) != letters[-1]:
        raise JoinRefused("a code whose check letter does not fit: a letter is wrong, or two are swapped; read it again")
    try:
        content = base64.b32decode(letters[:-1])
    except binascii.Error as error:
        raise JoinRefused("a code that is no base32; read it again") from error
    return Code(content[:SECRET], content[SECRET:])


def letters_of(authority: bytes) -> str:
    """The seventeenth to the thirty-second letter of every code of this authority (certificate, DER), in groups."""
    letters = base64.b32encode(fingerprint_of(authority)[:PREFIX]).decode()
    return "-".join(letters[at : at + 4] for at in range(0, len(letters), 4))


def kept(code: Code, authority: bytes) -> Kept:
    """What the hub of this authority (certificate, DER) keeps of its code."""
    salted = _salted(code, authority)
    return Kept(_named(salted), hashlib.sha256(_client_key(salted)).hexdigest())


def proof_of(code: Code, authority: bytes, hub: bytes, name: str, request: bytes) -> tuple[str, bytes]:
    """The invitation's name, and 32 bytes that prove to this hub alone, for this request alone, that the code is known.

    `authority` and `hub` are certificates, `request` a certificate request, all DER.
    """
    salted = _salted(code, authority)
    key = _client_key(salted)
    told = _signed(hashlib.sha256(key).digest(), authority, hub, name, request)
    return _named(salted), bytes(one ^ other for one, other in zip(key, told, strict=True))


def invitation_of(code: Code, authority: bytes) -> str:
    """The invitation's name, which tells nothing of the secret."""
    return _named(_salted(code, authority))


def proves(stored: str, proof: bytes, authority: bytes, hub: bytes, name: str, request: bytes) -> bool:
    """Whether `proof` was made with the code that `stored` is kept of, and over just these."""
    if len(proof) != KEY:
        return False
    digest = bytes.fromhex(stored)
    told = _signed(digest, authority, hub, name, request)
    key = bytes(one ^ other for one, other in zip(proof, told, strict=True))
    return hmac.compare_digest(hashlib.sha256(key).digest(), digest)


def _salted(code: Code, authority: bytes) -> bytes:
    return hmac.digest(fingerprint_of(authority), code.secret, "sha256")


def _named(salted: bytes) -> str:
    return hmac.digest(salted, b"fedmed/device enrolment/1 invitation", "sha256")[:INVITATION].hex()


def _client_key(salted: bytes) -> bytes:
    return hmac.digest(salted, b"fedmed/device enrolment/1 client key", "sha256")


def _signed(stored: bytes, authority: bytes, hub: bytes, name: str, request: bytes) -> bytes:
    message = joined(b"fedmed/device enrolment/1 request", authority, hub, name.encode(), request)
    return hmac.digest(stored, message, "sha256")


def _check_letter(letters: str) -> str:
    """Luhn's check modulo 32: it finds every wrong letter, and nearly every swap of two neighbours."""
    total = 0
    for at, letter in enumerate(reversed(letters)):
        value = _ALPHABET.index(letter) * (2 - at % 2)
        total += value // _LETTERS + value % _LETTERS
    return _ALPHABET[-total % _LETTERS]
