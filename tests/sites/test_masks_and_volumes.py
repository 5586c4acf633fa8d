"""Masks and volumes through the partition, the split and the layout on disk."""

from __future__ import annotations

import numpy as np
import pytest

from fedmed.config.scenario import Partition, Split
from fedmed.sites.cases import Cases, case_labels
from fedmed.sites.partition import partition
from fedmed.sites.prepared import lay_out, open_site
from fedmed.sites.split import split


def volumes(count: int = 24) -> Cases:
    """Every third volume holds a lesion, every third an organ, the others nothing; two volumes a patient."""
    rng = np.random.default_rng(0)
    y = np.zeros((count, 2, 3, 4), np.uint8)
    for row in range(count):
        y[row, 0, 0, :2] = row // 2 % 3
    patients = np.array([f"p{row // 2:02d}" for row in range(count)])
    return Cases(rng.normal(size=y.shape).astype(np.float32), y, ("none", "lesion", "organ"), patients, spatial=3)


@pytest.mark.parametrize("by", ["iid", "dirichlet", "shards"])
def test_every_partition_deals_masks_and_keeps_patients_together(by):
    cases = volumes()
    sites = partition(cases, Partition(by=by, sites=3), seed=3)
    assert sum(len(site) for site in sites.values()) == len(cases)
    owners = [set(site.patient.tolist()) for site in sites.values()]
    assert not set.intersection(*owners)
    if by == "shards":
        assert all(len(set(case_labels(site).tolist())) <= 2 for site in sites.values())


def test_the_split_holds_back_patients_of_every_kind_of_mask():
    site = split("north", volumes(48), Split(test=0.25, validation=0.25), seed=1)
    for part in (site.train, site.validation, site.test):
        assert set(case_labels(part).tolist()) == {0, 1, 2}
        assert part.spatial == 3


def test_what_is_laid_out_comes_back_to_the_bit(tmp_path):
    sites = [split(name, own, Split(), 1) for name, own in partition(volumes(), Partition(by="iid", sites=2), 1).items()]
    lay_out(sites, tmp_path / "sites")
    for number, site in enumerate(sites):
        back = open_site(tmp_path / "sites", number)
        assert back.name == site.name
        for part in ("train", "validation", "test"):
            mine, theirs = getattr(site, part), getattr(back, part)
            assert np.array_equal(mine.x, theirs.x)
            assert np.array_equal(mine.y, theirs.y)
            assert (theirs.y.dtype, theirs.spatial, theirs.classes) == (np.uint8, 3, mine.classes)
