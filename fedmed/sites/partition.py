"""How the cases of one set become several sites; one patient's cases stay together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from fedmed.clock import derive_seed
from fedmed.config import members
from fedmed.config.scenario import Partition
from fedmed.config.topology import Topology
from fedmed.errors import ConfigError, DataError
from fedmed.sites.cases import SPLITS, Cases, case_labels, patient_rows

MAX_DRAWS = 100
MAX_NAME = 100

Rows = NDArray[np.int64]
# Patients by split and class: where a set has a split of its own, every site gets its share of each part.
Strata = dict[str, list[Rows]]


def partition(cases: Cases, how: Partition, seed: int, topology: Topology | None = None) -> dict[str, Cases]:
    """Sites by name, in order of first appearance (`natural`), of number or of `topology`; every case is in exactly one.

    A patient is in one site only, unless the set's own sites (`natural`) say otherwise. Under a split of its own, each
    part is dealt by the same proportions or shards, so that a site is tested on what it is trained on.

    Raises ConfigError where the partition cannot be made of these cases, DataError for unusable site names.
    """
    if how.by == "natural":
        return _natural(cases)
    rng = np.random.default_rng(derive_seed(seed, "partition") if how.seed is None else how.seed)
    patients = patient_rows(cases)
    strata = _strata(cases, patients)
    if how.by == "topology":
        whole = _given(topology)
        names = _members(whole, strata)
        owners = _quotas(strata, len(patients), members.cases(whole, seed), how.alpha, rng)
    else:
        names = _numbered(how, strata)
        owners = {"iid": _iid, "dirichlet": _dirichlet, "shards": _shards}[how.by](strata, len(patients), how, rng)
    return {name: cases.take(_rows(patients, np.flatnonzero(owners == number))) for number, name in enumerate(names)}


def _trainable(strata: Strata) -> int:
    return sum(len(units) for units in strata[next(iter(strata))])


def _numbered(how: Partition, strata: Strata) -> list[str]:
    needed = how.sites * (how.shards_per_site if how.by == "shards" else 1)
    if (trainable := _trainable(strata)) < needed:
        raise ConfigError(
            f"data.partition.sites is {how.sites}; {trainable} patients to train on cannot make {needed} non-empty "
            f"{'shards' if how.by == 'shards' else 'sites'}; ask for fewer"
        )
    width = max(2, len(str(how.sites)))
    return [f"site-{number + 1:0{width}d}" for number in range(how.sites)]


def _given(topology: Topology | None) -> Topology:
    if topology is None:
        raise ConfigError("data.partition.by is topology, and the scenario has none; write it, or deal by another rule")
    return topology


def _members(topology: Topology, strata: Strata) -> list[str]:
    names = list(members.trainers(topology))
    if (trainable := _trainable(strata)) < len(names):
        raise ConfigError(
            f"data.partition.by is topology, of which {len(names)} members train; {trainable} patients to train on are too "
            "few for a site each; take a larger set, lower the counts, or write topology.learning: modelled"
        )
    return names


def refuse_site_names(names: Iterable[str]) -> None:
    """Raises DataError for names that no file can have, and for two that differ in case alone (one file on some disks)."""
    seen: dict[str, str] = {}
    for name in names:
        if not name.strip() or not name.isprintable() or len(name) > MAX_NAME or set(name) & set("/\\") or name[0] == ".":
            raise DataError(
                f"site name {name!r} cannot be used; names are printable, at most {MAX_NAME} characters, "
                "without slashes and not starting with a dot"
            )
        other = seen.setdefault(name.casefold(), name)
        if other != name:
            raise DataError(f"sites {other!r} and {name!r} have one name but for its case; rename one of them")


def _natural(cases: Cases) -> dict[str, Cases]:
    if cases.site is None:
        raise ConfigError(
            "data.partition.by is 'natural', but this set names no sites; name its site column, or use iid, "
            "dirichlet or shards"
        )
    names = list(dict.fromkeys(cases.site.tolist()))
    refuse_site_names(names)
    return {name: cases.take(np.flatnonzero(cases.site == name)) for name in names}


def _strata(cases: Cases, patients: Sequence[Rows]) -> Strata:
    """Patients of each split and class; a patient counts by the split of the first case and the commonest label."""
    first = np.array([rows[0] for rows in patients])
    of_case = case_labels(cases)
    labels = np.array([np.bincount(of_case[rows]).argmax() for rows in patients])
    splits = np.full(len(patients), SPLITS[0]) if cases.split is None else cases.split[first]
    return {
        split: [np.flatnonzero((splits == split) & (labels == label)) for label in range(len(cases.classes))]
        for split in SPLITS
        if (splits == split).any()
    }


def _rows(patients: Sequence[Rows], chosen: Rows) -> Rows:
    """Rows of the chosen patients, in the order of the set."""
    return np.sort(np.concatenate([patients[index] for index in chosen]))


def _iid(strata: Strata, count: int, how: Partition, rng: np.random.Generator) -> Rows:
    owners = np.zeros(count, dtype=np.int64)
    for classes in strata.values():
        shuffled = rng.permutation(np.concatenate(classes))
        owners[shuffled] = np.arange(len(shuffled)) % how.sites
    return owners


def _dirichlet(strata: Strata, count: int, how: Partition, rng: np.random.Generator) -> Rows:
    """Per class, proportions of the sites from Dirichlet(alpha) (Hsu et al. 2019), redrawn while a site stays empty."""
    train, *others = strata.values()
    for _ in range(MAX_DRAWS):
        owners = np.zeros(count, dtype=np.int64)
        shares = []
        for units in train:
            shuffled = rng.permutation(units)
            shares.append(rng.dirichlet(np.full(how.sites, how.alpha)))
            owners[shuffled] = _cut(len(shuffled), shares[-1])
        if len(np.unique(owners[np.concatenate(train)])) == how.sites:
            for part in others:
                for units, share in zip(part, shares, strict=True):
                    owners[rng.permutation(units)] = _cut(len(units), share)
            return owners
    raise ConfigError(
        f"data.partition: {MAX_DRAWS} draws of Dirichlet(alpha={how.alpha:g}) over {how.sites} sites each left a site "
        "empty; raise alpha or ask for fewer sites"
    )


def _cut(count: int, shares: NDArray[np.float64]) -> Rows:
    """Owner of each of `count` units in a row, cut at the cumulative shares."""
    cuts = (np.cumsum(shares)[:-1] * count).astype(np.int64)
    return np.searchsorted(cuts, np.arange(count), side="right")


def _shards(strata: Strata, count: int, how: Partition, rng: np.random.Generator) -> Rows:
    """Patients sorted by label and cut into shards, dealt at random (McMahan et al. 2017, section 3)."""
    owners = np.zeros(count, dtype=np.int64)
    shards = how.sites * how.shards_per_site
    dealt = rng.permutation(np.arange(shards) % how.sites)
    for classes in strata.values():
        ordered = np.concatenate([rng.permutation(units) for units in classes])
        owners[ordered] = dealt[np.arange(len(ordered)) * shards // len(ordered)]
    return owners


def _quotas(strata: Strata, count: int, sizes: Rows, alpha: float, rng: np.random.Generator) -> Rows:
    """Patients to train on in proportion to `sizes`, one at least; each site's classes from Dirichlet(alpha * set's own).

    After Hsu et al. 2019, section 3, where sites are of one size. Sites are served in a random order: who comes late takes
    the classes that are left.
    """
    train, *others = strata.values()
    left = [rng.permutation(units) for units in train]
    prior = np.array([len(units) for units in train], dtype=np.float64)
    quotas = _sizes(int(prior.sum()), sizes)
    owners = np.zeros(count, dtype=np.int64)
    taken = np.zeros((len(train), len(sizes)))
    for site in rng.permutation(len(sizes)):
        wanted = _classes(int(quotas[site]), np.array([len(units) for units in left]), alpha * prior / prior.sum(), rng)
        for label, number in enumerate(wanted):
            owners[left[label][:number]] = site
            left[label] = left[label][number:]
        taken[:, site] = wanted
    for part in others:
        for units, own in zip(part, taken, strict=True):
            owners[rng.permutation(units)] = _cut(len(units), own / own.sum() if own.sum() else quotas / quotas.sum())
    return owners


def _sizes(count: int, weights: Rows) -> Rows:
    """`count` in proportion to `weights`, each at least 1, rounded by the largest remainders."""
    beyond = np.maximum(weights / weights.sum() * count - 1, 0)
    exact = (count - len(weights)) * beyond / (beyond.sum() or 1.0)
    sizes: Rows = 1 + np.floor(exact).astype(np.int64)
    sizes[np.argsort(-(exact - np.floor(exact)), kind="stable")[: count - sizes.sum()]] += 1
    return sizes


def _classes(size: int, left: Rows, concentration: NDArray[np.float64], rng: np.random.Generator) -> Rows:
    """How many of each class `size` patients are, of those that are `left`."""
    likely = rng.dirichlet(np.maximum(concentration, 1e-6))
    taken: Rows = np.zeros_like(left)
    while (missing := size - int(taken.sum())) > 0:
        there = np.where(taken < left, likely + 1e-12, 0.0)
        taken = np.minimum(taken + rng.multinomial(missing, there / there.sum()), left)
    return taken
