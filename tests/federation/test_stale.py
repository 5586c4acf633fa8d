from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.config.scenario import Quorum
from fedmed.federation.phase import Member
from fedmed.federation.stale import MOST_AGE, Stale, discount
from fedmed.flower.keys import WEIGHT_KEY
from fedmed.flower.transport import Reply
from tests.federation.conftest import MODEL
from tests.federation.peers import Peer, after, poisoned, silent, trained

OSLO, LYON = Member("oslo", 1, 30), Member("lyon", 2, 10)
HALF = Quorum(sites=0.5, data_weight=0.3)


def reply(value: float, weight: float = 30, count: int = 3) -> Reply:
    tensors = {"w": np.full((2, 3), value, np.float32), "seen": np.array(count, np.int64)}
    return Reply("m", 1, tensors=tensors, metrics={WEIGHT_KEY: weight})


def model(value: float, count: int = 0) -> dict[str, np.ndarray]:
    return {"w": np.full((2, 3), value, np.float32), "seen": np.array(count, np.int64)}


def test_the_older_the_less():
    assert [round(discount(age), 3) for age in range(4)] == [1.0, 0.707, 0.577, 0.5]


@given(st.floats(-10, 10), st.floats(-10, 10), st.floats(-10, 10), st.integers(1, 30), st.integers(1, 100))
def test_the_mean_is_that_of_all_changes_by_their_discounted_weights(given_then, made_then, mean_now, weight, others):
    stale = Stale(None)
    stale.ended(4, model(given_then), ["oslo"])
    assert stale.take(OSLO, 4, reply(made_then, weight), 5)
    now = model(1.0, 7)
    found = stale.into(model(mean_now, 9), others, now)
    late, share = discount(1) * weight, 1.0 + (made_then - given_then)
    np.testing.assert_allclose(found["w"], (others * mean_now + late * share) / (others + late), rtol=1e-4, atol=1e-4)
    assert found["seen"] == round((others * 9 + late * (7 + 3)) / (others + late))
    assert (found["w"].dtype, found["seen"].dtype) == (np.float32, np.int64)


def test_only_who_was_owed_once_and_not_too_old():
    stale = Stale(None)
    stale.ended(4, model(0), ["oslo"])
    assert not stale.take(LYON, 4, reply(1, 10), 5)  # it is in round 4 already
    assert not stale.take(OSLO, 3, reply(1), 5)
    assert stale.take(OSLO, 4, reply(1), 5)
    assert stale.folded == {"oslo": 4}
    stale.ended(5, model(0), [])
    assert not stale.take(OSLO, 4, reply(1), 6)  # a second time
    stale.ended(6, model(0), ["oslo"])
    for number in range(7, 7 + MOST_AGE):
        stale.ended(number, model(0), [])
    assert not stale.take(OSLO, 6, reply(1), 9)


def test_without_any_the_mean_is_untouched():
    mean, stale = model(2.5, 1), Stale(None)
    assert stale.into(mean, 10, model(0)) is mean


def oslo_is_late(federation, **rules):
    """Two rounds of three sites; oslo answers the first in the second."""
    oslo = Peer("oslo", 30, at={1: after(70)})
    found = federation(Peer("a", 10, acts={"train": after(20)}), Peer("b", 20), oslo, quorum=HALF, **rules)
    first, _ = found.loop.train(1, MODEL, "one")
    second, record = found.loop.train(2, first, "two")
    return found, first, second, record


def sent(found, name, number):
    """What the honest site of that name makes of its message of a round."""
    peer = next(each for each in found.peers if each.name == name)
    messages = [m for m in found.grid.sent if found.grid.peers[m.metadata.dst_node_id] is peer]
    return trained(peer, messages[number - 1])[0]["w"].astype(np.float64)


def test_a_late_update_is_in_the_next_round_at_less_weight_and_named(federation):
    found, first, second, record = oslo_is_late(federation)
    assert (record["joined"], record["late"], record["folded"]) == (["a", "b", "oslo"], ["oslo"], {"oslo": 1})
    late = 30 * discount(1)
    own = 10 * sent(found, "a", 2) + 20 * sent(found, "b", 2) + 30 * sent(found, "oslo", 2)
    expected = (own + late * (first["w"] + sent(found, "oslo", 1) - MODEL["w"])) / (60 + late)
    np.testing.assert_allclose(second["w"], expected, rtol=1e-5)
    assert [(each["site"], each["round"], each["of"]) for each in found.events("folded")] == [("oslo", 2, 1)]


def test_dropped_where_the_scenario_says_so(federation):
    found, _, second, record = oslo_is_late(federation, late="drop")
    assert (record["late"], record["folded"]) == (["oslo"], {})
    own = 10 * sent(found, "a", 2) + 20 * sent(found, "b", 2) + 30 * sent(found, "oslo", 2)
    np.testing.assert_allclose(second["w"], own / 60, rtol=1e-5)


def test_a_late_update_that_could_not_join_its_own_round_is_refused_and_named(federation):
    def late(peer, message):
        return [(70.0, answer) for _, answer in poisoned(np.nan)(peer, message)]

    oslo = Peer("oslo", 30, at={1: late, 2: silent})
    found = federation(Peer("a", 10, acts={"train": after(20)}), Peer("b", 20), oslo, quorum=HALF)
    first, _ = found.loop.train(1, MODEL, "one")
    second, record = found.loop.train(2, first, "two")
    assert np.isfinite(second["w"]).all()
    assert (record["late"], record["folded"]) == (["oslo"], {})
    assert "not finite" in found.events("refused")[0]["reason"]


@pytest.mark.parametrize("strategy", ["fedmedian"])
def test_a_rule_that_needs_each_update_has_none_of_it(federation, strategy):
    oslo = Peer("oslo", 30, at={1: after(70)})
    peers = [Peer("a", 10, acts={"train": after(20)}), Peer("b", 20), oslo]
    found = federation(*peers, quorum=HALF, strategy=strategy)
    first, _ = found.loop.train(1, MODEL, "one")
    _, record = found.loop.train(2, first, "two")
    assert (record["late"], record["folded"]) == (["oslo"], {})
