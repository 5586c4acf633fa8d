from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.config.members import trainers
from fedmed.config.scenario import Partition
from fedmed.config.topology import Topology
from fedmed.errors import ConfigError, DataError
from fedmed.sites.cases import Cases
from fedmed.sites.partition import partition


def a_set(count: int, classes: int = 2, *, patients: int | None = None, split: bool = False, seed: int = 0) -> Cases:
    rng = np.random.default_rng(seed)
    return Cases(
        x=np.arange(count, dtype=np.float32)[:, None],
        y=rng.integers(0, classes, count),
        classes=tuple(f"c{index}" for index in range(classes)),
        patient=None if patients is None else np.char.add("p", rng.integers(0, patients, count).astype(str)),
        split=rng.choice(["train", "validation", "test"], count, p=[0.8, 0.1, 0.1]) if split else None,
    )


hows = st.one_of(
    st.builds(Partition, by=st.just("iid"), sites=st.integers(2, 6)),
    st.builds(Partition, by=st.just("dirichlet"), sites=st.integers(2, 6), alpha=st.floats(0.3, 50)),
    st.builds(Partition, by=st.just("shards"), sites=st.integers(2, 6), shards_per_site=st.integers(1, 3)),
)


@settings(deadline=None, max_examples=150)
@given(hows, st.integers(60, 200), st.integers(2, 4), st.none() | st.integers(50, 120), st.booleans(), st.integers(0, 99))
def test_every_case_is_in_one_site_and_every_patient_too(
    how: Partition, count: int, classes: int, patients: int | None, split: bool, seed: int
) -> None:
    cases = a_set(count, classes, patients=patients, split=split, seed=seed)
    try:
        sites = partition(cases, how, seed)
    except ConfigError:
        return
    assert len(sites) == how.sites
    dealt = np.concatenate([site.x[:, 0] for site in sites.values()])
    assert sorted(dealt.tolist()) == list(range(count))
    assert all(len(site) for site in sites.values())
    if patients is not None:
        homes = [set(site.patient.tolist()) for site in sites.values() if site.patient is not None]
        assert sum(map(len, homes)) == len(set.union(*homes))


@given(hows, st.integers(0, 2**40))
@settings(deadline=None, max_examples=30)
def test_the_same_seed_deals_the_same_sites(how: Partition, seed: int) -> None:
    cases = a_set(300)
    first, second = partition(cases, how, seed), partition(cases, how, seed)
    assert {name: site.x.tolist() for name, site in first.items()} == {
        name: site.x.tolist() for name, site in second.items()
    }


def test_another_seed_deals_otherwise_unless_the_partition_has_its_own() -> None:
    cases = a_set(300)
    free, fixed = Partition(by="iid"), Partition(by="iid", seed=5)
    assert partition(cases, free, 1)["site-01"].x.tolist() != partition(cases, free, 2)["site-01"].x.tolist()
    assert partition(cases, fixed, 1)["site-01"].x.tolist() == partition(cases, fixed, 2)["site-01"].x.tolist()


def test_iid_sites_are_equal_in_size() -> None:
    assert {len(site) for site in partition(a_set(400), Partition(by="iid"), 0).values()} == {100}


def test_a_small_alpha_skews_and_a_large_one_does_not() -> None:
    cases = a_set(2000)

    def spread(alpha: float) -> float:
        sites = partition(cases, Partition(by="dirichlet", alpha=alpha, seed=3), 0)
        return float(np.std([site.y.mean() for site in sites.values()]))

    assert spread(1000) < 0.03 < 0.15 < spread(0.5)


def test_shards_give_each_site_few_labels() -> None:
    cases = a_set(1000, classes=10)
    sites = partition(cases, Partition(by="shards", sites=5, shards_per_site=2), 0)
    assert all(len(np.unique(site.y)) <= 4 for site in sites.values())


def test_under_a_set_s_own_split_a_site_is_tested_on_what_it_is_trained_on() -> None:
    cases = a_set(6000, split=True)
    for site in partition(cases, Partition(by="dirichlet", alpha=0.7, seed=1), 0).values():
        assert site.split is not None
        train, test = site.y[site.split == "train"], site.y[site.split == "test"]
        assert abs(train.mean() - test.mean()) < 0.1


def test_pneumonia_sites_are_those_of_a_plain_dirichlet_draw(shared_data) -> None:
    from fedmed.config.scenario import Data
    from fedmed.sites.readers import read

    cases = read(Data(reader="pneumonia", folder="pneumoniamnist"), shared_data, 0, "")
    sites = partition(cases, Partition(by="dirichlet", alpha=0.5, seed=0), 0)
    trained = [site.y[site.split == "train"] for site in sites.values()]
    assert [np.bincount(y).tolist() for y in trained] == [[44, 3123], [643, 287], [117, 7], [410, 77]]


