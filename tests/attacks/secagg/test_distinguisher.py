"""Center and c colluders against a simulator that knows nothing but the sum over the honest.

The view of an honest clinic's vector, once everything that was opened and all the colluders' secrets are taken off, is its
input plus the masks that honest clinics share. The simulator draws vectors evenly under the one condition that they sum to
what the honest inputs sum to. A distinguisher sees the honest vectors of either and guesses which. Where one honest clinic
is late, its key is opened: all that it shares comes off everywhere, and its vector is to be noise that stands alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest

from fedmed.privacy.secagg import masks
from fedmed.privacy.secagg.client import Began
from fedmed.privacy.secagg.masks import Stream
from fedmed.privacy.secagg.schedule import pair_seed
from fedmed.privacy.secagg.taking_part import Given
from tests.privacy.secagg.federation import LAYOUT, MODEL, Federation, federation, random_lanes

GAMES, LANES = 200, 32
BOUND = 5 * 0.5 / math.sqrt(GAMES)  # five deviations of a fair coin thrown as often: 6e-7 of all runs are beyond


@dataclass(frozen=True)
class World:
    """A roster whose first members collude, and whose last is late where `late` is set; a mask is left out as a bug."""

    members: int
    colluders: int
    late: bool = False
    bug: str = ""

    @property
    def bad(self) -> range:
        return range(1, self.colluders + 1)

    @property
    def gone(self) -> list[int]:
        return [self.members] if self.late else []

    @property
    def honest(self) -> range:
        return range(self.colluders + 1, self.members + 1)


@dataclass(frozen=True)
class Begun:
    """A round of one roster, begun; which world it is, the view decides."""

    there: Federation
    keys: dict[int, bytes]
    streams: dict[int, tuple[Stream, ...]]
    """By clinic: its own mask, then those that it shares."""


@cache
def begun(members: int, colluders: int, game: int) -> Begun:
    there = federation(members, seed=game, rounds=1, colluders=colluders)
    header = there.header(lanes=LANES).encode()
    keys = {index: clinic.state.epoch.secrets[1].key for index, clinic in there.clinics.items()}
    streams = {}
    for index in range(colluders + 1, members + 1):
        (mask,) = there.clinics[index].tell(Began(Given(header, 1, MODEL, LAYOUT, LANES, 32)))
        streams[index] = tuple(mask.streams)
    return Begun(there, keys, streams)


def real(world: World, game: Begun, values: dict[int, np.ndarray]) -> np.ndarray:
    """The honest clinics' vectors as they are sent, without all that the center and the colluders can take off."""
    there, keys = game.there, {index: game.keys[index] for index in (*world.bad, *world.gone)}
    rows = []
    for index in world.honest:
        own, *shared = game.streams[index]
        sent = {"": [own, *shared], "own mask": shared, "every mask": [own]}[world.bug]
        known = [] if index in world.gone or world.bug == "own mask" else [Stream(own.seed, -1)]
        if world.bug != "every mask":
            known += [
                pair_of(there, keys, index, other)
                for other in there.clinics
                if other != index and {index, other} & set(keys)
            ]
        lanes = values[index].copy()
        masks.apply(lanes, [*sent, *known])
        rows.append(lanes)
    return np.stack(rows)


def pair_of(there: Federation, keys: dict[int, bytes], index: int, other: int) -> Stream:
    """The mask that two share, from whichever key is known, to be taken off the first one's vector."""
    one, two = (other, index) if other in keys else (index, other)
    digest = there.clinics[index].state.epoch.current.digest
    return Stream(pair_seed(keys[one], there.agreed.key_for(two, 1), digest, one, two), -1 if index < other else 1)


def ideal(world: World, total: np.ndarray, seed: int) -> np.ndarray:
    rows = np.stack([random_lanes(10_000 * seed + row, LANES) for row in range(len(world.honest))])
    last = len(rows) - len(world.gone)
    rows[last - 1] = total - rows[: last - 1].sum(0, dtype=np.uint32)
    return rows


def statistics(view: np.ndarray) -> np.ndarray:
    """What small inputs would show in all vectors or in the last: high bytes, sizes, likeness of neighbours, bits."""
    signed = np.abs(view.view(np.int32).astype(float))
    found = [
        (view >> np.uint32(24)).mean(),
        np.log1p(signed).mean(),
        np.log1p(signed).min(),
        np.log1p(signed[-1]).mean(),
        np.abs(np.diff(view.astype(np.int64), axis=1)).mean(),
        (view < 2**20).mean(),
        np.unpackbits(view.view(np.uint8)).mean(),
    ]
    return np.array(found)


def accuracy(world: World) -> float:
    """Of a nearest-mean guess learned on half of the games, on the other half: as many guesses as games."""
    worlds: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    alive = len(world.honest) - len(world.gone)
    for game in range(GAMES):
        there = begun(world.members, world.colluders, game)
        values = {index: random_lanes(game * 50 + index, LANES) >> np.uint32(14) for index in there.there.clinics}
        view = real(world, there, values)
        total = np.sum([values[index] for index in world.honest[:alive]], 0, dtype=np.uint32)
        assert np.array_equal(view[:alive].sum(0, dtype=np.uint32), total)  # all that both worlds have in common
        worlds[0].append(statistics(view))
        worlds[1].append(statistics(ideal(world, total, game)))
    seen = [np.stack(each) for each in worlds]
    half, scale = GAMES // 2, np.concatenate(seen).std(0) + 1e-9
    means = [each[:half].mean(0) for each in seen]
    right = 0
    for truth, each in enumerate(seen):
        apart = [(((each[half:] - mean) / scale) ** 2).sum(1) for mean in means]
        right += int((np.argmin(apart, 0) == truth).sum())
    return right / GAMES


LARGER = pytest.param(World(10, 3, late=True), marks=pytest.mark.nightly)


@pytest.mark.parametrize("world", [World(5, 1), World(5, 1, late=True), LARGER], ids=str)
def test_the_views_are_not_told_apart(world):
    assert abs(accuracy(world) - 0.5) < BOUND


@pytest.mark.parametrize("world", [World(5, 1, bug="every mask"), World(5, 1, late=True, bug="own mask")], ids=str)
def test_a_mask_left_out_is_told_apart(world):
    """Without its own mask a late clinic's vector is open, once its key is: the reason for masking twice."""
    assert accuracy(world) > 0.95
