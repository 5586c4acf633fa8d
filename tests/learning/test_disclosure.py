from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fedmed.clock import SystemClock
from fedmed.learning.clinic import Clinic
from fedmed.learning.disclosure import NO_DESK, NO_LEDGER, NOT_APPROVED, Desk, simulated_desk
from fedmed.learning.order import Inquiry
from fedmed.learning.plan import Described
from fedmed.preprocess.pipeline import Pipeline, Step
from fedmed.store import ledger
from tests.learning.parts import site
from tests.learning.test_fingerprint import PASSED

IMAGES = site(shape=(8, 8), kind=np.uint8)
ASKED = Inquiry(features="image", fingerprint=True, purpose="run tiny").model_dump_json()


def desk(folder: Path, approve=lambda statement: True) -> Desk:
    return Desk(folder / "north.jsonl", SystemClock(), approve, "Dr. Grey")


def told(clinic: Clinic, asked: str = ASKED) -> Described:
    return Described.parse(clinic.describe(asked))


def test_nothing_is_told_of_images_unless_it_is_asked_for(tmp_path):
    clinic = Clinic(IMAGES, desk(tmp_path))
    assert told(clinic, Inquiry(features="image").model_dump_json()).fingerprint is None
    assert list(tmp_path.iterdir()) == []


def test_tables_have_none_to_tell(tmp_path):
    assert told(Clinic(site(), desk(tmp_path)), Inquiry(fingerprint=True).model_dump_json()).fingerprint is None
    assert list(tmp_path.iterdir()) == []


def test_what_leaves_is_approved_word_for_word_and_written_down(tmp_path):
    seen = []
    found = told(Clinic(replace(IMAGES, parity=PASSED), desk(tmp_path, lambda text: seen.append(text) or True))).fingerprint
    [entry] = ledger.verify(tmp_path / "north.jsonl")
    assert seen == [entry.statement]
    assert json.loads(entry.statement) == found.statistics.record()
    assert (entry.what, entry.purpose, entry.approved) == ("fingerprint", "run tiny", "Dr. Grey")
    assert found.parity.passed


def test_a_data_set_is_told_of_once_and_asking_again_gives_the_same_bytes(tmp_path, monkeypatch):
    first = Clinic(IMAGES, desk(tmp_path)).describe(ASKED)

    def computed_anew(train):
        raise AssertionError("the recorded statement is sent, whatever would be computed now")

    monkeypatch.setattr("fedmed.learning.disclosure.statement", computed_anew)
    assert Clinic(IMAGES, desk(tmp_path, lambda statement: False)).describe(ASKED) == first
    assert len(ledger.verify(tmp_path / "north.jsonl")) == 1


def test_another_version_or_pipeline_is_another_statement(tmp_path):
    Clinic(IMAGES, desk(tmp_path)).describe(ASKED)
    Clinic(replace(IMAGES, train=IMAGES.train.take(np.arange(39))), desk(tmp_path)).describe(ASKED)
    Clinic(replace(IMAGES, pipeline=Pipeline((Step("read", {}),))), desk(tmp_path)).describe(ASKED)
    assert len(ledger.verify(tmp_path / "north.jsonl")) == 3


def test_without_approval_or_ledger_it_is_withheld_and_said_why(tmp_path):
    refused = told(Clinic(IMAGES, desk(tmp_path, lambda statement: False))).fingerprint
    assert (refused.statistics, refused.withheld) == (None, NOT_APPROVED)
    assert ledger.verify(tmp_path / "north.jsonl") == []
    assert told(Clinic(IMAGES)).fingerprint.withheld == NO_DESK
    (tmp_path / "north.jsonl").write_bytes(b"somebody's own\n")
    assert told(Clinic(IMAGES, desk(tmp_path))).fingerprint.withheld == NO_LEDGER
    (tmp_path / "file").write_text("")
    assert told(Clinic(IMAGES, desk(tmp_path / "file"))).fingerprint.withheld == NO_LEDGER


def test_a_long_purpose_is_cut(tmp_path):
    Clinic(IMAGES, desk(tmp_path)).describe(
        Inquiry(features="image", fingerprint=True, purpose="x" * 10_000).model_dump_json()
    )
    assert len(ledger.verify(tmp_path / "north.jsonl")[0].purpose) == 200


def test_a_simulation_says_who_approved(tmp_path):
    Clinic(IMAGES, simulated_desk(tmp_path / "sites", 3)).describe(ASKED)
    [entry] = ledger.verify(tmp_path / "ledgers" / "00003.jsonl")
    assert "simulation" in entry.approved


@pytest.mark.parametrize("change", [{"pipeline_sha256": "0"}, {"statistics": {"cases": 5}}, {"parity": {"passed": True}}])
def test_the_center_refuses_a_fingerprint_that_is_none(tmp_path, change):
    text = json.loads(Clinic(IMAGES, desk(tmp_path)).describe(ASKED))
    text["fingerprint"] |= change
    with pytest.raises(Exception, match="a site's description cannot be read"):
        Described.parse(json.dumps(text))
