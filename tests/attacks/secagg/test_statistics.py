"""What a masked vector, an excluded one and the center's whole view tell: nothing but the sum.

False alarms: every battery of this file is met by chance less than once in 10^6 runs, and its seeds are fixed.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from fedmed.privacy.secagg import masks, opening
from fedmed.privacy.secagg.client import Began
from fedmed.privacy.secagg.masks import Stream
from fedmed.privacy.secagg.recovery import Dealt, recover
from fedmed.privacy.secagg.schedule import pair_seed, public_of, vector_digest
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


class TestRealAgainstIdeal:
    """Center and c colluders against a simulator that knows the sum over the honest alone.

    The view of an honest clinic's vector, once everything that was opened and all the colluders' secrets are taken off,
    is its input plus the masks that honest clinics share. The simulator draws vectors evenly under the one condition that
    they sum to what the honest inputs sum to. A distinguisher sees the honest vectors of either and guesses which.
    """

    GAMES = 200
    LANES = 32

    def stripped(self, there: Federation, values: dict[int, np.ndarray], colluders: set[int], leak: bool) -> np.ndarray:
        header = there.header(lanes=self.LANES)
        honest = [index for index in there.clinics if index not in colluders]
        secrets = {index: there.clinics[index].state.epoch.secrets[1] for index in colluders}
        rows = []
        for index in honest:
            clinic = there.clinics[index]
            (mask,) = clinic.tell(Began(Given(header.encode(), 1, MODEL, LAYOUT, self.LANES, 32)))
            lanes = values[index].copy()
            masks.apply(lanes, () if leak else mask.streams)
            own = mask.streams[0]  # opened: the clinic survived
            known = [] if leak else [Stream(own.seed, -1)]
            digest = clinic.state.epoch.current.digest
            for other in () if leak else sorted(colluders):
                seed = pair_seed(secrets[other].key, there.agreed.key_for(index, 1), digest, other, index)
                known.append(Stream(seed, -1 if index < other else 1))
            masks.apply(lanes, known)
            rows.append(lanes)
        return np.stack(rows)

    def simulated(self, total: np.ndarray, honest: int, seed: int) -> np.ndarray:
        rows = np.stack([random_lanes(10_000 * seed + row, self.LANES) for row in range(honest)])
        rows[-1] = total - rows[:-1].sum(0, dtype=np.uint32)
        return rows

    @staticmethod
    def statistics(view: np.ndarray) -> np.ndarray:
        """What small inputs would show: high bytes, sizes, likeness of neighbours, lanes that are zero."""
        signed = np.abs(view.view(np.int32).astype(float))
        return np.array(
            [
                (view >> np.uint32(24)).mean(),
                np.log1p(signed).mean(),
                np.log1p(signed).min(),
                np.abs(np.diff(view.astype(np.int64), axis=1)).mean(),
                (view < 2**20).mean(),
                np.unpackbits(view.view(np.uint8)).mean(),
            ]
        )

    def accuracy(self, members: int, colluders: int, leak: bool = False) -> float:
        """Of a nearest-mean guess learned on half of the games, on the other half."""
        worlds: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
        bad = set(range(1, colluders + 1))
        for game in range(self.GAMES):
            there = federation(members, seed=game, rounds=1, colluders=colluders)
            values = {index: random_lanes(game * 50 + index, self.LANES) >> np.uint32(14) for index in there.clinics}
            view = self.stripped(there, values, bad, leak)
            total = np.sum([values[index] for index in there.clinics if index not in bad], 0, dtype=np.uint32)
            assert np.array_equal(view.sum(0, dtype=np.uint32), total)  # the sum is all that both worlds have in common
            worlds[0].append(self.statistics(view))
            worlds[1].append(self.statistics(self.simulated(total, members - colluders, game)))
        real, ideal = (np.stack(each) for each in worlds)
        half, scale = self.GAMES // 2, np.concatenate([real, ideal]).std(0) + 1e-9
        means = [each[:half].mean(0) for each in (real, ideal)]
        right = 0
        for world, each in enumerate((real, ideal)):
            apart = [(((each[half:] - mean) / scale) ** 2).sum(1) for mean in means]
            right += int((np.argmin(apart, 0) == world).sum())
        return right / self.GAMES

    @pytest.mark.parametrize(("members", "colluders"), [(5, 1), (10, 3)])
    def test_the_views_are_not_told_apart(self, members, colluders):
        """Five deviations of a fair coin thrown 200 times."""
        assert abs(self.accuracy(members, colluders) - 0.5) < 5 * 0.5 / math.sqrt(self.GAMES)

    def test_a_missing_mask_is_told_apart(self):
        assert self.accuracy(5, 1, leak=True) > 0.95
