from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.errors import ProtocolRefused
from fedmed.privacy.secagg import opening, questions
from fedmed.twin.masked.center import Gathered, convene
from fedmed.twin.masked.players import Answers, Handed, Upload, given_for
from tests.twin.masked.crowds import crowd, layout_for, plain_sum, update


@settings(max_examples=25, deadline=None)
@given(st.integers(3, 14), st.integers(1, 4), st.data())
def test_sums_are_exact_whoever_is_away_and_when(members, workers, data):
    there = crowd(members, workers, rounds=2)
    terms = there.terms
    roster = list(range(1, members + 1))
    few = st.sets(st.sampled_from(roster), max_size=members - max(terms.quorum, terms.least_survivors(members)))
    for number in (1, 2):
        before, revealing = (frozenset(data.draw(few)) for _ in range(2))
        confirming = frozenset(each for each in revealing if data.draw(st.booleans()))  # who did not confirm does not reveal
        if data.draw(st.booleans()):
            for worker in there.workers:
                worker.prepare([number])
        gathered = there.gathered(there.header(number), before)
        phases = iter((confirming, revealing))
        total = gathered.open(lambda requests, left=phases: there.ask(next(left))(requests))
        alive = set(roster) - before
        assert np.array_equal(total.lanes, plain_sum(members, alive))
        assert total.clients == len(alive)
        assert total.count(questions.WEIGHT) == sum(update(each)[1] for each in alive)


def test_a_ring_of_more_than_128_members():
    there = crowd(150, rounds=1)
    away = frozenset((5, 77))
    for worker in there.workers:
        worker.prepare([1], [each for each in range(1, 151) if each != 9])  # 9 was not foreseen
    total = there.gathered(there.header(1), away).open(there.ask(away))
    assert np.array_equal(total.lanes, plain_sum(150, set(range(1, 151)) - away))


def test_a_cohort_of_the_roster():
    there = crowd(9)
    total = there.gathered(there.header(1, (2, 3, 5, 7, 8, 9))).open(there.ask())
    assert np.array_equal(total.lanes, plain_sum(9, {2, 3, 5, 7, 8, 9}))


def test_without_a_quorum_nothing_is_opened():
    there = crowd(7, rounds=2)
    gathered = there.gathered(there.header(1))
    with pytest.raises(ProtocolRefused, match="confirmed who is in it"):
        gathered.open(there.ask(frozenset(range(1, 5))))
    phases = iter((frozenset[int](), frozenset(range(1, 6))))
    gathered = there.gathered(there.header(2))
    with pytest.raises(ProtocolRefused, match="too few to open"):
        gathered.open(lambda requests: there.ask(next(phases))(requests))


def test_too_few_uploads_are_not_opened():
    there = crowd(7)
    with pytest.raises(ProtocolRefused, match="sum over too few"):
        there.gathered(there.header(1), frozenset(range(2, 8))).open(there.ask())


def test_a_changed_vector_takes_its_part_with_it():
    there = crowd(5, workers=1)
    header, layout = there.header(1), layout_for(5)
    handed = Handed(layout.zeros(), {1: Upload(b"no envelope", bytes(32))})
    gathered = Gathered(there.agreed, header, layout)
    with pytest.raises(ProtocolRefused):
        gathered.take(handed)
    with pytest.raises(ProtocolRefused, match="allowed: uint32"):
        gathered.take(Handed(np.zeros(3, np.uint32), {}))


def test_a_lost_member_s_vector_under_another_s_name_is_refused():
    there = crowd(5, workers=1)
    header, layout = there.header(1), layout_for(5)
    (worker,) = there.workers
    part = worker.round(given_for(header), layout)
    part.add(1, *update(1))
    handed = part.handed()
    with pytest.raises(ProtocolRefused, match="not signed by it"):
        Gathered(there.agreed, header, layout).take(Handed(handed.total, {2: handed.uploads[1]}))


def test_an_answer_that_is_none_is_left_out():
    there = crowd(5)

    def liar(requests):
        yield Answers({1: b"nonsense"})
        yield from there.ask(frozenset({1}))(requests)

    total = there.gathered(there.header(1)).open(liar)
    assert np.array_equal(total.lanes, plain_sum(5, set(range(1, 6))))


def test_an_answer_that_its_member_did_not_sign_is_left_out():
    there = crowd(9)

    def forged(requests):
        for answers in there.ask()(requests):
            said = {
                each: answer[:-1] + bytes([answer[-1] ^ 1]) if each in (2, 3) else answer
                for each, answer in answers.said.items()
            }
            yield Answers(said, answers.refused)

    gathered = there.gathered(there.header(1))
    total = gathered.open(forged)
    assert np.array_equal(total.lanes, plain_sum(9, set(range(1, 10))))
    state = opening.close(gathered._state)
    (asked,) = (each for each in there.ask()({1: opening.confirm_request(state)}) if each.said)
    forgery = asked.said[1][:-1] + bytes([asked.said[1][-1] ^ 1])
    assert set(opening.confirm_all(state, {1: forgery, 2: b"nonsense"}).confirmed) == set()
    assert set(opening.confirm_all(state, {1: asked.said[1], 2: forgery}).confirmed) == {1}
    with pytest.raises(ProtocolRefused, match="did not sign"):
        opening.confirm(state, 1, forgery)


def test_a_refusal_or_a_silence_is_no_epoch():
    there = crowd(5)
    keys = there.agreed.keys
    with pytest.raises(ProtocolRefused, match=r"refuses the epoch.*epoch used before"):
        convene(there.terms, keys, there.ask())
    with pytest.raises(ProtocolRefused, match="have not answered"):
        convene(there.terms, keys, lambda requests: [])
