"""A whole masked run in memory with a site whose upload comes after the deadline: where its update ends up."""

from __future__ import annotations

import numpy as np
import pytest
from flwr.app import ConfigRecord

from fedmed.config.privacy import Privacy
from fedmed.flower import keys
from fedmed.flower.arrays import numbers
from fedmed.outbound.gate import Rules
from fedmed.privacy.secagg.client import KIND_AT
from fedmed.privacy.secagg.round_messages import REVEAL
from fedmed.store.departures import verify
from tests.federation import peers
from tests.federation.conftest import MODEL
from tests.federation.parties import Parties
from tests.federation.test_epochs import FOUR, events
from tests.federation.test_masked import bound_of, loop_of


def late_once(found: Parties, name: str) -> None:
    """The site does its work of round one, and its upload arrives when the round is over."""
    peer, party = next(each for each in found.peers if each.name == name), found.parties[name]
    peer.at[1] = lambda own, message: [(found.deadline_s + 1, answer) for _, answer in party.act(own, message)]


def changes(found: Parties, name: str) -> list[np.ndarray]:
    """What a site's training changed, round by round."""
    peer = next(each for each in found.peers if each.name == name)
    sent = [m for m in found.grid.sent if m.metadata.message_type == "train" and m.metadata.dst_node_id == found.node(name)]
    return [peers.trained(peer, m)[0]["w"].astype(float) - peers.tensors_in(m)["w"] for m in sent]


@pytest.mark.parametrize("mode", ["malicious", "hbc"])
@pytest.mark.parametrize("carries", [True, False], ids=["add", "drop"])
def test_a_late_update_is_in_the_next_round(masked, carries, mode):
    found = masked(*FOUR, rules=Privacy(secure_aggregation=mode), rules_of=Rules(carries_late=carries))
    late_once(found, "d")
    loop = loop_of(found)
    first, record = loop.train(1, MODEL, "order one")
    assert record["missing"] == {"d": "no answer by the deadline of 60 s"}
    second, record = loop.train(2, first, "order two")
    assert (record["joined"], record["train"]["cases"]) == (list(FOUR), 40)
    made = {name: changes(found, name) for name in FOUR}
    one = np.mean([made[name][0] for name in "abc"], 0)
    two = (sum(made[name][1] for name in FOUR) + carries * made["d"][0]) / 4
    assert np.abs(first["w"] - MODEL["w"] - one).max() <= bound_of(found, *"abc")
    assert np.abs(second["w"] - first["w"] - two).max() <= 2 * bound_of(found, *FOUR)
    carried = [each.carried for each in verify(found.folder / "d.departures.jsonl")]
    assert carried == ([None, (found_epoch(found), 1)] if carries else [None, None])
    assert not any(party.told for party in found.parties.values())


def found_epoch(found: Parties) -> int:
    (event,) = events(found, "epoch")
    return int(event["epoch"])


def test_a_late_update_of_an_attempt_that_was_lost_counts_once(masked):
    """All confirm and only the late one reveals: the round is tried again in a new epoch, and all do the same work again."""
    found = masked(*FOUR)
    late_once(found, "d")

    def loses_the_first(peer, message):
        said = numbers(message.content, ConfigRecord)[keys.BYTES]
        if said[KIND_AT] == REVEAL and not events(found, "unopened") and peer.name != "d":
            return []
        return found.parties[peer.name].act(peer, message)

    for peer in found.peers:
        peer.acts["query.protocol"] = loses_the_first
    model, record = loop_of(found).train(1, MODEL, "order")
    assert (record["attempt"], record["joined"]) == (2, list(FOUR))
    mean = np.mean([changes(found, name)[1] for name in FOUR], 0)
    assert np.abs(model["w"] - MODEL["w"] - mean).max() <= bound_of(found, *FOUR)
    (told,) = found.parties["d"].told
    assert "its round is repeated" in told
