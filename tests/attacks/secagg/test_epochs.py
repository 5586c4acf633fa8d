"""What a lying center may propose, and swap in the requests of a set-up."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fedmed.privacy.secagg import convening, parameters
from fedmed.privacy.secagg.attacks import Attack
from fedmed.privacy.secagg.epoch_messages import ADVERT, STORE, Mail, SetupRequest, SharesRequest
from tests.attacks.secagg.lies import refused
from tests.privacy.secagg.federation import (
    clinics_for,
    federation,
    set_up,
    signer,
    terms_for,
)


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
