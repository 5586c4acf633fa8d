"""What a lying clinic may answer, and what the center makes of it."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from fedmed.privacy.secagg import masks, opening, shamir
from fedmed.privacy.secagg.attacks import Attack
from fedmed.privacy.secagg.convening import Agreed
from fedmed.privacy.secagg.graph import drawn
from fedmed.privacy.secagg.recovery import Dealt, recover
from fedmed.privacy.secagg.round_messages import Confirmed, Header, Revealed, Uploaded
from fedmed.privacy.secagg.schedule import vector_digest
from tests.attacks.secagg.lies import refused
from tests.privacy.secagg.federation import LAYOUT, MODEL, Federation, federation, random_lanes, terms_for


def sent(there: Federation, who: list[int] | None = None) -> tuple[opening.Opening, np.ndarray]:
    """The round with the masked vectors of some, its uploads still open; and their sum."""
    header, total = there.header(), np.zeros(64, np.uint32)
    state = opening.begin(there.agreed, header)
    for index in who or list(there.clinics):
        envelope, masked = there.clinics[index].upload(header.encode(), random_lanes(index))
        state, total = opening.take(state, index, envelope, vector_digest(masked)), total + masked
    return state, total


def confirmed(there: Federation, state: opening.Opening) -> opening.Opening:
    for index, clinic in there.clinics.items():
        state = opening.confirm(state, index, clinic.ask(opening.confirm_request(state)))
    return state


def revealed_by(there: Federation, state: opening.Opening, index: int, shares: tuple[bytes, ...]) -> bytes:
    signature = there.clinics[index].member.signer.sign(Revealed(shares).signed_part(state.digest, index))
    return Revealed(shares, signature).encode()


class TestTurns:
    def test_shares_before_the_survivors_are_fixed(self):
        """They would be of keys where the others' are of own masks, and what is of two sizes opens nothing."""
        there = federation(5)
        state, total = sent(there)
        early = revealed_by(there, state, 1, (bytes(32),) * 5)
        with refused(Attack.OUT_OF_TURN):
            opening.reveal(state, 1, early)
        state = confirmed(there, opening.close(state))
        with refused(Attack.BAD_SHARE):
            opening.reveal(state, 1, early)
        for index in (2, 3, 4, 5):
            state = opening.reveal(state, index, there.clinics[index].ask(opening.reveal_request(state)))
        masks.apply(total, opening.open_sum(state).streams)
        assert np.array_equal(total, np.sum([random_lanes(index) for index in there.clinics], 0, np.uint32))

    def test_a_signature_before_the_survivors_are_fixed(self):
        there = federation(5)
        state, _ = sent(there)
        signature = there.clinics[1].member.signer.sign(Confirmed.signed_part(state.digest, (), bytes(32)))
        with refused(Attack.OUT_OF_TURN):
            opening.confirm(state, 1, Confirmed(bytes(32), signature).encode())

    @pytest.mark.parametrize("stranger", [0, 6, 4096])
    def test_answers_of_nobody(self, stranger):
        there = federation(5)
        state, _ = sent(there)
        with refused(Attack.OUT_OF_TURN):
            opening.take(state, stranger, there.clinics[1].sent[-2], bytes(32))
        state = opening.close(state)
        with refused(Attack.OUT_OF_TURN):
            opening.confirm(state, stranger, there.clinics[1].ask(opening.confirm_request(state)))
        with refused(Attack.OUT_OF_TURN):
            opening.reveal(state, stranger, revealed_by(there, state, 1, ()))

    def test_an_upload_twice_or_late(self):
        there = federation(5)
        state, _ = sent(there, [1, 2, 3, 4])
        envelope, masked = there.clinics[5].upload(state.header.encode(), random_lanes(5))
        taken = opening.take(state, 5, envelope, vector_digest(masked))
        for late in (taken, opening.close(state)):
            with refused(Attack.OUT_OF_TURN):
                opening.take(late, 5, envelope, vector_digest(masked))


