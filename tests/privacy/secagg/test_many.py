from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.privacy.secagg import many, schedule, shamir, taking_part
from fedmed.privacy.secagg.attacks import Attack, Refused
from fedmed.privacy.secagg.encoding import sha256
from fedmed.privacy.secagg.many import Many
from fedmed.privacy.secagg.masks import Stream, apply
from fedmed.privacy.secagg.round_messages import Header
from tests.privacy.secagg.federation import random_lanes


def secrets(count: int, seed: int = 1) -> list[bytes]:
    draw = random.Random(seed)
    return [draw.randbytes(32) for _ in range(count)]


def test_prepared_keys_give_the_same_seeds():
    reckon, ours, theirs, digest = Many(), *secrets(2), sha256(b"round")
    publics = [schedule.public_of(each) for each in (ours, theirs)]
    ends = (ours, publics[1]), (theirs, publics[0])
    expected = schedule.pair_seeds(ours, {7: publics[1]}, digest, 3)
    assert reckon(schedule.pair_seeds, ours, {7: publics[1]}, digest, 3) == expected
    reckon.prepare([], [ends])
    assert reckon(schedule.pair_seeds, ours, {7: publics[1]}, digest, 3) == expected
    assert reckon(schedule.pair_seeds, theirs, {3: publics[0]}, digest, 7) == expected
    reckon.forget()
    reckon.prepare([ends[0]])
    assert reckon(schedule.pair_seeds, ours, {7: publics[1]}, digest, 3) == expected


def test_a_point_of_small_order_is_refused_however_many_are_asked_for():
    with pytest.raises(Refused) as refused:
        Many().prepare([(secrets(1)[0], bytes(32)), (secrets(1)[0], schedule.public_of(secrets(2)[1]))])
    assert refused.value.attack is Attack.SWAPPED_KEY


def test_mail_keys_and_public_keys_are_the_members_own():
    reckon, own = Many(), secrets(5)
    others = {number: schedule.public_of(each) for number, each in enumerate(own[1:], 2)}
    assert reckon(schedule.mail_keys, own[0], others, b"t", 1) == schedule.mail_keys(own[0], others, b"t", 1)
    assert reckon(schedule.publics_of, own) == schedule.publics_of(own)


def test_what_is_equal_is_reckoned_once_and_a_refusal_for_each():
    reckon, header = Many(), Header(1, 1, (1, 2, 3), bytes(32), bytes(32), 8, 32).encode()
    assert reckon(Header.decode, header) is reckon(Header.decode, bytes(bytearray(header)))
    for _ in range(2):
        with pytest.raises(Refused):
            reckon(Header.decode, header[:-1])


def test_other_arguments_have_another_answer():
    reckon = Many()
    digests = {reckon(schedule.round_digest, bytes([number]), b"header") for number in range(200)}
    assert len(digests) == 200
    assert len(reckon._answers) == many.KEPT
    assert reckon(taking_part.signers, (), b"", taking_part.RevealRequest(b"", (), ())) == frozenset()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 100), st.integers(1, 255), st.integers(0, 99), st.data())
def test_shares_are_those_of_the_tables(size, holders, seed, data):
    threshold = data.draw(st.integers(1, holders))
    secret = np.frombuffer(random.Random(seed).randbytes(size), np.uint8)
    found = Many()(shamir.split, secret, holders, threshold, random.Random(seed).randbytes)
    assert np.array_equal(found, shamir.split(secret, holders, threshold, random.Random(seed).randbytes))
    chosen = data.draw(st.permutations(range(holders)))[:threshold]
    assert np.array_equal(shamir.combine([each + 1 for each in chosen], found[list(chosen)]), secret)


def test_too_many_holders_are_refused():
    with pytest.raises(ValueError, match="255 holders"):
        Many()(shamir.split, np.zeros(3, np.uint8), 256, 2, random.Random(1).randbytes)


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
def test_short_vectors_have_the_same_masks_when_machine_code_is_loaded(dtype):
    some = [Stream(bytes([number]) * 24, 1 if number % 2 else -1) for number in range(7)]
    warm, cold = random_lanes(3, 1000, dtype), random_lanes(3, 1000, dtype)
    apply(warm, some, 1, is_warm=True)
    apply(cold, some, 1)
    assert np.array_equal(warm, cold)
