"""What a lying center gets of a clinic that it leaves out, and that adds its update to the next one: nothing but sums."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from fedmed.privacy.secagg import masks, opening
from fedmed.privacy.secagg.attacks import Attack
from fedmed.privacy.secagg.masks import Stream
from fedmed.privacy.secagg.recovery import Dealt, recover
from fedmed.privacy.secagg.round_messages import Confirmed, RevealRequest
from fedmed.privacy.secagg.schedule import pair_seed, public_of, self_seed
from tests.attacks.secagg.lies import refused
from tests.attacks.secagg.test_statistics import LIMIT, byte_deviation, correlation
from tests.outbound.gates import Gates, opened, step_of

LATE, WIDE = 4, (1 << 14,)


@pytest.fixture
def there(tmp_path) -> Gates:
    return Gates(tmp_path)


def left_out(there: Gates, number: int = 1) -> opening.Opening:
    state, _, _ = there.uploads(number, late=[LATE])
    return there.confirmed(state)


def test_left_out_again_and_again_no_sum_holds_more_than_two_of_its_updates(there):
    """Else its part of a sum would grow with every round that it is left out of, until it drowns all others'."""
    for number in (1, 2, 3):
        assert opened(there.round(number, late=[LATE])) == there.tensors(*there.everybody(number, without=[LATE]))
    assert opened(there.round(4)) == there.tensors(*there.everybody(4), (3, LATE))
    (told,) = there.told[LATE]
    assert "it holds an earlier one already" in told


def test_a_reveal_that_is_replayed_adds_it_once(there):
    state = left_out(there)
    request = opening.reveal_request(there.revealed(state, [1, 2, 3]))
    assert there.gates[LATE].answer(request) == there.gates[LATE].answer(request)
    assert opened(there.round(2)) == there.tensors(*there.everybody(2), (1, LATE))
    with refused(Attack.REPLAYED_ROUND):
        there.gates[LATE].answer(request)
    assert opened(there.round(3)) == there.tensors(*there.everybody(3))


@pytest.mark.parametrize("mode", ["malicious", "hbc"])
def test_another_survivor_set_is_not_believed_once_one_was(tmp_path, mode):
    there = Gates(tmp_path, count=5, mode=mode)
    state = left_out(there)
    there.revealed(state, [LATE])
    for survivors in ((1, 2, 3, LATE, 5), (1, 2, 3)):
        with refused(Attack.EQUIVOCATION):
            there.gates[LATE].answer(replace(asked_of(state), survivors=survivors).encode())
    assert opened(there.round(2)) == there.tensors(*there.everybody(2), (1, LATE))


def asked_of(state: opening.Opening) -> RevealRequest:
    return RevealRequest.decode(opening.reveal_request(state))


def test_without_a_quorum_that_leaves_it_out_it_keeps_nothing(there):
    """A center that has its update opened by the others, and tells it alone that it was not, would have it twice."""
    state = left_out(there)
    (index, one), *_ = asked_of(state).confirmed
    forged = tuple((each, Confirmed(one.head, bytes(64))) for each in (1, 2, 3, LATE))
    for confirmed in (((index, one),), forged, ((index, one), *forged[1:])):
        with refused(Attack.NO_QUORUM):
            there.gates[LATE].answer(replace(asked_of(state), confirmed=confirmed).encode())
    assert opened(there.round(2)) == there.tensors(*there.everybody(2))


def test_the_two_vectors_that_it_is_in_have_nothing_in_common(tmp_path):
    """All that the center can take off the first one is off, and the sum of the second is open."""
    there = Gates(tmp_path, shape=WIDE, step=partial(step_of, shape=WIDE))
    state, _, sent = there.uploads(1, late=[LATE])
    own = there.boxes[LATE]._state.epoch.secrets[1].own
    state = there.revealed(there.confirmed(state), there.members)
    stripped, first = sent[LATE].vector.copy(), there.plain(1, LATE)
    masks.apply(stripped, shared_masks(there, state))
    bare = stripped.copy()
    masks.apply(bare, [Stream(self_seed(own, state.digest, LATE), -1)])
    assert np.array_equal(bare, first), "nothing but its own mask, of which no share is ever told, is left on it"
    second, total, vectors = there.uploads(2)
    second = there.revealed(there.confirmed(second), there.members)
    masks.apply(total, opening.open_sum(second).streams)
    lanes = there.layout.parameters
    expected = sum((there.plain(2, index) for index in there.members), np.zeros_like(first))
    assert np.array_equal(total[:lanes], (expected + first)[:lanes]), "it is in the second sum"
    seen = (stripped, sent[LATE].vector, vectors[LATE].vector)
    for one, other in ((0, 2), (1, 2)):
        assert abs(correlation(seen[one], seen[other])) < LIMIT
        assert abs(byte_deviation(seen[other] - seen[one])) < LIMIT
    for each in seen:
        assert abs(byte_deviation(each - first)) < LIMIT
        assert abs(correlation(each, total)) < LIMIT
        assert (each == first).sum() <= 3


def shared_masks(there: Gates, state: opening.Opening) -> list[Stream]:
    """Those of the late clinic with the others: its key of the round was revealed."""
    public = there.agreed.key_for(LATE, 1)
    shares = Dealt(LATE, {holder: found[LATE] for holder, found in state.revealed.items()})
    threshold, colluders = there.terms.design.threshold, there.terms.colluders
    key, _ = recover(shares, threshold, lambda found: public_of(found) == public, colluders)
    return [Stream(pair_seed(key, there.agreed.key_for(other, 1), state.digest, LATE, other), 1) for other in (1, 2, 3)]
