from __future__ import annotations

from typing import Any

from fedmed.report.network import picture
from fedmed.report.page import render
from fedmed.report.record import Report
from fedmed.report.timed import Answers, Network
from tests.report import sample
from tests.report.test_virtual import shown, virtual

TIER: dict[str, Any] = {"who": "<ward>", "tier": "clinics", "members": 1200, "machine": "t4", "work": 0.25, "line": 0.05}
TIER |= {"idle": 0.7, "down_bytes": 2e9, "up_bytes": 1e6, "kwh": 12.5, "cost": 1234.5}
ANSWERS: dict[str, Any] = {"tiers": [TIER], "kwh": 12.5, "cost": 1234.5, "work": 0.25, "idle": 0.7}
ANSWERS |= {"waited_for": {"ward": 3}, "priors": ["t4: idle is assumed"], "network": {"step_s": 60, "down": [0, 7.5e8]}}


def test_tiers_have_shares_bytes_energy_and_cost_and_what_they_rest_on():
    words = shown(virtual() | {"answers": ANSWERS})
    assert "All machines together took 12.5 kWh, at a cost of 1,234.50 USD." in words
    assert "at work for 25.0% of the time, and idle for 70.0%" in words
    assert "<ward> (clinics) 1,200 t4 25.0% 5.0% 70.0% 2 GB 1 MB 12.5 kWh 1,234.50 USD" in words
    assert "The last answer came from ward in 3 rounds." in words
    assert "No attempt at a round was lost." in words
    assert "Not measured on these machines: t4: idle is assumed." in words


def test_attempts_that_were_lost_are_named_with_their_reason():
    lost = [{"round": 2, "attempt": 1, "why": "1 of 4 sites"}, {"round": 2, "attempt": 2, "why": "<dark>"}]
    words = shown(virtual() | {"answers": ANSWERS | {"lost": lost}})
    assert "Nothing came of 2 attempts: round 2, attempt 1: 1 of 4 sites and round 2, attempt 2: <dark>." in words


def test_a_run_in_the_machines_own_time_has_none_of_it():
    text = render(Report.model_validate(sample.masked()))
    assert "What did each tier do?" not in text
    assert "in time</strong>" not in text


def test_lines_are_drawn_in_a_unit_that_people_read():
    text = str(picture(Network.model_validate(ANSWERS["network"])))
    assert "Mbit/s, mean of spans of 1 min 0 s" in text
    assert 'aria-label="Rate on the clinics&#x27; lines in Mbit/s over minutes"' in text
    assert "750 MB · 100%" in text
    assert picture(None) == picture(Network(step_s=1.0, down=[0.0])) == ""


def test_time_to_a_measure_is_said_where_time_is_virtual_or_somebody_asked():
    def reached(**more: Any) -> dict[str, Any]:
        target = {"metric": "auc", "least": 0.8, "round": 3, "seconds": 7200.0} | more
        return {"answers": {"target": target}}

    assert "A validation AUC of 0.800 was first reached in round 3, after 2 h 0 min of virtual time." in shown(
        virtual() | reached()
    )
    assert "was first reached" not in shown(sample.masked() | reached())
    assert "after 2 h 0 min of this machine's time" in shown(sample.masked() | reached(asked=True))
    assert "No round reached a validation AUC of 0.800." in shown(virtual() | reached(round=None, seconds=None))


def test_the_measure_is_drawn_over_virtual_time():
    text = render(Report.model_validate(virtual()))
    assert "<strong>Validation AUC in time</strong>" in text
    assert ">virtual seconds</text>" in text


def test_answers_of_a_record_without_any_are_empty():
    assert Answers().tiers == []
