from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.config.scenario import Split
from fedmed.errors import DataError
from fedmed.sites.cases import Cases, Site
from fedmed.sites.split import split


def a_site(count: int, patients: int | None = None, own: list[str] | None = None, seed: int = 0) -> Cases:
    rng = np.random.default_rng(seed)
    return Cases(
        x=np.arange(count, dtype=np.float32)[:, None],
        y=(rng.random(count) < 0.3).astype(np.int64),
        classes=("no", "yes"),
        patient=None if patients is None else np.char.add("p", rng.integers(0, patients, count).astype(str)),
        split=None if own is None else np.array(own),
    )


def parts(site: Site) -> list[Cases]:
    return [site.train, site.validation, site.test]


shares = st.floats(0, 0.45)


@settings(deadline=None)
@given(st.integers(1, 120), st.none() | st.integers(1, 60), shares, shares, st.integers(0, 999))
def test_no_patient_is_on_two_sides_and_no_case_is_lost(
    count: int, patients: int | None, test: float, validation: float, seed: int
) -> None:
    cases = a_site(count, patients, seed=seed)
    site = split("x", cases, Split(test=test, validation=validation), seed)
    rows = np.concatenate([part.x[:, 0] for part in parts(site)])
    assert sorted(rows.tolist()) == list(range(count))
    assert len(site.train) > 0
    assert all((np.diff(part.x[:, 0]) > 0).all() for part in parts(site))
    if patients is not None:
        homes = [set(part.patient.tolist()) for part in parts(site) if part.patient is not None]
        assert sum(map(len, homes)) == len(set.union(*homes))


@given(st.integers(40, 300), st.integers(0, 999))
@settings(deadline=None)
def test_shares_and_prevalence_hold_as_well_as_whole_patients_allow(count: int, seed: int) -> None:
    cases = a_site(count, seed=seed)
    site = split("x", cases, Split(test=0.2, validation=0.1), seed)
    assert abs(len(site.test) - 0.2 * count) <= 1
    assert abs(len(site.validation) - 0.1 * count) <= 1.5
    assert abs(site.test.y.sum() - 0.2 * cases.y.sum()) <= 1


def test_the_split_depends_on_seed_and_site_but_on_nothing_else() -> None:
    cases = a_site(100)
    once = split("a", cases, Split(), 1).test.x.tolist()
    assert split("a", cases, Split(), 1).test.x.tolist() == once
    assert split("a", cases, Split(), 2).test.x.tolist() != once
    assert split("b", cases, Split(), 1).test.x.tolist() != once
    assert split("a", cases, Split(seed=1), 2).test.x.tolist() == once


def test_a_set_s_own_split_is_kept() -> None:
    own = ["train", "test", "validation", "train", "test"]
    site = split("x", a_site(5, own=own), Split(test=0.4), 0)
    assert [part.x[:, 0].tolist() for part in parts(site)] == [[0, 3], [2], [1, 4]]


def test_validation_is_taken_from_train_where_the_set_has_none() -> None:
    own = ["train"] * 80 + ["test"] * 20
    site = split("x", a_site(100, own=own), Split(validation=0.25), 0)
    assert [len(part) for part in parts(site)] == [60, 20, 20]
    assert site.test.x[:, 0].tolist() == list(range(80, 100))


def test_without_a_share_the_published_training_set_stays_whole() -> None:
    site = split("x", a_site(100, own=["train"] * 80 + ["test"] * 20), Split(validation=0), 0)
    assert [len(part) for part in parts(site)] == [80, 0, 20]


def test_a_site_of_one_class_is_split_like_any_other() -> None:
    cases = a_site(20)
    single = Cases(cases.x, np.ones(20, dtype=np.int64), ("no", "yes"))
    assert [len(part) for part in parts(split("x", single, Split(), 0))] == [14, 2, 4]


def test_a_site_of_one_patient_trains_on_it() -> None:
    assert [len(part) for part in parts(split("x", a_site(9, patients=1), Split(), 0))] == [9, 0, 0]


def test_sites_without_cases_to_train_on_are_named() -> None:
    with pytest.raises(DataError, match="site 'north' has no cases"):
        split("north", a_site(0), Split(), 0)
    with pytest.raises(DataError, match="site 'north' has no cases to train on"):
        split("north", a_site(3, own=["test"] * 3), Split(), 0)


def test_an_own_split_that_divides_a_patient_is_refused() -> None:
    cases = a_site(2, patients=1, own=["train", "test"])
    with pytest.raises(DataError, match=r"site 'x'.*patient 'p0' into test and train"):
        split("x", cases, Split(), 0)
