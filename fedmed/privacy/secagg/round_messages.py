"""The messages of one round, as values; their canonical bytes and back. Decoding raises Refused."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from fedmed.privacy.secagg.encoding import DIGEST_BYTES, Reader, Writer, bitmap, malformed, members_of, sha256
from fedmed.privacy.secagg.messages import SIGNATURE_BYTES, SMALL, put_all, read_all, whole
from fedmed.privacy.secagg.parameters import MAX_MEMBERS, MAX_ROUNDS
from fedmed.privacy.secagg.schedule import SECRET_BYTES

(HEADER, UPLOADED, CONFIRM, CONFIRMED, REVEAL, REVEALED) = range(16, 22)
MAX_LANES = 2**32 - 1
MAX_HEADER = MAX_MEMBERS // 8 + SMALL


@dataclass(frozen=True)
class Header:
    """A round: which, of whom, about which model, in which layout."""

    number: int
    """From 1 within the epoch."""
    purpose: int
    """What is summed; see `layout`. Part of every mask's seed."""
    cohort: tuple[int, ...]
    model: bytes
    """Digest of all that the cohort was given (`fedmed.wire.digest`)."""
    layout: bytes
    """SHA-256 of what stands where in the vector."""
    lanes: int
    """Length of the vector."""
    bits: int
    """Of a lane: 16 or 32."""

    def encode(self) -> bytes:
        """Canonical bytes."""
        writer = Writer(HEADER).number(self.number, 1).number(self.purpose, 1).text(_bits(self.cohort))
        return writer.fixed(self.model).fixed(self.layout).number(self.lanes, 4).number(self.bits, 1).bytes()

    @staticmethod
    def decode(data: bytes) -> Header:
        """Raises Refused."""
        return whole(Reader(data, HEADER, MAX_HEADER), _read_header)


@dataclass(frozen=True)
class Uploaded:
    """What goes with a masked vector."""

    round_digest: bytes
    vector: bytes
    """Digest of the masked vector."""
    commitment: bytes
    """To the secret of the member's own mask."""
    signature: bytes = b""

    def signed_part(self, index: int) -> bytes:
        """What the signature is over."""
        body = sha256(self.round_digest, index.to_bytes(2, "big"), self.vector, self.commitment)
        return b"fedmed/sa/v1/upload" + body

    def encode(self) -> bytes:
        """Canonical bytes."""
        writer = Writer(UPLOADED).fixed(self.round_digest).fixed(self.vector).fixed(self.commitment)
        return writer.fixed(self.signature).bytes()

    @staticmethod
    def decode(data: bytes) -> Uploaded:
        """Raises Refused."""
        return whole(
            Reader(data, UPLOADED, SMALL),
            _read_uploaded,
        )


