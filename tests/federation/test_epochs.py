from __future__ import annotations

import pytest

from fedmed.config.privacy import Privacy
from fedmed.errors import FederationError, QuorumError
from fedmed.federation.epochs import PATIENCE, SPARE
from fedmed.privacy.purposes import Purpose
from fedmed.privacy.secagg.layout import Layout, Whole
from tests.federation.peers import Peer, erring, silent
from tests.federation.test_journal import lines

FOUR = ("a", "b", "c", "d")
LAYOUT = Layout((), (Whole("cases", 9),), 32, 4, 64.0, 9)


def events(found, name):
    return [line for line in lines(found.folder) if line["event"] == name]


def use(epochs, count: int) -> None:
    for _ in range(count):
        current = epochs.current(4)
        epochs.header(Purpose.UPDATE, list(current.index), bytes(32), LAYOUT)


def test_all_that_answer_are_in_the_epoch(masked):
    found = masked(*FOUR)
    current = found.epochs().current(4)
    assert set(current.index) == set(found.grid.peers)
    assert {current.index[node]: node for node in current.index} == current.nodes()
    assert sorted(current.nodes()) == [1, 2, 3, 4]
    assert current.agreed.terms.rounds == 4 + SPARE
    (said,) = events(found, "epoch")
    assert (said["members"], said["rounds"], said["without"]) == (4, 4 + SPARE, [])
    assert {party.gate._outbox.terms for party in found.parties.values()} == {current.agreed.terms}


def test_rounds_are_handed_out_once_each_and_the_next_epoch_has_a_higher_number(masked):
    found = masked(*FOUR)
    epochs = found.epochs()
    first = epochs.current(4)
    numbers = [epochs.header(Purpose.UPDATE, list(first.index), bytes(32), LAYOUT).number for _ in range(4 + SPARE)]
    assert numbers == list(range(1, 4 + SPARE + 1))
    second = epochs.current(4)
    assert second.agreed.terms.epoch > first.agreed.terms.epoch
    assert epochs.header(Purpose.UPDATE, list(second.index), bytes(32), LAYOUT).number == 1
    assert len(events(found, "epoch")) == 2


def test_an_epoch_that_is_given_up_is_set_up_anew_at_the_next_question(masked):
    found = masked(*FOUR)
    epochs = found.epochs()
    first = epochs.current()
    assert epochs.current() is first
    epochs.renew()
    second = epochs.current()
    assert second.agreed.terms.epoch > first.agreed.terms.epoch
    assert epochs.current() is second


@pytest.mark.parametrize(("act", "why"), [(silent, "no answer by the deadline of 60 s"), (erring, "the scanner is on fire")])
def test_who_does_not_answer_is_left_out_named_and_asked_again(masked, act, why):
    ill = Peer("d")
    found = masked("a", "b", "c", ill)
    well, ill.acts["query.protocol"] = ill.acts["query.protocol"], act
    epochs = found.epochs()
    assert found.node("d") not in epochs.current(4).index
    (left_out,) = events(found, "left-out")
    assert left_out["site"] == "d"
    assert why in left_out["reason"]
    assert events(found, "epoch")[-1]["without"] == ["d"]
    ill.acts["query.protocol"] = well
    use(epochs, PATIENCE - 1)
    assert found.node("d") not in epochs.current(4).index
    use(epochs, 1)
    assert found.node("d") in epochs.current(4).index
    assert [event["without"] for event in events(found, "epoch")] == [["d"], []]


def test_a_full_epoch_is_kept_beyond_that(masked):
    found = masked(*FOUR)
    epochs = found.epochs()
    use(epochs, PATIENCE + 1)
    assert len(events(found, "epoch")) == 1


def test_too_few_are_an_error_that_names_the_absent(masked):
    found = masked("a", "b", Peer("c", acts={"query.protocol": silent}), Peer("d", acts={"query.protocol": erring}))
    with pytest.raises(
        QuorumError, match=r"needs 3 sites. Absent: c: no answer by the deadline of 60 s; d: .*on fire.*--resume"
    ):
        found.epochs().current()
    assert events(found, "epoch") == []


def test_an_answer_that_is_not_the_protocols_is_one_of_a_silent_site(masked):
    def another(peer, message):
        return found.parties["a"].act(peer, message)  # what `a` says, in the name of `d`

    found = masked("a", "b", "c", Peer("d", acts={"query.protocol": another}))
    assert found.node("d") not in found.epochs().current().index
    assert [event["site"] for event in events(found, "left-out")] == ["d"]


@pytest.mark.parametrize("count", [1, 2])
def test_of_fewer_than_three_sites_no_sum_is_made(masked, count):
    with pytest.raises(FederationError, match=f"here are {count}: .*secure_aggregation: off"):
        masked(*FOUR[:count]).epochs()


@pytest.mark.parametrize(
    ("settings", "colluders", "least", "mode"),
    [({}, 1, 3, "malicious"), ({"secure_aggregation": "hbc", "colluders": 2, "least_sum": 5}, 2, 5, "hbc")],
)
def test_the_terms_are_those_of_the_scenario(masked, settings, colluders, least, mode):
    terms = masked(*"abcdefg", rules=Privacy(**settings)).epochs().current().agreed.terms
    assert (terms.federation, terms.run, terms.members) == ("peers", "run", 7)
    assert (terms.colluders, terms.least, terms.mode) == (colluders, least, mode)


def test_whoever_was_left_out_in_an_earlier_attempt_is_named_too(masked):
    def late(peer, message):
        gone = [event["site"] for event in events(found, "left-out")]
        return [] if gone else found.parties["c"].act(peer, message)

    found = masked("a", "b", Peer("c", acts={"query.protocol": late}), Peer("d", acts={"query.protocol": silent}))
    with pytest.raises(
        QuorumError, match="Absent: c: no answer by the deadline of 60 s; d: no answer by the deadline of 60 s"
    ):
        found.epochs().current()
