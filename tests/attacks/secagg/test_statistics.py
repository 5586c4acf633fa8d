"""What a masked vector, an excluded one and the sum of an inconsistent model tell: nothing.

False alarms: every battery of this file is met by chance less than once in 10^6 runs, and its seeds are fixed.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from fedmed.privacy.secagg import masks, opening
from fedmed.privacy.secagg.attacks import Attack, Refused
from fedmed.privacy.secagg.client import Began
from fedmed.privacy.secagg.encoding import sha256
from fedmed.privacy.secagg.masks import Stream
from fedmed.privacy.secagg.recovery import Dealt, recover
from fedmed.privacy.secagg.round_messages import Uploaded
from fedmed.privacy.secagg.schedule import pair_seed, public_of, round_digest, self_seed, vector_digest
from fedmed.privacy.secagg.taking_part import Given
from tests.privacy.secagg.federation import LAYOUT, MODEL, Federation, federation, random_lanes

SIZE, SEEDS = 1 << 14, 100
LIMIT = 6.2  # deviations: 300 tests of 100 seeds are all within it but for 2e-7 (normal tail, Bonferroni)


def masked_zeros(there: Federation, number: int) -> dict[int, np.ndarray]:
    header = there.header(number, lanes=SIZE).encode()
    found = {}
    for index, clinic in there.clinics.items():
        (mask,) = clinic.tell(Began(Given(header, 1, MODEL, LAYOUT, SIZE, 32)))
        found[index] = masks.expand(SIZE, np.uint32, mask.streams)
    return found


def byte_deviation(lanes: np.ndarray) -> float:
    """Chi-square of the bytes' counts against even ones (255 degrees of freedom), in deviations."""
    data = lanes.view(np.uint8)
    counts, expected = np.bincount(data, minlength=256), data.size / 256
    return (((counts - expected) ** 2 / expected).sum() - 255) / math.sqrt(510)


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """In deviations of a correlation that is none."""
    return float(np.corrcoef(one.astype(float), other.astype(float))[0, 1]) * math.sqrt(len(one))


@pytest.fixture(scope="module")
def vectors() -> list[dict[int, np.ndarray]]:
    """Masked zeros of all clinics, of 100 rounds in as many keys."""
    return [masked_zeros(federation(4, seed=seed, rounds=1), 1) for seed in range(SEEDS)]


def test_masked_zeros_are_even_bytes(vectors):
    assert max(abs(byte_deviation(each[1])) for each in vectors) < LIMIT


def test_masked_zeros_do_not_tell_the_next_lane(vectors):
    assert max(abs(correlation(each[1][:-1], each[1][1:])) for each in vectors) < LIMIT


def test_two_clinics_vectors_have_nothing_in_common(vectors):
    assert max(abs(correlation(each[1], each[2])) for each in vectors) < LIMIT


def test_together_they_are_nothing_but_the_own_masks(vectors):
    """Pairwise masks cancel, the own ones do not: the sum before anything is opened is as even as one vector."""
    assert max(abs(byte_deviation(sum(each.values()))) for each in vectors) < LIMIT


def test_the_battery_sees_a_mask_that_is_none():
    assert abs(byte_deviation(random_lanes(1, SIZE) >> np.uint32(1))) > LIMIT


def test_a_clinic_that_is_left_out_stays_hidden():
    """Its key is opened, all masks shared with others come off, and its own one stays: even bytes, no lane known."""
    there = federation(5)
    header = there.header(lanes=SIZE)
    secret = np.zeros(SIZE, np.uint32)
    state, late = opening.begin(there.agreed, header), None
    for index in there.clinics:
        envelope, masked = there.clinics[index].upload(header.encode(), secret)
        if index == 1:
            late = masked
        else:
            state = opening.take(state, index, envelope, vector_digest(masked))
    state = opening.close(state)
    assert late is not None
    for index in (2, 3, 4, 5):
        state = opening.confirm(state, index, there.clinics[index].ask(opening.confirm_request(state)))
    for index in (2, 3, 4, 5):
        state = opening.reveal(state, index, there.clinics[index].ask(opening.reveal_request(state)))
    public = there.agreed.key_for(1, 1)
    key, _ = recover(
        Dealt(1, {holder: found[1] for holder, found in state.revealed.items()}),
        there.terms.design.threshold,
        lambda found: public_of(found) == public,
        there.terms.colluders,
    )
    streams = [Stream(pair_seed(key, there.agreed.key_for(other, 1), state.digest, 1, other), -1) for other in (2, 3, 4, 5)]
    masks.apply(late, streams)
    assert abs(byte_deviation(late)) < LIMIT
    assert (late == 0).sum() <= 3


def test_a_clinic_given_another_model_makes_the_sum_noise():
    """Pasquini et al. 2022, against a center that opens all the same: it has every own mask, of either model, and no sum.

    The clinic signs nothing; the other four are a quorum, and name it a survivor as the center tells them.
    """
    there = federation(5, rounds=1)
    header, crafted = there.header(lanes=SIZE), replace(there.header(lanes=SIZE), model=sha256(b"crafted"))
    values = {index: random_lanes(index, SIZE) for index in there.clinics}
    state, total = opening.begin(there.agreed, header), np.zeros(SIZE, np.uint32)
    for index in (2, 3, 4, 5):
        envelope, masked = there.clinics[index].upload(header.encode(), values[index])
        state, total = opening.take(state, index, envelope, vector_digest(masked)), total + masked
    envelope, masked = there.clinics[1].upload(crafted.encode(), values[1], crafted.model)
    state = opening.close(replace(state, uploads={**state.uploads, 1: Uploaded.decode(envelope)}))
    for index in (2, 3, 4, 5):
        state = opening.confirm(state, index, there.clinics[index].ask(opening.confirm_request(state)))
    for request in (opening.confirm_request(state), opening.reveal_request(state)):
        with pytest.raises(Refused, check=lambda error: error.attack is Attack.OTHER_ROUND):
            there.clinics[1].ask(request)
    for index in (2, 3, 4, 5):
        state = opening.reveal(state, index, there.clinics[index].ask(opening.reveal_request(state)))
    shares = Dealt(1, {holder: found[1] for holder, found in state.revealed.items()})
    own, _ = recover(shares, there.terms.design.threshold, lambda found: True, there.terms.colluders)
    streams = opening.open_sum(state).streams[1:]  # without the first clinic's, which is of another digest
    digest = round_digest(there.agreed.transcript, crafted.encode())
    alone, whole = masked.copy(), total + masked
    masks.apply(alone, [Stream(self_seed(own, digest, 1), -1)])
    masks.apply(whole, [Stream(self_seed(own, digest, 1), -1), *streams])
    masks.apply(total, streams)
    sums = np.sum([values[index] for index in (2, 3, 4, 5)], 0, np.uint32)
    for seen, true in ((alone, values[1]), (whole, sums + values[1]), (total, sums)):
        assert abs(byte_deviation(seen - true)) < LIMIT
        assert (seen == true).sum() <= 3