@dataclass(frozen=True)
class ConfirmRequest:
    """The survivors of a round, to be signed."""

    header: bytes
    survivors: tuple[int, ...]

    def encode(self) -> bytes:
        """Canonical bytes."""
        return Writer(CONFIRM).text(self.header).text(_bits(self.survivors)).bytes()

    @staticmethod
    def decode(data: bytes) -> ConfirmRequest:
        """Raises Refused."""
        return whole(
            Reader(data, CONFIRM, MAX_MEMBERS // 4 + 2 * SMALL),
            lambda reader: ConfirmRequest(reader.text(MAX_HEADER), _read_members(reader)),
        )


@dataclass(frozen=True)
class Confirmed:
    """A member's signature over a round and its survivors, with the head of its own audit log bound in."""

    head: bytes
    signature: bytes

    def encode(self) -> bytes:
        """Canonical bytes."""
        return Writer(CONFIRMED).fixed(self.head).fixed(self.signature).bytes()

    @staticmethod
    def decode(data: bytes) -> Confirmed:
        """Raises Refused."""
        return whole(Reader(data, CONFIRMED, SMALL), _read_confirmed)

    @staticmethod
    def signed_part(round_digest: bytes, survivors: tuple[int, ...], head: bytes) -> bytes:
        """What the signature is over."""
        return b"fedmed/sa/v1/confirm" + sha256(round_digest, _bits(survivors), head)


@dataclass(frozen=True)
class RevealRequest:
    """The survivors with the signatures of a quorum; in mode `hbc` without any."""

    header: bytes
    survivors: tuple[int, ...]
    confirmed: tuple[tuple[int, Confirmed], ...]

    def encode(self) -> bytes:
        """Canonical bytes."""
        writer = Writer(REVEAL).text(self.header).text(_bits(self.survivors))
        writer.number(len(self.confirmed), 2)
        for index, each in self.confirmed:
            writer.number(index, 2).fixed(each.head).fixed(each.signature)
        return writer.bytes()

    @staticmethod
    def decode(data: bytes) -> RevealRequest:
        """Raises Refused."""
        most = MAX_MEMBERS * (2 + DIGEST_BYTES + SIGNATURE_BYTES) + MAX_MEMBERS // 4 + 2 * SMALL
        return whole(Reader(data, REVEAL, most), _read_reveal)


@dataclass(frozen=True)
class Revealed:
    """A member's shares of the round's secrets, in the order of the cohort's members whose shares it holds."""

    shares: tuple[bytes, ...]
    """16 bytes of a survivor's self mask, 32 of a gone member's round key."""
    signature: bytes = b""

    def signed_part(self, round_digest: bytes, index: int) -> bytes:
        """What the signature is over."""
        return b"fedmed/sa/v1/reveal" + sha256(round_digest, index.to_bytes(2, "big"), *self.shares)

    def encode(self) -> bytes:
        """Canonical bytes."""
        return put_all(Writer(REVEALED), self.shares).fixed(self.signature).bytes()

    @staticmethod
    def decode(data: bytes) -> Revealed:
        """Raises Refused."""
        return whole(
            Reader(data, REVEALED, MAX_MEMBERS * (SECRET_BYTES + 4) + SMALL),
            lambda reader: Revealed(read_all(reader, SECRET_BYTES), reader.fixed(SIGNATURE_BYTES)),
        )


@lru_cache(maxsize=4)
def _bits(members: tuple[int, ...]) -> bytes:
    """The same few sets are written into what every member signs and is sent."""
    return bitmap(members, max(members, default=0))


def _read_members(reader: Reader) -> tuple[int, ...]:
    bits = reader.text(MAX_MEMBERS // 8)
    found = members_of(bits, MAX_MEMBERS)
    if bits != _bits(found):
        raise malformed("a set of members is written with bytes too many")
    return found


def _read_uploaded(reader: Reader) -> Uploaded:
    number, vector, commitment = (reader.fixed(DIGEST_BYTES) for _ in range(3))
    return Uploaded(number, vector, commitment, reader.fixed(SIGNATURE_BYTES))


def _read_confirmed(reader: Reader) -> Confirmed:
    return Confirmed(reader.fixed(DIGEST_BYTES), reader.fixed(SIGNATURE_BYTES))


def _read_header(reader: Reader) -> Header:
    number, purpose, cohort = reader.number(1, MAX_ROUNDS), reader.number(1, 255), _read_members(reader)
    model, layout = reader.fixed(DIGEST_BYTES), reader.fixed(DIGEST_BYTES)
    header = Header(number, purpose, cohort, model, layout, reader.number(4, MAX_LANES), reader.number(1, 32))
    if header.bits not in (16, 32) or header.number < 1:
        raise malformed(f"round {header.number} with lanes of {header.bits} bits; allowed: from 1, with 16 or 32 bits")
    return header


def _read_reveal(reader: Reader) -> RevealRequest:
    header, survivors = reader.text(MAX_HEADER), _read_members(reader)
    count = reader.number(2, MAX_MEMBERS)
    confirmed = tuple((reader.number(2, MAX_MEMBERS), _read_confirmed(reader)) for _ in range(count))
    return RevealRequest(header, survivors, confirmed)
