"""Seeds played one after the other, and what breaks an invariant cut down to the faults that it takes."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from fedmed.errors import FedmedError
from fedmed.twin.search.faults import Plan, plan
from fedmed.twin.search.watching import STANDS, Broken
from fedmed.twin.search.world import World

MEMORY = Path("/dev/shm")
BATCH = 25
"""Seeds that a process plays between two words about it."""


@dataclass(frozen=True)
class Played:
    """How one plan went."""

    invariant: str | None
    """The one that does not hold; None where all do."""
    detail: str
    trace: tuple[str, ...]

    @property
    def digest(self) -> str:
        """SHA-256 of the trace: the same for the same seed."""
        return hashlib.sha256("\n".join(self.trace).encode()).hexdigest()


@dataclass(frozen=True)
class Finding:
    """A seed that breaks an invariant."""

    seed: int
    invariant: str
    detail: str
    trace: tuple[str, ...]
    """Of the fewest faults that break the same invariant."""
    faults: tuple[str, ...]
    """Those faults."""
    left_out: int
    """Faults of the seed that it does not take."""


def played(asked: Plan) -> Played:
    """Play a plan in a folder of its own, in memory where the system has such a place."""
    with tempfile.TemporaryDirectory(prefix="fedmed-search-", dir=MEMORY if MEMORY.is_dir() else None) as folder:
        world = None
        try:
            world = World(asked, Path(folder))
            world.play()
            invariant, detail = None, ""
        except Broken as error:
            invariant, detail = error.invariant, error.detail
        except FedmedError as error:
            invariant, detail = STANDS, f"{type(error).__name__}: {error}".replace(folder, "")
        return Played(invariant, detail, tuple(world.trace) if world is not None else ())


def sought(seed: int) -> Finding | None:
    """What a seed finds, with its shortest trace."""
    whole = plan(seed)
    found = played(whole)
    if found.invariant is None:
        return None
    least, shortest = _least(whole, found)
    return Finding(
        seed,
        found.invariant,
        shortest.detail,
        shortest.trace,
        tuple(map(str, least.faults)),
        len(whole.faults) - len(least.faults),
    )


def _least(whole: Plan, found: Played) -> tuple[Plan, Played]:
    """Leave out one fault after the other for as long as the same invariant breaks."""
    for fault in whole.faults:
        fewer = whole.without(fault)
        again = played(fewer)
        if again.invariant == found.invariant:
            whole, found = fewer, again
    return whole, found


def search(seeds: range, jobs: int = 1) -> Iterator[tuple[int, list[Finding]]]:
    """How many more seeds were played, and what they found, as it comes."""
    batches = [seeds[first : first + BATCH] for first in range(0, len(seeds), BATCH)]
    if jobs == 1:
        yield from map(_batch, batches)
        return
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        for done in as_completed([pool.submit(_batch, each) for each in batches]):
            yield done.result()


def _batch(seeds: Iterable[int]) -> tuple[int, list[Finding]]:
    found = [(seed, sought(seed)) for seed in seeds]
    return len(found), [each for _, each in found if each is not None]
