from __future__ import annotations

import json
import math
import re

import pytest

from fedmed.config.scenario import Quorum, Rounds, Training
from fedmed.errors import StoreError
from fedmed.federation.pace import GRACE_S, LEAST_S, NEEDED_S, Past, Seen
from fedmed.federation.patience import Asked, Fixed, Measured, Notes, Opened, patience_for, shown, work
from fedmed.federation.phase import Phase
from fedmed.federation.round import Verdict
from tests.federation.peers import Peer, after, erring, silent

ALL_BUT_ONE = Quorum(sites=0.5, data_weight=0.5)


def phase_of(found, folder, **works: float) -> Phase:
    """With times that are measured; work is one case where `works` names none."""
    found.away = set()

    def online():
        return [member.node for member in found.members if member.name not in found.away]

    sites = {member.node: Asked(member.name, works.get(member.name, 1.0)) for member in found.members}
    found.measured = Measured(sites, Notes(folder), online, found.clock)
    by_node = {member.node: member for member in found.members}
    return Phase(found.transport, by_node, found.measured, found.rules.quorum, found.clock, found.journal)


def train(found, phase):
    began = found.clock.now()
    state = phase.run("train", 1, found.messages(), lambda member, reply: None)
    return state, found.clock.now() - began


def test_a_slow_large_site_is_waited_for_and_a_dead_one_is_not(federation, tmp_path):
    found = federation(
        Peer("large", 1000, acts={"train": after(5000)}), Peer("small"), Peer("dead", 1000, acts={"train": silent})
    )
    phase = phase_of(found, tmp_path, large=1000, small=10, dead=1000)
    found.away = {"dead"}
    state, took = train(found, phase)
    assert (state.verdict(), sorted(state.joined)) == (Verdict.QUORUM, ["large", "small"])
    assert re.fullmatch(r"no answer and no sign of life for 500\d s", state.missing()["dead"])
    assert 5000 <= took < 5002

    found.grid.peers[found.grid.node("large")].acts = {"train": after(1)}
    state, took = train(found, phase)  # its grace is over: nobody waits for it again
    assert (state.verdict(), took < 3) == (Verdict.QUORUM, True)


def test_a_dead_site_costs_its_grace_where_all_others_are_quick(federation, tmp_path):
    found = federation(Peer("a"), Peer("b"), Peer("c", acts={"train": silent}))
    phase = phase_of(found, tmp_path)
    found.away = {"c"}
    _, took = train(found, phase)
    assert GRACE_S <= took < GRACE_S + 2


def test_a_site_that_comes_back_within_its_grace_is_in_the_round(federation, tmp_path):
    found = federation(Peer("a"), Peer("b"), Peer("c"))
    phase = phase_of(found, tmp_path)
    for _ in range(3):
        train(found, phase)

    def cut_off_for_five_minutes(peer, message):
        found.away, back = {"c"}, found.clock.now() + 299
        sleep = found.clock.sleep

        def slept(seconds):
            sleep(seconds)
            if found.clock.now() >= back:
                found.away = set()

        found.clock.sleep = slept
        return after(300)(peer, message)

    found.grid.peers[found.grid.node("c")].acts = {"train": cut_off_for_five_minutes}
    state, took = train(found, phase)
    assert state.verdict() is Verdict.COMPLETE
    assert 300 <= took < 302 > LEAST_S
    assert found.measured.notes.pasts["c", "train"].seen[-1].seconds < 3  # the line was cut, the site is no slower


def test_a_dead_site_without_which_the_round_is_lost_has_half_an_hour(federation, tmp_path):
    found = federation(Peer("a"), Peer("b"), Peer("c", acts={"train": silent}), quorum=Quorum(sites=1, data_weight=1))
    phase = phase_of(found, tmp_path)
    found.away = {"c"}
    state, took = train(found, phase)
    assert state.verdict() is Verdict.SHORT
    assert NEEDED_S <= took < NEEDED_S + 2


def test_a_site_that_hangs_has_the_time_that_was_measured_and_is_told_so(federation, tmp_path):
    found = federation(Peer("a"), Peer("b"), Peer("c", acts={"train": after(40)}))
    phase = phase_of(found, tmp_path)
    for _ in range(3):
        train(found, phase)
    found.grid.peers[found.grid.node("c")].acts = {"train": silent}
    state, took = train(found, phase)
    assert 200 <= took < 202
    assert state.missing()["c"].startswith("no answer by the deadline of 200 s (3 answers took 40")
    assert found.measured.notes.pasts["c", "train"].missed == 1
    _, took = train(found, phase)
    assert 400 <= took < 402


