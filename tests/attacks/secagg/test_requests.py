"""What a lying center may ask, and what it gets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fedmed.privacy.secagg import convening, opening, parameters
from fedmed.privacy.secagg.attacks import Attack, Refused
from fedmed.privacy.secagg.client import Began, Masked
from fedmed.privacy.secagg.encoding import sha256
from fedmed.privacy.secagg.epoch_messages import ADVERT, STORE, Mail, SetupRequest, SharesRequest
from fedmed.privacy.secagg.member import Mask, Resend
from fedmed.privacy.secagg.round_messages import Confirmed, ConfirmRequest, Revealed, RevealRequest
from fedmed.privacy.secagg.schedule import vector_digest
from fedmed.privacy.secagg.taking_part import Given
from tests.privacy.secagg.federation import (
    LAYOUT,
    MODEL,
    Federation,
    clinics_for,
    federation,
    play,
    random_lanes,
    set_up,
    signer,
    terms_for,
)


def refused(attack: Attack):
    return pytest.raises(Refused, match=f"^{attack.value}: ", check=lambda error: error.attack is attack)


def uploaded(there: Federation, number: int = 1, who: list[int] | None = None) -> opening.Opening:
    header = there.header(number)
    state = opening.begin(there.agreed, header)
    for index in who or list(there.clinics):
        envelope, masked = there.clinics[index].upload(header.encode(), random_lanes(index))
        state = opening.take(state, index, envelope, vector_digest(masked))
    return opening.close(state)


def signed_by(state: opening.Opening, there: Federation, who: list[int]) -> opening.Opening:
    for index in who:
        state = opening.confirm(state, index, there.clinics[index].ask(opening.confirm_request(state)))
    return state


def given(there: Federation, number: int = 1, **changes) -> Given:
    header = there.header(number)
    return replace(Given(header.encode(), 1, MODEL, LAYOUT, 64, 32), **changes)


class TestSurvivors:
    def test_both_shares_of_a_victim(self):
        """Flower's A1: the victim named alive and dead. Here there is one list; a second one is refused."""
        there = federation(5)
        state = signed_by(uploaded(there), there, [1, 2, 3, 4, 5])
        answer = there.clinics[2].ask(opening.reveal_request(state))
        assert {len(share) for share in Revealed.decode(answer).shares} == {16}
        without = replace(state, survivors=(2, 3, 4, 5))
        with refused(Attack.EQUIVOCATION):
            there.clinics[2].ask(opening.reveal_request(without))
        assert there.clinics[2].ask(opening.reveal_request(state)) == answer

    def test_a_second_survivor_set(self):
        there = federation(5)
        state = uploaded(there)
        first = there.clinics[1].ask(opening.confirm_request(state))
        with refused(Attack.EQUIVOCATION):
            there.clinics[1].ask(opening.confirm_request(replace(state, survivors=(1, 2, 3, 4))))
        assert there.clinics[1].ask(opening.confirm_request(state)) == first

    def test_two_halves_told_two_sets(self):
        there = federation(10, colluders=3)
        state = uploaded(there)
        ours, theirs = replace(state, survivors=tuple(range(1, 10))), replace(state, survivors=tuple(range(2, 11)))
        ours, theirs = signed_by(ours, there, [1, 2, 3, 4, 5]), signed_by(theirs, there, [6, 7, 8, 9])
        mixed = replace(ours, confirmed={**ours.confirmed, **theirs.confirmed})
        for request in (ours, mixed):
            with refused(Attack.NO_QUORUM):
                there.clinics[1].ask(opening.reveal_request(request))
        with refused(Attack.NO_QUORUM):
            there.clinics[6].ask(opening.reveal_request(theirs))

    def test_one_signature_many_times(self):
        there = federation(5)
        state = signed_by(uploaded(there), there, [1])
        many = RevealRequest(state.header.encode(), state.survivors or (), ((1, state.confirmed[1]),) * 5)
        with refused(Attack.NO_QUORUM):
            there.clinics[1].ask(many.encode())

    @pytest.mark.parametrize("index", [0, 6, 4096])
    def test_signatures_of_nobody(self, index):
        there = federation(5)
        state = signed_by(uploaded(there), there, [1, 2, 3])
        more = (*sorted(state.confirmed.items()), (index, Confirmed(bytes(32), bytes(64))))
        with refused(Attack.NO_QUORUM):
            there.clinics[1].ask(RevealRequest(state.header.encode(), state.survivors or (), more).encode())

    def test_another_audit_head_under_a_signature(self):
        there = federation(5)
        state = signed_by(uploaded(there), there, [1, 2, 3, 4])
        forged = {index: replace(each, head=b"x" * 32) for index, each in state.confirmed.items()}
        with refused(Attack.NO_QUORUM):
            there.clinics[1].ask(opening.reveal_request(replace(state, confirmed=forged)))

    @pytest.mark.parametrize(("colluders", "cohort"), [(3, 6), (1, 10)], ids=["two honest", "half of the cohort"])
    def test_a_small_sum(self, colluders, cohort):
        """Of four, where colluders and two more are five; and where five are half of those that were asked."""
        there = federation(10, colluders=colluders)
        header, enough = there.header(cohort=range(1, cohort + 1)).encode(), (1, 2, 3, 4, 5)
        there.clinics[1].upload(header, random_lanes(1))
        with refused(Attack.SMALL_SUM):
            there.clinics[1].ask(ConfirmRequest(header, enough[:4]).encode())
        there.clinics[1].ask(ConfirmRequest(header, enough).encode())

    def test_of_three_clinics_two(self):
        there = federation(3)
        state = uploaded(there)
        with refused(Attack.SMALL_SUM):
            there.clinics[1].ask(opening.confirm_request(replace(state, survivors=(1, 2))))

    def test_a_survivor_that_sent_nothing(self):
        there = federation(5)
        state = uploaded(there, who=[1, 2, 3, 4])
        with refused(Attack.FALSE_SURVIVORS):
            there.clinics[5].ask(opening.confirm_request(replace(state, survivors=(1, 2, 3, 4, 5))))

    def test_survivors_from_outside_the_cohort(self):
        there = federation(6)
        header = there.header(cohort=[1, 2, 3, 4])
        with refused(Attack.FALSE_SURVIVORS):
            there.clinics[6].ask(ConfirmRequest(header.encode(), (1, 2, 3, 5)).encode())

    def test_revealing_what_was_never_confirmed(self):
        there = federation(5)
        state = signed_by(uploaded(there), there, [1, 2, 3, 4])
        with refused(Attack.EQUIVOCATION):
            there.clinics[5].ask(opening.reveal_request(state))

    def test_a_cut_ring(self):
        """Beyond 128 members: the neighbours of a victim, all told to be gone, would leave its update alone."""
        there = federation(150, rounds=1, dropouts=10)
        victim = there.agreed.graph.order[0]
        alive = sorted(set(there.clinics) - set(there.agreed.graph.neighbours(victim)))
        assert len(alive) >= there.terms.least_survivors(150)
        header = there.header()
        there.clinics[victim].upload(header.encode(), random_lanes(1))
        with refused(Attack.CUT_GRAPH):
            there.clinics[victim].ask(ConfirmRequest(header.encode(), tuple(alive)).encode())

    @pytest.mark.parametrize("change", [{"cohort": (1, 2, 3, 4)}, {"layout": sha256(b"x")}, {"lanes": 65}, {"purpose": 2}])
    def test_signing_for_a_round_that_was_given_otherwise(self, change):
        there = federation(5)
        state = signed_by(uploaded(there), there, [1, 2, 3, 4])
        other = replace(state, header=replace(state.header, **change), survivors=(1, 2, 3, 4))
        for request in (opening.confirm_request(other), opening.reveal_request(other)):
            with refused(Attack.OTHER_ROUND):
                there.clinics[1].ask(request)

    def test_a_helper_outside_the_cohort_signs_and_reveals(self):
        there = federation(5)
        header, values = there.header(cohort=[1, 2, 3, 4]), {index: random_lanes(index) for index in (1, 2, 3, 4)}
        played = play(there, values, header, gone_before_confirm=[4])
        assert np.array_equal(played.total, np.sum(list(values.values()), 0, np.uint32))
        assert len(played.state.revealed[5]) == 4  # one share a member of the cohort, and none of its own secrets

    def test_a_cohort_beyond_the_roster(self):
        there = federation(5)
        with refused(Attack.OTHER_ROUND):
            there.clinics[5].ask(ConfirmRequest(there.header(cohort=[1, 2, 3, 6]).encode(), (1, 2, 3)).encode())

    def test_no_signatures_are_asked_for_where_they_count_for_nothing(self):
        there = federation(5, policy={"modes": ("malicious", "hbc")}, mode="hbc")
        with refused(Attack.OUT_OF_TURN):
            there.clinics[1].ask(opening.confirm_request(uploaded(there)))


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


