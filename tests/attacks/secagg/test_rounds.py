"""What a lying center may begin, and begin again: no mask serves twice, and none serves another model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fedmed.privacy.secagg import opening
from fedmed.privacy.secagg.attacks import Attack
from fedmed.privacy.secagg.client import Began, Masked
from fedmed.privacy.secagg.encoding import sha256
from fedmed.privacy.secagg.member import Mask, Resend
from fedmed.privacy.secagg.round_messages import ConfirmRequest
from fedmed.privacy.secagg.schedule import vector_digest
from tests.attacks.secagg.lies import given, refused, uploaded
from tests.privacy.secagg.federation import (
    clinics_for,
    federation,
    play,
    random_lanes,
)


class TestRounds:
    def test_a_round_twice(self):
        """Two vectors under one mask would give their difference away."""
        there = federation(5)
        uploaded(there)
        clinic = there.clinics[1]
        assert clinic.tell(Began(given(there))) == (Resend(1),)
        with refused(Attack.REPLAYED_ROUND):
            clinic.tell(Began(given(there, header=there.header(cohort=[1, 2, 3, 4]).encode())))

    def test_an_older_round(self):
        there = federation(5)
        uploaded(there, number=2)
        with refused(Attack.REPLAYED_ROUND):
            there.clinics[1].tell(Began(given(there, 1)))

    def test_a_round_beyond_the_epoch(self):
        there = federation(5, rounds=2)
        with refused(Attack.REPLAYED_ROUND):
            there.clinics[1].tell(Began(given(there, 3)))

    @pytest.mark.parametrize(
        "changes",
        [{"model": sha256(b"x")}, {"layout": sha256(b"x")}, {"purpose": 2}, {"lanes": 65}, {"bits": 16}],
        ids=lambda each: next(iter(each)),
    )
    def test_another_model_layout_or_purpose(self, changes):
        there = federation(5)
        with refused(Attack.OTHER_ROUND):
            there.clinics[1].tell(Began(given(there, **changes)))

    def test_a_cohort_without_the_clinic(self):
        there = federation(6)
        with refused(Attack.OTHER_ROUND):
            there.clinics[6].tell(Began(given(there, header=there.header(cohort=[1, 2, 3, 4, 5]).encode())))

    def test_a_cohort_too_small(self):
        there = federation(10, colluders=3)
        with refused(Attack.SMALL_SUM):
            there.clinics[1].tell(Began(given(there, header=there.header(cohort=[1, 2, 3]).encode())))

    def test_a_cohort_beyond_the_roster(self):
        there = federation(5)
        with refused(Attack.SMALL_SUM):
            there.clinics[1].tell(Began(given(there, header=there.header(cohort=[1, 2, 3, 4, 6]).encode())))

    def test_one_clinic_given_another_model(self):
        """Pasquini et al. 2022: it signs nothing for the others' round, and its masks do not cancel: the sum is noise."""
        there = federation(5)
        header, other = there.header(), replace(there.header(), model=sha256(b"crafted"))
        state, total = opening.begin(there.agreed, header), np.zeros(64, np.uint32)
        for index in (2, 3, 4, 5):
            envelope, masked = there.clinics[index].upload(header.encode(), random_lanes(index))
            state, total = opening.take(state, index, envelope, vector_digest(masked)), total + masked
        envelope, masked = there.clinics[1].upload(other.encode(), random_lanes(1), sha256(b"crafted"))
        with refused(Attack.OTHER_ROUND):
            opening.take(state, 1, envelope, vector_digest(masked))
        with refused(Attack.OTHER_ROUND):
            there.clinics[1].ask(ConfirmRequest(header.encode(), (1, 2, 3, 4, 5)).encode())

    def test_no_upload_after_the_survivors_are_signed(self):
        there = federation(5)
        header = there.header()
        (mask,) = there.clinics[5].tell(Began(given(there)))
        assert isinstance(mask, Mask)
        there.clinics[5].ask(ConfirmRequest(header.encode(), (1, 2, 3, 4)).encode())
        with refused(Attack.OUT_OF_TURN):
            there.clinics[5].tell(Masked(bytes(32)))
        with refused(Attack.REPLAYED_ROUND):
            there.clinics[5].tell(Began(given(there)))

    def test_a_second_vector_in_one_round(self):
        there = federation(5)
        uploaded(there)
        with refused(Attack.OUT_OF_TURN):
            there.clinics[1].tell(Masked(bytes(32)))

    def test_a_vector_that_nobody_asked_for(self):
        with refused(Attack.OUT_OF_TURN):
            federation(5).clinics[1].tell(Masked(bytes(32)))

    def test_a_round_before_any_epoch(self):
        there = federation(5)
        stranger = clinics_for(there.terms)[1]
        for event in (Began(given(there)), Masked(bytes(32))):
            with refused(Attack.OUT_OF_TURN):
                stranger.tell(event)

    @pytest.mark.parametrize("change", [{"cohort": (1, 2, 3, 4)}, {"model": sha256(b"x")}, {"lanes": 65}], ids=str)
    def test_no_mask_serves_two_headers_of_a_round(self, change):
        """The center takes a header back before anything is sent; masks that were made for it are of no use any more."""
        there = federation(5)
        clinic, other = there.clinics[1], replace(there.header(), **change)
        (first,) = clinic.tell(Began(given(there)))
        named = {"header": other.encode(), "model": other.model, "lanes": other.lanes}
        (second,) = clinic.tell(Began(given(there, **named)))
        assert not {each.seed for each in first.streams} & {each.seed for each in second.streams}

    def test_a_round_s_secrets_are_gone_once_it_is_open(self):
        """Later requests, and a copy of the disk, find none of it; a round that is skipped is gone as well."""
        there = federation(5)
        values = {index: random_lanes(index) for index in there.clinics}
        play(there, values, there.header(2))
        for clinic in there.clinics.values():
            assert set(clinic.state.epoch.secrets) == {3, 4}
        with refused(Attack.REPLAYED_ROUND):
            there.clinics[1].ask(ConfirmRequest(there.header(1).encode(), (1, 2, 3, 4)).encode())
