from __future__ import annotations

from typing import Any

from fedmed.report.page import render
from fedmed.report.record import Report
from tests.report import sample
from tests.report.test_virtual import shown

DOER: dict[str, Any] = {
    "site": "va",
    "kind": "scaled",
    "factor": 8.0,
    "since": 4,
    "joined": 2,
    "refused": 1,
    "reason": "<big>",
}
RATE = {"value": 0.9, "low": 0.8, "high": 0.95}
AIM: dict[str, Any] = {"kind": "backdoor", "target": "ill", "cases": 50, "federated": RATE}
AIM |= {"pooled": RATE | {"value": 0.1}, "without_trigger": RATE | {"value": 0.2}}


def attacked(**more: Any) -> dict[str, Any]:
    return sample.masked() | {"attacks": {"attackers": [DOER], "aims": [AIM], **more}}


def test_it_says_who_attacked_how_and_what_was_refused():
    words = shown(attacked())
    assert "1 of 4 sites attacked the federation (scaled), as the scenario has it." in words
    assert "va scaled x 8 4 2 rounds 1 round: <big>" in words


def test_it_says_what_was_reached_beside_a_model_without_attackers():
    words = shown(attacked())
    assert "backdoor: any other class called ill 50 0.900 (0.800–0.950) 0.200 (0.800–0.950) 0.100 (0.800–0.950)" in words
    assert "model of honest cases in one place" in words


def test_flipped_labels_and_a_share_of_cases_are_told():
    flip = {"site": "va", "kind": "label-flip", "source": "ill", "target": "well", "cases": 0.25, "joined": 6}
    door = {"site": "va", "kind": "backdoor", "target": "well", "joined": 6}
    words = shown(attacked(attackers=[flip, door], aims=[AIM | {"source": "ill", "without_trigger": None, "pooled": None}]))
    assert "va label-flip, ill called well, 25% of its cases 1 6 rounds never" in words
    assert "va backdoor, all others called well 1 6 rounds never" in words
    assert "1 of 4 sites attacked the federation (label-flip, backdoor)" in words
    assert "ill called ill 50 0.900 (0.800–0.950) – –" in words


def test_of_attackers_that_are_none_one_sentence_is_said():
    words = shown(attacked(attackers=[], aims=[]))
    assert "in this run none of the sites is one" in words
    assert "What did the attackers do?" not in words


def test_a_run_without_the_section_has_none_of_it():
    assert "attack" not in render(Report.model_validate(sample.masked())).split("</style>")[1]
