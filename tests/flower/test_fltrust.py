from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.errors import ConfigError, FederationError
from fedmed.flower.fltrust import FLTrust, trust_scores, trusted_mean
from fedmed.flower.rule import Rule, Taken
from fedmed.flower.strategies import build
from tests.flower.federations import NODES, first_model, our_round, updates

SEEDS = st.integers(0, 2**32 - 1)


def vectors(seed: int, count: int) -> tuple[np.ndarray, list[np.ndarray]]:
    random = np.random.default_rng(seed)
    return random.normal(size=7), [random.normal(size=7) * 10 ** random.uniform(-3, 3) for _ in range(count)]


@given(SEEDS, st.floats(0.01, 1e6))
def test_an_update_opposed_to_the_roots_has_no_weight(seed, factor):
    root, others = vectors(seed, 3)
    with_it, without = [*others, -factor * root], others
    scores = trust_scores(root, with_it)
    assert scores[-1] == 0
    assert ((scores >= 0) & (scores <= 1)).all()
    np.testing.assert_allclose(
        trusted_mean(root, with_it, scores), trusted_mean(root, without, trust_scores(root, without)), atol=1e-12
    )


@given(SEEDS, st.integers(1, 9))
def test_honest_and_identical_updates_are_their_mean(seed, count):
    root, _ = vectors(seed, 0)
    same = [root.copy() for _ in range(count)]
    np.testing.assert_allclose(trusted_mean(root, same, trust_scores(root, same)), root, rtol=1e-9)


@given(SEEDS, st.integers(0, 2), st.floats(0.01, 1e6))
def test_how_large_an_update_is_does_not_matter_and_none_moves_further_than_the_root(seed, which, factor):
    root, sent = vectors(seed, 3)
    boosted = [factor * each if place == which else each for place, each in enumerate(sent)]
    one, other = (trusted_mean(root, each, trust_scores(root, each)) for each in (sent, boosted))
    np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-9)
    assert np.linalg.norm(one) <= np.linalg.norm(root) * (1 + 1e-9)


def test_an_update_of_nothing_is_not_trusted_and_none_trusted_moves_nothing():
    root = np.ones(3)
    scores = trust_scores(root, [np.zeros(3), -root])
    assert scores.tolist() == [0.0, 0.0]
    assert trusted_mean(root, [np.zeros(3), -root], scores).tolist() == [0.0, 0.0, 0.0]


def rule(change: float = 0.1) -> Rule:
    strategy = FLTrust()
    strategy.trust(lambda order, model: {name: (value + change).astype(value.dtype) for name, value in model.items()})
    return Rule(strategy, seed=1)


def test_a_round_moves_with_the_trusted_and_leaves_the_others_out():
    model = first_model()
    taken = [
        Taken(
            node,
            {"num-examples": 10, "loss": 0.5},
            {k: (v + (-5 if node == 3 else 0.1)).astype(v.dtype) for k, v in model.items()},
        )
        for node in NODES
    ]
    made = rule()
    new = our_round(made, 1, model, taken)
    for name, value in model.items():
        np.testing.assert_allclose(new[name], value + 0.1, rtol=1e-5)
    told = made.metrics("train", 1, taken)
    assert (told["trusted"], told["trust"], told["loss"]) == (4, pytest.approx(0.8), 0.5)


def test_counters_are_those_of_the_mean():
    model = {"w": np.zeros(2, np.float32), "steps": np.array(100)}
    taken = [
        Taken(node, {"num-examples": 10, "loss": 0.5}, {"w": np.ones(2, np.float32), "steps": np.array(104)})
        for node in NODES
    ]
    strategy = FLTrust()
    strategy.trust(lambda order, given: {"w": np.full(2, 3.0, np.float32), "steps": np.array(10_000)})
    new = our_round(Rule(strategy, 1), 1, model, taken)
    assert (new["w"].tolist(), new["steps"], new["steps"].dtype) == ([3.0, 3.0], 104, np.int64)


def test_it_keeps_nothing_between_rounds_and_needs_every_update():
    made, model = rule(), first_model()
    our_round(made, 1, model)
    assert made.state() == ({}, {"": {}})
    assert not made.streams
    fresh = rule()
    fresh.restore(*made.state())
    again = our_round(fresh, 2, model)
    assert {k: v.tolist() for k, v in again.items()} == {k: v.tolist() for k, v in our_round(made, 2, model).items()}


def test_without_a_root_set_there_is_no_fltrust():
    with pytest.raises(ConfigError, match="fltrust needs a root set at the center, which a simulation alone has"):
        FLTrust().trust(None)
    with pytest.raises(FederationError, match="no root set"):
        our_round(Rule(FLTrust(), 1), 1, first_model(), updates(first_model(), 1))


@pytest.mark.parametrize("share", [0, 0.6, -1.0])
def test_a_root_share_that_cannot_be_is_refused(share):
    with pytest.raises(ConfigError, match=r"fltrust refuses.*root_share is .*allowed: above 0 and at most 0\.5"):
        build("fltrust", {"root_share": share}, 4)
    with pytest.raises(ConfigError, match="root_share: got 'all', allowed: float"):
        build("fltrust", {"root_share": "all"}, 4)
