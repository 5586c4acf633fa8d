"""Transcripts and keys (RFC 5869, RFC 7748): each is bound to all that it must not be used outside of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from numpy.typing import NDArray

from fedmed.privacy.keystream import SEED_BYTES
from fedmed.privacy.secagg.attacks import Attack, Refused
from fedmed.privacy.secagg.encoding import sha256

SECRET_BYTES = 32  # an X25519 key
SELF_BYTES = 16  # what a self mask's seed is derived from
TAG_BYTES = 16
LABEL = b"fedmed/sa/v1/"
VECTOR = "fedmed/sa/v1/vector"
PRIME = 2**255 - 19
SMALL_ORDER = frozenset(  # u-coordinates of Curve25519 (Bernstein 2006) and its twist whose order divides 8
    (
        0,
        1,
        PRIME - 1,
        325606250916557431795983626356110631294008115727848805560023387167927233504,
        39382357235489614581723060781553021112529911719440698176882885853963445705823,
    )
)


def _hkdf(secret: bytes, size: int, info: bytes) -> bytes:
    return HKDF(SHA256(), size, None, LABEL + info).derive(secret)


def _pair(one: int, other: int) -> bytes:
    low, high = sorted((one, other))
    return low.to_bytes(2, "big") + high.to_bytes(2, "big")


def public_of(secret: bytes) -> bytes:
    """The X25519 public key of a secret one, both 32 bytes."""
    return X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()


def publics_of(secrets: Sequence[bytes]) -> list[bytes]:
    """The public keys of several."""
    return [public_of(each) for each in secrets]


def shared(secret: bytes, public: bytes) -> bytes:
    """What both have who know one of the keys' secrets, 32 bytes. Raises Refused for a point of small order."""
    try:
        return X25519PrivateKey.from_private_bytes(secret).exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError as error:  # a point of small order, which would make the key the same for everybody
        raise Refused(Attack.SWAPPED_KEY, "a public key is a point of small order") from error


def is_usable(public: bytes) -> bool:
    """Whether an X25519 key can be agreed with: not one of small order, with which everybody has the same secret."""
    return int.from_bytes(public, "little") % 2**255 % PRIME not in SMALL_ORDER


def mail_key(secret: bytes, public: bytes, transcript: bytes, one: int, other: int) -> bytes:
    """k_uv: the AES-256 key under which two members send each other shares in one epoch."""
    return mail_key_of(shared(secret, public), transcript, one, other)


def mail_key_of(agreed: bytes, transcript: bytes, one: int, other: int) -> bytes:
    """The same, of what the two agreed on."""
    return _hkdf(agreed, 32, b"share" + transcript + _pair(one, other))


def mail_keys(secret: bytes, others: Mapping[int, bytes], transcript: bytes, member: int) -> list[bytes]:
    """Those of one member with several, whose public keys for mail are `others`, in their order."""
    return [mail_key(secret, public, transcript, member, other) for other, public in others.items()]


def seal_mail(key: bytes, sender: int, receiver: int, shares: bytes, transcript: bytes) -> bytes:
    """The shares of one sender for one receiver; a key is used once a direction, so the nonce is the direction."""
    return AESGCM(key).encrypt(_direction(sender, receiver), shares, transcript)


def open_mail(key: bytes, sender: int, receiver: int, mail: bytes, transcript: bytes) -> bytes:
    """Raises Refused for mail of another sender, receiver, epoch or run."""
    try:
        return AESGCM(key).decrypt(_direction(sender, receiver), mail, transcript)
    except InvalidTag as error:
        raise Refused(Attack.FOREIGN_SHARES, f"mail from member {sender} does not open") from error


def _direction(sender: int, receiver: int) -> bytes:
    return bytes(8) + sender.to_bytes(2, "big") + receiver.to_bytes(2, "big")


def pair_seed(secret: bytes, public: bytes, round_digest: bytes, one: int, other: int) -> bytes:
    """Seed of the mask that two members share in one round."""
    return _hkdf(shared(secret, public), SEED_BYTES, b"mask" + round_digest + _pair(one, other))


def pair_seeds(secret: bytes, others: Mapping[int, bytes], round_digest: bytes, member: int) -> list[bytes]:
    """Those of one member with several, whose public keys of the round are `others`, in their order."""
    return [pair_seed(secret, public, round_digest, member, other) for other, public in others.items()]


def self_seed(secret: bytes, round_digest: bytes, member: int) -> bytes:
    """Seed of a member's own mask in one round."""
    return _hkdf(secret, SEED_BYTES, b"self" + round_digest + member.to_bytes(2, "big"))


def rounding_seed(secret: bytes, what: bytes) -> bytes:
    """Seed of the rounding of one vector, from a secret that the member alone has, for its purpose and what was given.

    Whoever is asked the same again rounds the same again, and nobody else can foretell how. Never for noise, which has to
    be drawn anew each time.
    """
    return _hkdf(secret, SEED_BYTES, b"rounding" + what)


def commitment(secret: bytes) -> bytes:
    """c_b, against which the opened secret of a self mask is checked."""
    return sha256(b"b", secret)


def transcript_of(context: bytes, leaves: list[bytes]) -> bytes:
    """T1: the epoch's terms and every member's keys, in the members' order."""
    return sha256(b"epoch", context, *leaves)


def round_digest(transcript: bytes, header: bytes) -> bytes:
    """H_r: epoch, round, cohort, model and layout; every mask of the round is bound to it."""
    return sha256(b"round", transcript, header)


def vector_digest(lanes: NDArray[Any], threads: int = 1) -> bytes:
    """BLAKE3 (in its mode that derives keys, under the context `VECTOR`) of a masked vector in little-endian bytes: 32."""
    words = np.ascontiguousarray(lanes.astype(lanes.dtype.newbyteorder("<"), copy=False))
    return blake3(words.reshape(-1).view(np.uint8).data, derive_key_context=VECTOR, max_threads=threads).digest()
