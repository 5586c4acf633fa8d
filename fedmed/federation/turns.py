"""Whose images lie otherwise than those of the other sites: sideways, upside down, mirrored, or as negatives.

A site is suspected where undoing a turn would bring its images nearer to the others' than chance explains. The plainest case
is settled first and counts as undone from then on, so that one wrong site does not make the right ones look wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from fedmed.federation.likeness import (
    Floats,
    Pool,
    Share,
    brightness,
    cells_apart,
    chance,
    directions,
    total_variation,
)
from fedmed.preprocess.fingerprint import DIRECTIONS, Statistics

WARNS, REFUSES = 0.03, 0.10
BY_CHANCE, EDGES_BY_CHANCE = 0.5, 1.0  # deviations of a share that the maps, and the edges, may differ by


@dataclass(frozen=True)
class Turn:
    """What may have befallen all images of a site; undone by the same or the opposite."""

    done: str
    """Said of the images."""
    undo: Callable[[Floats], Floats]
    """On the map."""
    sideways: bool = False
    """Whether changes across become changes down."""


TURNS = (
    Turn("lie sideways (turned by 90 degrees to the right)", lambda cells: np.rot90(cells), True),
    Turn("lie sideways (turned by 90 degrees to the left)", lambda cells: np.rot90(cells, -1), True),
    Turn("lie sideways (with rows and columns exchanged)", np.transpose, True),
    Turn("lie sideways (with rows and columns exchanged, upside down)", lambda cells: np.rot90(cells, 2).T, True),
    Turn("are turned by 180 degrees", lambda cells: np.rot90(cells, 2)),
    Turn("are mirrored left to right", np.fliplr),
    Turn("are mirrored top to bottom", np.flipud),
    Turn("have bright and dark exchanged", lambda cells: 1 - cells),
)


@dataclass(frozen=True)
class Look:
    """How a site's images lie, as far as it tells."""

    cells: Share
    edges: Share | None

    def undone(self, turn: Turn) -> Look:
        """As it would be without `turn`."""
        edges = self.edges
        if turn.sideways and edges is not None:
            edges = replace(edges, values=np.roll(edges.values, DIRECTIONS // 2))
        return Look(replace(self.cells, values=turn.undo(self.cells.values)), edges)


@dataclass(frozen=True)
class Suspicion:
    """The turn that explains best how a site's images differ."""

    turn: Turn
    as_they_are: float
    undone: float
    """Distance to the others once the turn is undone."""
    allowed: float
    """Gain that chance may explain."""

    @property
    def gain(self) -> float:
        """How much nearer undoing it brings them."""
        return self.as_they_are - self.undone

    @property
    def beyond(self) -> float:
        """Gain that chance does not explain."""
        return self.gain - self.allowed


def look(statistics: Statistics) -> Look | None:
    """The look that the statistics tell of; None where they tell of none."""
    cells = brightness(statistics)
    return None if cells is None else Look(cells, directions(statistics))


def suspect(mine: Look, others: Look) -> Suspicion:
    """The best of `TURNS`. The distance is that of the maps; of a site on its side, with that of the edges added."""
    found = []
    for turn in TURNS:
        turned = mine.undone(turn)
        before, after = (cells_apart(each.cells.values, others.cells.values) for each in (mine, turned))
        allowed = BY_CHANCE * chance(mine.cells, others.cells)
        if turn.sideways and mine.edges is not None and turned.edges is not None and others.edges is not None:
            before += total_variation(mine.edges.values, others.edges.values)
            after += total_variation(turned.edges.values, others.edges.values)
            allowed += EDGES_BY_CHANCE * chance(mine.edges, others.edges)
        found.append(Suspicion(turn, before, after, allowed))
    return max(found, key=lambda each: each.beyond)


def suspects(looks: Mapping[str, Look]) -> dict[str, Suspicion]:
    """The sites whose images lie otherwise than most others', each with what explains it best."""
    settled: dict[str, Suspicion] = {}
    left = dict(looks)
    while len(left) > 1:
        others = pool(left)
        each = {name: suspect(mine, others(name)) for name, mine in left.items() if name not in settled}
        if not each:
            break
        name = max(each, key=lambda name: (each[name].beyond, name))
        if each[name].beyond <= WARNS:
            break
        settled[name] = each[name]
        left[name] = left[name].undone(each[name].turn)
    return settled


def pool(looks: Mapping[str, Look]) -> Callable[[str], Look]:
    """How the images of all sites but the named one lie, taken together; there are at least two."""
    cells = Pool({name: each.cells for name, each in looks.items()})
    edges = Pool({name: each.edges for name, each in looks.items()})

    def others(name: str) -> Look:
        mean = cells.without(name)
        assert mean is not None
        return Look(mean, edges.without(name))

    return others
