from __future__ import annotations

import pytest

from fedmed.config.loading import parse
from fedmed.errors import ConfigError
from fedmed.twin.profiles import names
from fedmed.twin.recording import on_line, recording
from fedmed.twin.replaying import replay
from fedmed.twin.twinfile import text
from tests.twin.seen import CENTER_S, records, scenario

SIZE = 40e6
SITES = {"north": (2.0, 5e6, 4e6), "east": (1.0, 5e6, 4e6), "south": (1.0, 5e6, 4e6)}


def replayed(*changes: str, every: int = 1):
    return replay(parse(text(recording(records(SITES, SIZE, every=every)), "1"), "twin.yaml", changes, names()))


def test_half_the_speed_up_takes_as_much_longer_as_the_answer_needs():
    usual, slow = replayed(), replayed("topology.lines.north.up=20 Mbit/s")
    assert slow.predicted - usual.predicted == pytest.approx(on_line(SIZE) * (1 / 2.5e6 - 1 / 5e6), rel=1e-3)
    north, east = (slow.rounds[0].spent[name] for name in ("north", "east"))
    assert north.up == pytest.approx(2 * east.up, rel=1e-3)


def test_latency_is_paid_on_every_way_and_for_every_word():
    usual = replayed()
    far = replayed(*(f"topology.lines.{name}.latency=100 ms" for name in SITES))
    assert far.predicted - usual.predicted == pytest.approx(4 * 0.1 + 4 * 2 * 0.1, rel=1e-3)


def test_a_round_is_the_slowest_site_of_each_question_and_the_center():
    found = replayed()
    slowest = max(each[0] for each in SITES.values()) + on_line(SIZE) / 5e6 + on_line(SIZE) / 4e6
    assert found.predicted == pytest.approx(slowest + CENTER_S, rel=1e-3)
    north = found.rounds[0].spent["north"]
    assert north.down + north.work + north.up == pytest.approx(slowest, rel=1e-3)
    assert found.rounds[0].transfer == pytest.approx(
        max(s.down + s.up for s in found.rounds[0].spent.values()) / found.predicted
    )


def test_who_is_away_is_missing_with_the_reason():
    found = replayed("topology.faults=[{kind: dark, who: east, at: 0 s, lasts: 3000 s}]", "federation.deadline_s=300")
    assert found.rounds[0].verdict != "complete"
    assert "away" in found.rounds[0].missing["east"] or "dark" in found.rounds[0].missing["east"]
    assert "east" not in found.rounds[0].spent


def test_a_scenario_that_was_not_recorded_is_refused():
    with pytest.raises(ConfigError, match=r"no topology\.recorded"):
        replay(scenario())


def test_a_machine_without_a_step_is_named():
    with pytest.raises(ConfigError, match="t4 without a step"):
        replayed("topology.clinics.north.machine=t4")


def test_another_form_of_the_section_is_refused():
    with pytest.raises(ConfigError, match="form"):
        replayed("topology.recorded.form=2")
