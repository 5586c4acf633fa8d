"""The messages that set up an epoch, as values; their canonical bytes and back. Decoding raises Refused."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from fedmed.privacy.secagg import parameters
from fedmed.privacy.secagg.encoding import DIGEST_BYTES, Reader, Writer, sha256
from fedmed.privacy.secagg.messages import (
    KEY_BYTES,
    NONCE_BYTES,
    SHARE_BYTES,
    SIGNATURE_BYTES,
    SMALL,
    listed,
    put_all,
    read_all,
    whole,
)
from fedmed.privacy.secagg.parameters import MAX_MEMBERS, MAX_ROUNDS
from fedmed.privacy.secagg.schedule import TAG_BYTES

(COMMIT, COMMITTED, ADVERT, ADVERTISED, SHARES, SHARED, STORE, STORED) = range(2, 10)


@dataclass(frozen=True)
class Committed:
    """A member's commitment to the nonce that it will add to the draw of the graph."""

    digest: bytes
    signature: bytes

    def encode(self) -> bytes:
        """Canonical bytes."""
        return Writer(COMMITTED).fixed(self.digest).fixed(self.signature).bytes()

    @staticmethod
    def decode(data: bytes) -> Committed:
        """Raises Refused."""
        return whole(Reader(data, COMMITTED, SMALL), read_committed)

    @staticmethod
    def signed_part(context: bytes, index: int, digest: bytes) -> bytes:
        """What the signature is over."""
        return b"fedmed/sa/v1/commit" + sha256(context, index.to_bytes(2, "big"), digest)


@dataclass(frozen=True)
class Advert:
    """A member's public keys for an epoch; those of the rounds by their digest."""

    mail: bytes
    """X25519, for shares."""
    nonce: bytes
    rounds_digest: bytes
    signature: bytes = b""

    @cached_property
    def leaf(self) -> bytes:
        """What stands for it in the epoch's transcript."""
        return self.mail + self.nonce + self.rounds_digest

    def signed_part(self, context: bytes, index: int) -> bytes:
        """What the signature is over."""
        return b"fedmed/sa/v1/advert" + sha256(context, index.to_bytes(2, "big"), self.leaf)

    def encode(self) -> bytes:
        """Fixed size; part of other messages."""
        return self.leaf + self.signature


ADVERT_BYTES = KEY_BYTES + NONCE_BYTES + DIGEST_BYTES + SIGNATURE_BYTES


def rounds_digest(keys: bytes) -> bytes:
    """Digest of the X25519 public keys of all rounds, one after the other."""
    return sha256(b"rounds", keys)


@dataclass(frozen=True)
class Advertised:
    """The answer to an advert request: the advert, and the keys of the rounds themselves."""

    advert: Advert
    keys: bytes
    """32 bytes a round."""

    def encode(self) -> bytes:
        """Canonical bytes."""
        return Writer(ADVERTISED).fixed(self.advert.encode()).text(self.keys).bytes()

    @staticmethod
    def decode(data: bytes) -> Advertised:
        """Raises Refused."""
        return whole(
            Reader(data, ADVERTISED, KEY_BYTES * MAX_ROUNDS + SMALL),
            lambda reader: Advertised(read_advert(reader), reader.text(KEY_BYTES * MAX_ROUNDS)),
        )


@dataclass(frozen=True)
class SetupRequest:
    """`commit` (no commitments yet) and `advert`: the terms and, where the graph is drawn, everybody's commitment."""

    kind: int
    terms: bytes
    commitments: tuple[Committed, ...] = ()

    def encode(self) -> bytes:
        """Canonical bytes."""
        writer = Writer(self.kind).text(self.terms).number(len(self.commitments), 2)
        for each in self.commitments:
            writer.fixed(each.digest).fixed(each.signature)
        return writer.bytes()

    @staticmethod
    def decode(data: bytes, kind: int) -> SetupRequest:
        """Raises Refused."""
        most = parameters.MAX_BYTES + MAX_MEMBERS * (DIGEST_BYTES + SIGNATURE_BYTES) + SMALL
        return whole(Reader(data, kind, most), lambda reader: _read_setup(reader, kind))


@dataclass(frozen=True)
class SharesRequest:
    """Everybody's advert, and the round keys of one member's neighbours in their order."""

    adverts: tuple[Advert, ...]
    keys: tuple[bytes, ...]

    def encode(self) -> bytes:
        """Canonical bytes."""
        return self.head(self.adverts) + listed(self.keys)

    @staticmethod
    def head(adverts: tuple[Advert, ...]) -> bytes:
        """How the requests to all members begin."""
        written = b"".join(advert.encode() for advert in adverts)
        return Writer(SHARES).number(len(adverts), 2).fixed(written).bytes()

    @staticmethod
    def decode(data: bytes) -> SharesRequest:
        """Raises Refused."""
        most = MAX_MEMBERS * (ADVERT_BYTES + KEY_BYTES * MAX_ROUNDS) + SMALL
        return whole(Reader(data, SHARES, most), _read_shares_request)


@dataclass(frozen=True)
class Mail:
    """Sealed shares: from one member to each of its holders (`shared`), or from each of them to one (`store`)."""

    kind: int
    sealed: tuple[bytes, ...]

    def encode(self) -> bytes:
        """Canonical bytes."""
        return put_all(Writer(self.kind), self.sealed).bytes()

    @staticmethod
    def decode(data: bytes, kind: int) -> Mail:
        """Raises Refused."""
        one = SHARE_BYTES * MAX_ROUNDS + TAG_BYTES
        return whole(Reader(data, kind, (one + 4) * MAX_MEMBERS + SMALL), lambda reader: Mail(kind, read_all(reader, one)))


@dataclass(frozen=True)
class Stored:
    """A receipt: the member holds the shares that were sealed for it."""

    signature: bytes

    def encode(self) -> bytes:
        """Canonical bytes."""
        return Writer(STORED).fixed(self.signature).bytes()

    @staticmethod
    def decode(data: bytes) -> Stored:
        """Raises Refused."""
        return whole(Reader(data, STORED, SMALL), lambda reader: Stored(reader.fixed(SIGNATURE_BYTES)))

    @staticmethod
    def signed_part(transcript: bytes, index: int, inbox: bytes) -> bytes:
        """What the signature is over."""
        return b"fedmed/sa/v1/stored" + sha256(transcript, index.to_bytes(2, "big"), inbox)


def read_committed(reader: Reader) -> Committed:
    """The next digest and signature."""
    return Committed(reader.fixed(DIGEST_BYTES), reader.fixed(SIGNATURE_BYTES))


def read_advert(reader: Reader) -> Advert:
    """The next `ADVERT_BYTES`."""
    return Advert(
        reader.fixed(KEY_BYTES), reader.fixed(NONCE_BYTES), reader.fixed(DIGEST_BYTES), reader.fixed(SIGNATURE_BYTES)
    )


def _read_setup(reader: Reader, kind: int) -> SetupRequest:
    terms, count = reader.text(parameters.MAX_BYTES), reader.number(2, MAX_MEMBERS)
    return SetupRequest(kind, terms, tuple(read_committed(reader) for _ in range(count)))


def _read_shares_request(reader: Reader) -> SharesRequest:
    adverts = tuple(read_advert(reader) for _ in range(reader.number(2, MAX_MEMBERS)))
    return SharesRequest(adverts, read_all(reader, KEY_BYTES * MAX_ROUNDS))