def test_an_answer_that_comes_late_shows_how_slow_a_site_is(federation, tmp_path):
    found = federation(Peer("a"), Peer("b"), Peer("c", acts={"train": after(1000)}))
    phase = phase_of(found, tmp_path)
    train(found, phase)
    assert found.measured.notes.pasts.get(("c", "train")) == Past(missed=1)
    found.clock.sleep(1000)
    train(found, phase)
    assert phase.late == ["c"]
    (late, second) = found.measured.notes.pasts["c", "train"].seen
    assert 1000 <= late.seconds < 1700
    assert 1000 <= second.seconds < 1002  # waited for this time


def test_an_error_tells_nothing_of_a_pace(federation, tmp_path):
    found = federation(Peer("a"), Peer("b"), Peer("c", acts={"train": erring}))
    train(found, phase_of(found, tmp_path))
    assert ("c", "train") not in found.measured.notes.pasts
    assert ("a", "train") in found.measured.notes.pasts


def test_notes_are_taken_up_by_the_next_process(tmp_path):
    notes = Notes(tmp_path)
    notes.pasts["north", "train"] = Past((Seen(3.0, 1.0, 5.0),), 1)
    notes.write()
    assert Notes(tmp_path).pasts == notes.pasts


@pytest.mark.parametrize(
    "content", [b"", b"[]", b'{"seen": {"a": 3}}', b'{"seen": {"a": {"train": {"seen": [[-1,0,1]]}}}}', b"\xff"]
)
def test_notes_that_were_spoilt_are_taken_anew(tmp_path, content):
    (tmp_path / "pace.json").write_bytes(content)
    assert Notes(tmp_path).pasts == {}


def test_notes_that_cannot_be_written_are_an_error_that_says_so(tmp_path):
    with pytest.raises(StoreError, match="make room or mend the disk"):
        Notes(tmp_path / "gone").write()


def test_status_shows_each_site_s_time_with_its_reason(federation, tmp_path):
    found = federation(Peer("a"), Peer("b"), Peer("c"))
    train(found, phase_of(found, tmp_path, a=100))
    told = shown(tmp_path, Rounds(), ["a", "b", "unheard"])
    assert set(told) == {"a", "b"}
    assert told["a"]["deadline_s"] == pytest.approx(1100, abs=1)
    assert told["a"]["explained"].startswith("a: nothing measured yet, 100 cases")
    assert shown(tmp_path / "none", Rounds(), ["a"]) == {}
    fixed = shown(tmp_path / "none", Rounds(deadline_s=30), ["a"])["a"]
    assert (
        fixed["explained"] == "a: the scenario gives every site the same time (federation.deadline_s); waited for until 30 s"
    )


def test_a_time_that_the_scenario_names_is_the_same_for_all_and_so_is_that_of_a_simulation(federation, tmp_path):
    found = federation(Peer("a"))
    assert patience_for(Rounds(deadline_s=7), {}, Notes(tmp_path), list, found.clock) == Fixed(7)
    assert patience_for(Rounds(), {}, None, list, found.clock) == Fixed(600)
    assert isinstance(patience_for(Rounds(), {}, Notes(tmp_path), list, found.clock), Measured)


def test_what_had_ended_before_this_process_is_not_waited_for_or_measured(federation, tmp_path):
    found = federation(Peer("a"))
    phase_of(found, tmp_path)
    (node,) = found.measured.sites
    waiting = found.measured.begin("train", [node], 0, -math.inf)
    assert waiting.due([node], True) == -math.inf
    waiting.heard(node, math.inf, 0.0)
    waiting.over([node])
    assert found.measured.notes.pasts == {}


def test_words_are_waited_for_as_they_are_measured(federation, tmp_path):
    found = federation(Peer("a"), Peer("b", acts={"query.protocol": silent}))
    phase_of(found, tmp_path)
    a, b = found.measured.sites
    opened = Opened(found.measured, "query.protocol")
    heard = [reply.node for reply in found.transport.exchange("query.protocol", {a: b"1", b: b"2"}, opened)]
    assert heard == [a]
    assert 605 <= found.clock.now() - 1000 < 607
    assert found.measured.notes.pasts["b", "query.protocol"].missed == 1
    assert opened.had(b).startswith("by the deadline of 605 s (nothing measured yet")
    assert not (tmp_path / "pace.json").exists()  # written with the next work


def test_work_is_cases_times_passes():
    assert work(Training(epochs=3), 50) == 150
    assert work(Training(steps=10, batch_size=8), 50) == 80


def test_the_file_says_all_in_json(federation, tmp_path):
    found = federation(Peer("a"), Peer("b"))
    phase = phase_of(found, tmp_path)
    train(found, phase)
    train(found, phase)
    told = json.loads((tmp_path / "pace.json").read_bytes())
    assert told["seen"]["a"]["train"]["missed"] == 0
    assert told["waits"]["b"]["train"]["expected_s"] is not None
