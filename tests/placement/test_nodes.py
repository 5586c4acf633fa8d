from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmed.errors import ConfigError
from fedmed.placement.nodes import Live, Node, Standing, Tier
from fedmed.placement.tasks import Amount, Needs, Rung


def test_a_network_lies_where_the_node_has_room_for_it():
    needs = Needs(Amount(1000, 100), ("cuda", "cpu"), fixed_bytes=40)
    t4 = Node("t4", Tier.CLINIC, "east", Amount(8000, 1000, 1000), frozenset({"cuda"}))
    orin = Node("orin", Tier.DEVICE, "east", Amount(8000, 1000), frozenset({"cuda"}), shares_memory=True)
    weak = Node("weak", Tier.DEVICE, "east", Amount(8000, 1000))
    assert [each.engine(needs) for each in (t4, orin, weak)] == ["cuda", "cuda", "cpu"]
    assert t4.charge(needs, Rung(), "cuda") == Amount(1000, 100, 40)
    assert orin.charge(needs, Rung(), "cuda") == weak.charge(needs, Rung(), "cpu") == Amount(1000, 140)
    assert weak.engine(Needs(accelerators=("cuda",))) == ""


def test_what_other_programs_take_is_not_free():
    node = Node("t4", Tier.CLINIC, "east", Amount(8000, 1000))
    standing = Standing(node, 0.0, Live(0.1, Amount(0, 800)), Amount(0, 300))
    assert standing.room_lacking(Amount(8000)) == ""
    assert standing.room_lacking(Amount(0, 1))
    assert standing.has_room(Amount(0, 200), without=Amount(0, 300))
    assert not standing.has_room(Amount(0, 201), without=Amount(0, 300))


amounts = st.builds(Amount, *[st.integers(0, 9)] * 4)


@given(amounts, amounts, amounts, amounts)
def test_room_is_lacking_where_there_is_none(capacity, used, other, charge):
    standing = Standing(Node("t4", Tier.CLINIC, "east", capacity), 0.0, Live(None, other), used)
    assert standing.has_room(charge) == (standing.room_lacking(charge) == "")


@pytest.mark.parametrize("bad", [-0.1, 1.1, float("nan"), float("inf")])
def test_busy_is_a_share(bad):
    with pytest.raises(ConfigError, match="shares from 0 to 1"):
        Live(bad)


@pytest.mark.parametrize(("tier", "clinic"), [(Tier.CENTER, "east"), (Tier.DEVICE, ""), (Tier.CLINIC, "")])
def test_only_the_centers_nodes_have_no_clinic(tier, clinic):
    with pytest.raises(ConfigError, match="names its clinic"):
        Node("x", tier, clinic, Amount())
