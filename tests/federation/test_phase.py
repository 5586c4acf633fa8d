from __future__ import annotations

import pytest
from flwr.app import Error, Message

from fedmed.errors import UpdateRefused
from fedmed.federation.round import Verdict
from tests.federation.peers import Peer, after, erring, honest, reply, silent, trained, twice


class Taker:
    """Notes what it is given, and refuses whom it is told to."""

    def __init__(self, *refused: str) -> None:
        self.taken: list[str] = []
        self.refused = refused

    def __call__(self, member, answer) -> None:
        if member.name in self.refused:
            raise UpdateRefused("NaN")
        self.taken.append(member.name)


def run(found, *refused: str):
    taker = Taker(*refused)
    return found.phase().run("train", 1, found.messages(), taker), taker


def test_all_answer_and_nobody_is_waited_for(federation):
    found = federation(Peer("lyon"), Peer("oslo", 30), Peer("zug"))
    state, taker = run(found)
    assert (state.verdict(), sorted(state.joined)) == (Verdict.COMPLETE, ["lyon", "oslo", "zug"])
    assert sorted(taker.taken) == ["lyon", "oslo", "zug"]
    assert dict(state.cohort) == {"lyon": 10.0, "oslo": 30.0, "zug": 10.0}
    assert found.clock.now() < 1001


def test_a_site_s_error_is_its_own(federation):
    state, taker = run(federation(Peer("lyon"), Peer("oslo", acts={"train": erring}), Peer("zug")))
    assert state.verdict() is Verdict.QUORUM
    assert state.missing() == {"oslo": "ValueError: the scanner is on fire"}
    assert sorted(taker.taken) == ["lyon", "zug"]


def test_a_refused_answer_is_noted_with_its_reason(federation):
    found = federation(Peer("lyon"), Peer("oslo"), Peer("zug"))
    state, _ = run(found, "oslo")
    assert (dict(state.refused), state.missing()) == ({"oslo": "NaN"}, {})
    assert [event["site"] for event in found.events("refused")] == ["oslo"]
    assert {event["site"] for event in found.events("answered")} == {"lyon", "zug"}


def test_a_silent_site_is_waited_for_until_the_deadline(federation):
    found = federation(Peer("lyon"), Peer("oslo", acts={"train": silent}))
    state, _ = run(found)
    assert 1060 <= found.clock.now() < 1061
    assert state.missing() == {"oslo": "no answer by the deadline of 60 s"}


def test_a_site_that_answers_just_in_time_joins(federation):
    state, _ = run(federation(Peer("lyon"), Peer("oslo", acts={"train": after(59.9)})))
    assert state.verdict() is Verdict.COMPLETE


def test_a_site_that_answers_twice_counts_once(federation):
    found = federation(Peer("lyon", acts={"train": twice}), Peer("oslo", acts={"train": after(5)}))
    state, taker = run(found)
    assert sorted(taker.taken) == ["lyon", "oslo"]
    assert sorted(state.joined) == ["lyon", "oslo"]
    assert len(found.events("answered")) == 2


def test_a_site_asked_twice_counts_once(federation):
    # a strategy of the user's own may address a node twice; both answers are asked for, one is added
    found = federation(Peer("lyon"), Peer("oslo", acts={"train": after(5)}))
    messages = [*found.messages(), *(m for m in found.messages() if m.metadata.dst_node_id == found.grid.node("lyon"))]
    taker = Taker()
    state = found.phase().run("train", 1, messages, taker)
    assert sorted(taker.taken) == ["lyon", "oslo"]
    assert state.verdict() is Verdict.COMPLETE


def test_an_error_after_an_answer_does_not_undo_it(federation):
    def both(peer, message):
        return honest(peer, message) + erring(peer, message)

    state, _ = run(federation(Peer("lyon", acts={"train": both}), Peer("oslo", acts={"train": after(5)})))
    assert state.verdict() is Verdict.COMPLETE


def test_a_late_answer_is_noted_and_never_taken(federation):
    found = federation(Peer("lyon"), Peer("oslo", acts={"train": after(70)}))
    phase, first, second = found.phase(), Taker(), Taker()
    phase.run("train", 1, found.messages(), first)
    found.grid.peers[found.grid.node("oslo")].acts = {"evaluate": after(30)}
    state = phase.run("evaluate", 1, found.messages("evaluate"), second)
    assert first.taken == ["lyon"]
    assert sorted(second.taken) == ["lyon", "oslo"]
    assert sorted(state.joined) == ["lyon", "oslo"]
    assert phase.late == ["oslo"]
    assert [event["site"] for event in found.events("late")] == ["oslo"]


def test_a_site_that_answers_another_s_message_gives_nobody_s_weight_away(federation):
    # the answer counts for whom the center asked, whatever node it claims to come from
    def forged(peer, message):
        made = reply(message, *trained(peer, message))
        made.metadata.__dict__["_src_node_id"] = 999
        return [(0.0, made)]

    state, taker = run(federation(Peer("lyon", acts={"train": forged}), Peer("oslo")))
    assert state.verdict() is Verdict.COMPLETE
    assert sorted(taker.taken) == ["lyon", "oslo"]


def test_answers_to_no_question_are_not_seen(federation):
    def also_to_an_old_one(peer, message):
        made = honest(peer, message)
        stray = reply(message, *trained(peer, message))
        stray.metadata.__dict__["_reply_to_message_id"] = "m777"
        return [(0.0, stray), *made]

    state, taker = run(federation(Peer("lyon", acts={"train": also_to_an_old_one}), Peer("oslo")))
    assert sorted(taker.taken) == ["lyon", "oslo"]
    assert state.verdict() is Verdict.COMPLETE


def test_only_the_cohort_is_asked_and_counted(federation):
    found = federation(Peer("lyon"), Peer("oslo"), Peer("zug"))
    messages = [one for one in found.messages() if one.metadata.dst_node_id != found.grid.node("oslo")]
    state = found.phase().run("train", 1, messages, Taker())
    assert sorted(state.cohort) == ["lyon", "zug"]
    assert state.verdict() is Verdict.COMPLETE


def test_a_crash_of_the_taker_is_not_hidden(federation):
    def broken(member, answer):
        raise ZeroDivisionError

    found = federation(Peer("lyon"))
    with pytest.raises(ZeroDivisionError):
        found.phase().run("train", 1, found.messages(), broken)


@pytest.mark.parametrize(
    ("reason", "shown"), [("no \udcff.png", "no \\udcff.png"), ("x" * 5000, "x" * 2000), ("\n\n", "\n\n"), ("ü", "ü")]
)
def test_whatever_reason_a_site_gives_is_written_down(federation, reason, shown):
    def odd(peer, message):
        return [(0.0, Message(Error(2, reason), reply_to=message))]

    found = federation(Peer("lyon"), Peer("oslo", acts={"train": odd}))
    state, _ = run(found)
    assert state.missing() == {"oslo": shown}
    assert found.events("failed")[0]["reason"] == shown
