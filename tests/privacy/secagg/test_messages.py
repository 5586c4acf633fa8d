"""Every message comes back from its bytes, and there is one way to write it: other bytes are refused or another message."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.privacy.secagg import epoch_messages as epoch
from fedmed.privacy.secagg import round_messages as rounds
from fedmed.privacy.secagg.attacks import Attack, Refused
from fedmed.privacy.secagg.encoding import MAGIC, Writer
from fedmed.privacy.secagg.messages import SIGNATURE_BYTES
from fedmed.privacy.secagg.parameters import MAX_MEMBERS

digests, signatures = st.binary(min_size=32, max_size=32), st.binary(min_size=64, max_size=64)
members = st.sets(st.one_of(st.integers(1, 30), st.integers(1, MAX_MEMBERS)), max_size=20).map(sorted).map(tuple)


def tuples(of: st.SearchStrategy[Any], most: int = 4) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(of, max_size=most).map(tuple)


committed = st.builds(epoch.Committed, digests, signatures)
adverts = st.builds(epoch.Advert, digests, digests, digests, signatures)
confirmed = st.builds(rounds.Confirmed, digests, signatures)
headers = st.builds(
    rounds.Header,
    st.integers(1, 128),
    st.integers(0, 255),
    members,
    digests,
    digests,
    st.integers(0, 2**32 - 1),
    st.sampled_from([16, 32]),
)
some_bytes = st.binary(max_size=70)


@dataclass(frozen=True)
class Kind:
    made: st.SearchStrategy[Any]
    read: Callable[[bytes], Any]


KINDS = {
    "commit": Kind(
        st.builds(epoch.SetupRequest, st.just(epoch.COMMIT), some_bytes),
        lambda data: epoch.SetupRequest.decode(data, epoch.COMMIT),
    ),
    "advert": Kind(
        st.builds(epoch.SetupRequest, st.just(epoch.ADVERT), some_bytes, tuples(committed)),
        lambda data: epoch.SetupRequest.decode(data, epoch.ADVERT),
    ),
    "committed": Kind(committed, epoch.Committed.decode),
    "advertised": Kind(st.builds(epoch.Advertised, adverts, some_bytes), epoch.Advertised.decode),
    "shares": Kind(st.builds(epoch.SharesRequest, tuples(adverts), tuples(some_bytes)), epoch.SharesRequest.decode),
    "shared": Kind(
        st.builds(epoch.Mail, st.just(epoch.SHARED), tuples(some_bytes)), lambda data: epoch.Mail.decode(data, epoch.SHARED)
    ),
    "store": Kind(
        st.builds(epoch.Mail, st.just(epoch.STORE), tuples(some_bytes)), lambda data: epoch.Mail.decode(data, epoch.STORE)
    ),
    "stored": Kind(st.builds(epoch.Stored, signatures), epoch.Stored.decode),
    "header": Kind(headers, rounds.Header.decode),
    "uploaded": Kind(st.builds(rounds.Uploaded, digests, digests, digests, signatures), rounds.Uploaded.decode),
    "confirm": Kind(st.builds(rounds.ConfirmRequest, some_bytes, members), rounds.ConfirmRequest.decode),
    "confirmed": Kind(confirmed, rounds.Confirmed.decode),
    "reveal": Kind(
        st.builds(rounds.RevealRequest, some_bytes, members, tuples(st.tuples(st.integers(0, MAX_MEMBERS), confirmed))),
        rounds.RevealRequest.decode,
    ),
    "revealed": Kind(
        st.builds(rounds.Revealed, tuples(st.binary(max_size=32)), signatures),
        rounds.Revealed.decode,
    ),
}
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))


@every_kind
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_a_message_comes_back_from_its_bytes(kind, data):
    message = data.draw(kind.made)
    assert kind.read(message.encode()) == message


@every_kind
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_other_bytes_are_another_message_or_none(kind, data):
    message = data.draw(kind.made)
    changed = bytearray(message.encode())
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        read = kind.read(bytes(changed))
    except Refused:
        return
    assert read != message
    assert read.encode() == bytes(changed)


@every_kind
@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_bytes_cut_off_or_left_over_are_refused(kind, data):
    whole = data.draw(kind.made).encode()
    for changed in (whole[: data.draw(st.integers(0, len(whole) - 1))], whole + b"\0"):
        with pytest.raises(Refused) as refused:
            kind.read(changed)
        assert refused.value.attack is Attack.MALFORMED


@every_kind
@given(noise=st.binary(max_size=300))
@settings(max_examples=20)
def test_noise_is_refused_and_nothing_else(kind, noise):
    for data in (noise, MAGIC + noise):
        with pytest.raises(Refused):
            kind.read(data)


def test_no_message_is_taken_for_one_of_another_kind():
    numbers = {name: value for room in (epoch, rounds) for name, value in vars(room).items() if name in KIND_NAMES}
    assert len(set(numbers.values())) == len(KIND_NAMES)


KIND_NAMES = {"COMMIT", "COMMITTED", "ADVERT", "ADVERTISED", "SHARES", "SHARED", "STORE", "STORED"} | {
    *("HEADER", "UPLOADED", "CONFIRM", "CONFIRMED", "REVEAL", "REVEALED")
}


def count_lies(kind: int, *before: bytes) -> bytes:
    writer = Writer(kind)
    for part in before:
        writer.text(part)
    return writer.number(MAX_MEMBERS + 1, 2).fixed(bytes(200)).bytes()


@pytest.mark.parametrize(
    ("read", "data"),
    [
        (KINDS["advert"].read, count_lies(epoch.ADVERT, b"")),
        (KINDS["shares"].read, count_lies(epoch.SHARES)),
        (KINDS["shared"].read, count_lies(epoch.SHARED)),
        (KINDS["reveal"].read, count_lies(rounds.REVEAL, b"", b"")),
        (KINDS["revealed"].read, count_lies(rounds.REVEALED)),
        (KINDS["shared"].read, epoch.Mail(epoch.SHARED, (bytes(48 * 128 + 17),)).encode()),
        (KINDS["revealed"].read, rounds.Revealed((bytes(33),), bytes(64)).encode()),
        (KINDS["advertised"].read, epoch.Advertised(epoch.Advert(*[bytes(32)] * 3, bytes(64)), bytes(4097)).encode()),
        (KINDS["confirm"].read, rounds.ConfirmRequest(b"", (MAX_MEMBERS + 1,)).encode()),
        (KINDS["confirm"].read, rounds.ConfirmRequest(bytes(rounds.MAX_HEADER + 1), (1,)).encode()),
    ],
)
def test_more_than_the_caps_allow_is_refused(read, data):
    with pytest.raises(Refused) as refused:
        read(data)
    assert refused.value.attack is Attack.MALFORMED


@every_kind
def test_giants_are_refused_by_their_size(kind):
    with pytest.raises(Refused, match="bytes, allowed"):
        kind.read(bytes(30_000_000))


def header(**changes: Any) -> rounds.Header:
    usual = {"number": 1, "purpose": 1, "cohort": (1, 2, 3), "model": bytes(32), "layout": bytes(32)}
    return rounds.Header(**{**usual, "lanes": 5, "bits": 32, **changes})


@pytest.mark.parametrize("changes", [{"bits": 8}, {"bits": 31}, {"bits": 64}, {"number": 0}, {"number": 129}])
def test_a_header_of_no_round_or_no_lane_is_refused(changes):
    with pytest.raises(Refused):
        rounds.Header.decode(header(**changes).encode())


def test_a_cohort_written_with_bytes_too_many_is_refused():
    whole = header().encode()
    assert b"\0\0\0\1\xe0" in whole
    with pytest.raises(Refused, match="too many"):
        rounds.Header.decode(whole.replace(b"\0\0\0\1\xe0", b"\0\0\0\2\xe0\0"))


def test_what_is_signed_names_its_step_and_its_signer():
    digest, empty = bytes(32), rounds.Uploaded(*[bytes(32)] * 3)
    signed = [
        *(epoch.Committed.signed_part(digest, index, digest) for index in (1, 2)),
        *(epoch.Advert(digest, digest, digest).signed_part(digest, index) for index in (1, 2)),
        *(epoch.Stored.signed_part(digest, index, digest) for index in (1, 2)),
        *(empty.signed_part(index) for index in (1, 2)),
        *(rounds.Revealed(()).signed_part(digest, index) for index in (1, 2)),
        *(rounds.Confirmed.signed_part(digest, survivors, digest) for survivors in ((1, 2), (1, 3))),
    ]
    assert len(set(signed)) == len(signed)
    assert len({each[: -len(digest)] for each in signed}) == 6
    assert SIGNATURE_BYTES == 64