class TestForgeries:
    """One clinic speaks for another: it has the message, and no key but its own."""

    def test_an_upload(self):
        there = federation(5)
        state, _ = sent(there, [1, 2, 3, 4])
        envelope, masked = there.clinics[5].upload(state.header.encode(), random_lanes(5))
        fresh = opening.begin(there.agreed, state.header)
        with refused(Attack.FALSE_UPLOAD, "member 4 is not signed"):
            opening.take(fresh, 4, envelope, vector_digest(masked))
        with refused(Attack.FALSE_UPLOAD, "not the one it signed"):
            opening.take(fresh, 5, envelope, vector_digest(masked + np.uint32(1)))

    def test_a_confirmation_and_shares(self):
        there = federation(5)
        state = opening.close(sent(there)[0])
        with refused(Attack.FALSE_SURVIVORS, "member 2"):
            opening.confirm(state, 2, there.clinics[1].ask(opening.confirm_request(state)))
        state = confirmed(there, state)
        answer = there.clinics[1].ask(opening.reveal_request(state))
        with refused(Attack.BAD_SHARE, "member 2 are not signed"):
            opening.reveal(state, 2, answer)

    def test_a_confirmation_of_other_survivors(self):
        there = federation(5)
        state = opening.close(sent(there)[0])
        other = replace(state, survivors=(1, 2, 3, 4))
        with refused(Attack.FALSE_SURVIVORS):
            opening.confirm(state, 5, there.clinics[5].ask(opening.confirm_request(other)))

    @pytest.mark.parametrize("shares", [(), (bytes(16),) * 4, (bytes(16),) * 6, (bytes(32),) * 5, (bytes(15),) * 5])
    def test_shares_of_another_number_or_size(self, shares):
        there = federation(5)
        state = confirmed(there, opening.close(sent(there)[0]))
        with refused(Attack.BAD_SHARE):
            opening.reveal(state, 1, revealed_by(there, state, 1, shares))


class TestTooFew:
    def test_survivors(self):
        there = federation(10, colluders=3)
        with refused(Attack.SMALL_SUM):
            opening.close(sent(there, [1, 2, 3, 4])[0])

    @pytest.mark.parametrize("cohort", [[1, 2], [1, 2, 3, 11]])
    def test_a_cohort_too_small_or_of_strangers(self, cohort):
        there = federation(10)
        with refused(Attack.SMALL_SUM):
            opening.begin(there.agreed, there.header(cohort=cohort))

    def test_survivors_of_a_ring_s_part(self):
        """Beyond 128 members: a member whose neighbours are all gone would be a sum of its own."""
        terms = terms_for(150, rounds=1, dropouts=10)
        ring = drawn(terms.design, bytes(32))
        agreed = Agreed(terms, {}, {}, ring, bytes(32))
        state = opening.begin(agreed, Header(1, 1, tuple(range(1, 151)), MODEL, LAYOUT, 64, 32))
        alive = set(state.header.cohort) - set(ring.neighbours(ring.order[0]))
        assert len(alive) >= terms.least_survivors(150)
        blank = Uploaded(state.digest, bytes(32), bytes(32))
        with refused(Attack.CUT_GRAPH):
            opening.close(replace(state, uploads=dict.fromkeys(alive, blank)))

    def test_shares(self):
        there = federation(5)
        state = confirmed(there, opening.close(sent(there)[0]))
        for index in (1, 2, 3):
            state = opening.reveal(state, index, there.clinics[index].ask(opening.reveal_request(state)))
        assert not opening.can_open(state)
        with refused(Attack.BAD_SHARE):
            opening.open_sum(state)


def test_as_many_liars_as_are_reckoned_with_do_not_keep_a_sum_shut():
    """40 shares at a threshold of 23 correct any 8 wrong ones (Reed and Solomon 1960); here 4 of them are."""
    terms = terms_for(40)
    count, threshold, secret = terms.members, terms.design.threshold, bytes(range(16))
    shares = shamir.split(np.frombuffer(secret, np.uint8), count, threshold, random.Random(1).randbytes)
    liars = range(threshold - terms.colluders + 1, threshold + 1)
    dealt = {point: bytes(16) if point in liars else shares[point - 1].tobytes() for point in range(1, count + 1)}
    found = recover(Dealt(1, dealt), threshold, lambda tried: tried == secret, terms.colluders)
    assert found == (secret, tuple(liars))
