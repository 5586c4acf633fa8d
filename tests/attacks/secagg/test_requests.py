"""What a lying center may ask about survivors, and what it gets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fedmed.privacy.secagg import opening
from fedmed.privacy.secagg.attacks import Attack
from fedmed.privacy.secagg.encoding import sha256
from fedmed.privacy.secagg.round_messages import Confirmed, ConfirmRequest, Revealed, RevealRequest
from tests.attacks.secagg.lies import refused, signed_by, uploaded
from tests.privacy.secagg.federation import (
    federation,
    play,
    random_lanes,
)


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
