"""How the cases of one set become several sites; one patient's cases stay together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from fedmed.clock import derive_seed
from fedmed.config.scenario import Partition
from fedmed.errors import ConfigError, DataError
from fedmed.sites.cases import SPLITS, Cases, case_labels, patient_rows

MAX_DRAWS = 100
MAX_NAME = 100

Rows = NDArray[np.int64]
# Patients by split and class: where a set has a split of its own, every site gets its share of each part.
Strata = dict[str, list[Rows]]


def partition(cases: Cases, how: Partition, seed: int) -> dict[str, Cases]:
    """Sites by name, in order of first appearance (`natural`) or of number; every case is in exactly one.

    A patient is in one site only, unless the set's own sites (`natural`) say otherwise. Under a split of its own, each
    part is dealt by the same proportions or shards, so that a site is tested on what it is trained on.

    Raises ConfigError where the partition cannot be made of these cases, DataError for unusable site names.
    """
    if how.by == "natural":
        return _natural(cases)
    rng = np.random.default_rng(derive_seed(seed, "partition") if how.seed is None else how.seed)
    patients = patient_rows(cases)
    strata = _strata(cases, patients)
    trainable = sum(len(units) for units in strata[next(iter(strata))])
    needed = how.sites * (how.shards_per_site if how.by == "shards" else 1)
    if trainable < needed:
        raise ConfigError(
            f"data.partition.sites is {how.sites}; {trainable} patients to train on cannot make {needed} non-empty "
            f"{'shards' if how.by == 'shards' else 'sites'}; ask for fewer"
        )
    deal = {"iid": _iid, "dirichlet": _dirichlet, "shards": _shards}[how.by]
    owners = deal(strata, len(patients), how, rng)
    width = max(2, len(str(how.sites)))
    return {
        f"site-{number + 1:0{width}d}": cases.take(_rows(patients, np.flatnonzero(owners == number)))
        for number in range(how.sites)
    }


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