def test_too_few_patients_and_hopeless_draws_say_what_to_change() -> None:
    with pytest.raises(ConfigError, match=r"sites is 7; 5 patients.*fewer"):
        partition(a_set(5), Partition(by="iid", sites=7), 0)
    with pytest.raises(ConfigError, match=r"4 patients.*8 non-empty shards"):
        partition(a_set(4), Partition(by="shards", sites=4), 0)
    with pytest.raises(ConfigError, match="raise alpha or ask for fewer sites"):
        partition(a_set(30), Partition(by="dirichlet", sites=20, alpha=0.01), 0)


def named(*sites: str) -> Cases:
    count = len(sites)
    return Cases(np.zeros((count, 1)), np.zeros(count, dtype=int), ("a", "b"), site=np.array(sites))


def test_natural_sites_keep_their_order_and_may_share_a_patient() -> None:
    cases = named("west", "east", "west", "mid")
    assert {name: len(site) for name, site in partition(cases, Partition(), 0).items()} == {
        "west": 2,
        "east": 1,
        "mid": 1,
    }
    assert list(partition(cases, Partition(), 0)) == ["west", "east", "mid"]


def test_natural_needs_sites() -> None:
    with pytest.raises(ConfigError, match=r"names no sites.*iid"):
        partition(a_set(10), Partition(), 0)


@pytest.mark.parametrize("name", ["", " ", "a/b", "..", "a\\b", "x" * 101, "tab\tbed"])
def test_unusable_site_names_are_refused(name: str) -> None:
    with pytest.raises(DataError, match="cannot be used"):
        partition(named("good", name), Partition(), 0)


def test_two_sites_of_one_name_are_refused() -> None:
    with pytest.raises(DataError, match="'East' and 'east'"):
        partition(named("East", "west", "east"), Partition(), 0)


def whole(*counts: tuple[int, float, float]) -> Topology:
    """Groups of `count` clinics with `median` cases and a `spread`."""
    groups = [
        {"name": f"g{n}", "count": count, "machine": "t4", "line": "wan", "cases": {"median": median, "spread": spread}}
        for n, (count, median, spread) in enumerate(counts)
    ]
    line = {"up": "1 Mbit/s", "down": "1 Mbit/s"}
    return Topology.model_validate_json(json.dumps({"lines": {"wan": line}, "center": {"line": "wan"}, "clinics": groups}))


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(1, 8), st.floats(0.5, 1000), st.floats(0, 2)), min_size=1, max_size=3),
    st.floats(0.01, 1000),
    st.integers(0, 99),
    st.booleans(),
)
def test_cases_are_dealt_to_all_who_train_each_in_one_site(
    counts: list[tuple[int, float, float]], alpha: float, seed: int, split: bool
) -> None:
    cases, topology = a_set(150, 3, split=split, seed=seed), whole(*counts)
    sites = partition(cases, Partition(by="topology", alpha=alpha), seed, topology)
    assert list(sites) == list(trainers(topology))
    dealt = np.concatenate([site.x[:, 0] for site in sites.values()])
    assert sorted(dealt.tolist()) == list(range(150))
    trained = [site if site.split is None else site.take(np.flatnonzero(site.split == "train")) for site in sites.values()]
    assert all(len(site) for site in trained)
    again = partition(cases, Partition(by="topology", alpha=alpha), seed, topology)
    assert {name: site.x.tolist() for name, site in sites.items()} == {name: site.x.tolist() for name, site in again.items()}


def test_sites_are_as_large_as_the_topology_says_in_proportion() -> None:
    sites = partition(a_set(1000), Partition(by="topology", alpha=0.1), 4, whole((3, 100, 0), (1, 700, 0)))
    assert {name: len(site) for name, site in sites.items()} == {"g0#1": 100, "g0#2": 100, "g0#3": 100, "g1#1": 700}
    tiny = partition(a_set(100), Partition(by="topology"), 4, whole((10, 1, 0), (1, 1e6, 0)))
    assert sorted(map(len, tiny.values())) == [1] * 10 + [90]


def test_a_small_alpha_skews_the_members_of_a_topology_and_a_large_one_does_not() -> None:
    def spread(alpha: float) -> float:
        sites = partition(a_set(4000), Partition(by="topology", alpha=alpha), 1, whole((20, 100, 0.5)))
        return float(np.std([site.y.mean() for site in sites.values()]))

    assert spread(1000) < 0.06 < 0.2 < spread(0.3)


def test_too_few_patients_for_those_who_train_are_refused() -> None:
    with pytest.raises(ConfigError, match="of which 31 members train; 30 patients to train on are too few"):
        partition(a_set(30), Partition(by="topology"), 0, whole((31, 1, 0)))
    with pytest.raises(ConfigError, match="by is topology, and the scenario has none"):
        partition(a_set(30), Partition(by="topology"), 0)
