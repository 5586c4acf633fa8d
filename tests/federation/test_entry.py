from __future__ import annotations

import json

import pytest

from fedmed.config.scenario import Rounds
from fedmed.errors import GateRefused
from fedmed.federation.entry import enter, enter_again
from fedmed.federation.journal import Journal
from tests.federation.peers import FakeClock, Peer
from tests.federation.prints import printed
from tests.federation.test_gate import sideways
from tests.federation.test_journal import lines
from tests.federation.test_run import federate, final

RIGHT = [printed(f"s{n}", n) for n in (1, 2, 3)]
WRONG = [printed("graz", 9, sideways), *RIGHT]


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path, FakeClock())
    yield journal
    journal.close()


def gate_lines(folder) -> list[dict]:
    return [line for line in lines(folder) if line["event"] == "gate"]


def test_right_sites_enter_and_what_they_told_is_kept(journal, tmp_path):
    entry = enter(Rounds(), RIGHT, journal)
    assert entry["gate"] == {"mode": "refuse", "findings": []}
    assert set(entry["fingerprints"]) == {"s1", "s2", "s3"}
    json.dumps(entry, allow_nan=False)
    [line] = gate_lines(tmp_path)
    assert (line["sites"], line["findings"]) == (3, [])


def test_a_wrong_site_is_refused_by_name_and_the_journal_says_so_too(journal, tmp_path):
    with pytest.raises(
        GateRefused, match=r"before round one: site graz: its images lie sideways.*\n.*federation\.gate: warn"
    ):
        enter(Rounds(), WRONG, journal)
    [line] = gate_lines(tmp_path)
    assert [each["site"] for each in line["findings"]] == ["graz"]


def test_a_center_may_start_nevertheless_or_ask_nothing(journal, tmp_path):
    entry = enter(Rounds(gate="warn"), WRONG, journal)
    assert [each["site"] for each in entry["gate"]["findings"]] == ["graz"]
    assert enter(Rounds(gate="off"), WRONG, journal) == {}
    assert len(gate_lines(tmp_path)) == 1


def test_on_resuming_the_first_judgement_holds_and_changes_are_named(journal, tmp_path):
    entry = enter(Rounds(), RIGHT, journal)
    assert enter_again(entry, Rounds(), RIGHT, journal) == entry
    assert len(gate_lines(tmp_path)) == 1
    assert enter_again(entry, Rounds(), [printed("s1", 7, sideways), *RIGHT[1:]], journal) == entry
    assert [each["site"] for each in gate_lines(tmp_path)[1]["findings"]] == ["s1"]
    assert enter_again({}, Rounds(), WRONG, journal) == {}


class Imaging(Peer):
    """A peer that tells of images."""

    shown = None

    def description(self):
        told = super().description()
        return told if self.shown is None else {**told, "fingerprint": self.shown.fingerprint.record()}


def imaging(sites) -> list[Imaging]:
    peers = []
    for site in sites:
        peer = Imaging(site.name, 20)
        peer.shown = site
        peers.append(peer)
    return peers


def test_a_run_stops_before_its_first_round_and_commits_nothing(tmp_path):
    peers = imaging(WRONG)
    with pytest.raises(GateRefused, match="graz"):
        federate(tmp_path, peers=peers)
    assert [peer.trainings for peer in peers] == [0, 0, 0, 0]
    assert not (tmp_path / "commits").exists()


def test_the_gate_changes_no_bit_and_every_commit_remembers_it(tmp_path):
    for name in ("plain", "gated", "resumed"):
        (tmp_path / name).mkdir()
    plain = final(federate(tmp_path / "plain", peers=[Peer(site.name, 20) for site in RIGHT]))
    assert final(federate(tmp_path / "gated", peers=imaging(RIGHT))) == plain
    federate(tmp_path / "resumed", peers=imaging(RIGHT), rounds=3)
    resumed = federate(tmp_path / "resumed", peers=imaging(RIGHT))
    assert final(resumed) == plain
    state = resumed.latest()[0].state
    assert state["gate"] == {"mode": "refuse", "findings": []}
    assert set(state["fingerprints"]) == {"s1", "s2", "s3"}
    assert len(gate_lines(tmp_path / "resumed")) == 1


def test_a_run_that_began_goes_on_whatever_a_site_tells_later(tmp_path):
    federate(tmp_path, peers=imaging(RIGHT), rounds=3)
    later = federate(tmp_path, peers=imaging([printed("s1", 9, sideways), *RIGHT[1:]]))
    assert later.latest()[0].round == 6
    assert [each["kind"] for each in gate_lines(tmp_path)[1]["findings"]] == ["changed"]