class TestSetUp:
    def test_a_sybil_in_the_roster(self):
        terms = terms_for(5)
        stranger = replace(terms, roster=tuple(sorted((*terms.roster, signer(99).fingerprint))))
        with refused(Attack.SYBIL):
            clinics_for(terms)[1].ask(SetupRequest(ADVERT, stranger.encode()).encode())

    @pytest.mark.parametrize(
        ("policy", "terms"),
        [({"least_members": 6}, {}), ({"least_survivors": 4}, {}), ({}, {"mode": "hbc"}), ({}, {"federation": "other"})],
    )
    def test_terms_below_the_clinics_own(self, policy, terms):
        there = clinics_for(terms_for(5), **policy)
        with refused(Attack.STRANGE_TERMS):
            there[1].ask(SetupRequest(ADVERT, replace(terms_for(5), **terms).encode()).encode())

    def test_fewer_colluders_than_are_reckoned_with(self):
        with refused(Attack.STRANGE_TERMS):
            terms_for(20, colluders=1)

    def test_an_epoch_twice(self):
        there = federation(4)
        with refused(Attack.REPLAYED_EPOCH):
            there.clinics[1].ask(SetupRequest(ADVERT, there.terms.encode()).encode())

    @pytest.mark.parametrize("whose", [1, 2])
    def test_a_swapped_key(self, whose):
        def twist(phase, index, request):
            if phase is not convening.Phase.SHARES or index != 1:
                return request
            asked = SharesRequest.decode(request)
            adverts = list(asked.adverts)
            adverts[whose - 1] = replace(adverts[whose - 1], mail=b"m" * 32)
            return replace(asked, adverts=tuple(adverts)).encode()

        terms = terms_for(4)
        with refused(Attack.SWAPPED_KEY):
            set_up(terms, clinics_for(terms), twist)

    def test_swapped_round_keys(self):
        def twist(phase, index, request):
            if phase is not convening.Phase.SHARES:
                return request
            asked = SharesRequest.decode(request)
            return replace(asked, keys=(b"k" * len(asked.keys[0]), *asked.keys[1:])).encode()

        terms = terms_for(4)
        with refused(Attack.SWAPPED_KEY):
            set_up(terms, clinics_for(terms), twist)

    def test_an_old_advert_of_ones_own(self):
        old = federation(4)

        def twist(phase, index, request):
            if phase is not convening.Phase.SHARES or index != 1:
                return request
            asked = SharesRequest.decode(request)
            return replace(asked, adverts=(replace(asked.adverts[0], nonce=bytes(32)), *asked.adverts[1:])).encode()

        terms = replace(old.terms, epoch=2)
        with refused(Attack.SWAPPED_KEY):
            set_up(terms, old.clinics, twist)

    @pytest.mark.parametrize("changes", [{"run": "other"}, {"epoch": 2}])
    def test_mail_of_another_run_or_epoch(self, changes):
        mail = {}

        def keep(phase, index, request):
            if phase is convening.Phase.STORE:
                mail[index] = Mail.decode(request, STORE)
            return request

        def replay(phase, index, request):
            return mail[index].encode() if phase is convening.Phase.STORE else request

        terms = terms_for(4)
        set_up(terms, clinics_for(terms), keep)
        other = replace(terms, **changes)
        with refused(Attack.FOREIGN_SHARES):
            set_up(other, clinics_for(other), replay)

    def test_a_nonce_chosen_after_the_others(self):
        """A center that may try nonces until the ring suits it would choose its victim's neighbours."""

        def twist(phase, index, request):
            if phase is not convening.Phase.ADVERT:
                return request
            asked = SetupRequest.decode(request, ADVERT)
            return replace(asked, commitments=asked.commitments[:-1]).encode()

        terms = terms_for(130, rounds=1)
        with refused(Attack.LATE_NONCE):
            set_up(terms, clinics_for(terms), twist)

    def test_too_many_colluders_for_any_roster(self):
        with refused(Attack.STRANGE_TERMS):
            terms_for(9, colluders=3)
        assert parameters.least_colluders(9) == 1
