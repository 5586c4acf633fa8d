from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy import stats

from fedmed.errors import ConfigError
from fedmed.privacy.dp.accountant import Release, epsilon
from fedmed.privacy.dp.gaussian import noise
from fedmed.privacy.dp.mechanisms import CLINIC, MODES, RECORD_DISTRIBUTED, RECORD_LOCAL, largest_scale
from fedmed.privacy.dp.plan import Answer, Question, facts, notes, plan

QUESTION = Question(3.0, 1e-5, 10, 1000, cases=2000, rate=0.02, clip=1.5, dimensions=400, lost=2, colluders=1)


@pytest.fixture(scope="module")
def answers() -> dict[str, Answer]:
    return {answer.mode: answer for answer in plan(QUESTION)}


def test_every_mode_keeps_the_epsilon_and_hardly_less(answers):
    assert list(answers) == list(MODES)
    for answer in answers.values():
        assert 2.98 < answer.epsilon <= 3.0
        release = Release("update", "gaussian", answer.noise_multiplier, answer.sampling_rate, 1000)
        assert epsilon([release], 1e-5) == pytest.approx(answer.epsilon, abs=1e-3)
    assert [answer.unit for answer in answers.values()] == ["patient", "patient", "clinic"]
    assert answers[CLINIC].patient_epsilon > 6


def test_noise_on_the_mean_is_what_the_clinics_add(answers):
    """Drawn, summed and divided as a round would; the deviation of a sample of 400 numbers."""
    batch = 0.02 * 2000
    for mode, parts in ((RECORD_DISTRIBUTED, 10 * batch), (CLINIC, 10)):
        answer = answers[mode]
        scale = answer.share_lattice / answer.share
        mean = sum(noise(400, answer.share_lattice, bytes([clinic]) * 24) for clinic in range(10)) / scale / parts
        assert mean.std() == pytest.approx(answer.mean_std, rel=0.15)
        assert np.linalg.norm(mean) == pytest.approx(answer.mean_norm, rel=0.15)
        assert answer.signal_to_noise == pytest.approx(1.5 / answer.mean_norm)
    local = answers[RECORD_LOCAL]
    assert local.mean_std == pytest.approx(local.noise_multiplier * 1.5 / batch / math.sqrt(10))


def test_local_noise_is_larger_by_the_root_of_the_honest_clinics(answers):
    ratio = answers[RECORD_LOCAL].mean_std / answers[RECORD_DISTRIBUTED].mean_std
    assert ratio == pytest.approx(math.sqrt(10 - 2 - 1), rel=1e-3)
    [all_there] = plan(Question(3.0, 1e-5, 10, 1000, 2000, 0.02, 1.5, 400, 0, 0, mode=RECORD_DISTRIBUTED))
    assert answers[RECORD_LOCAL].mean_std / all_there.mean_std == pytest.approx(math.sqrt(10), rel=1e-3)


def test_the_shares_fit_into_the_lanes(answers):
    answer = answers[CLINIC]
    scale = answer.share_lattice / answer.share
    assert scale <= largest_scale(32, 10, 1.5, answer.share, 400)
    assert 10 * 1.5 * scale + 8.2 * math.sqrt(10) * answer.share_lattice < 2**31
    assert answer.rounding < 1e-5


def test_lanes_that_are_too_narrow_are_said_or_refused():
    [answer] = plan(Question(8.0, 1e-5, 10, 10, dimensions=1_000_000, clip=1.0, mode=CLINIC, lanes=16))
    assert answer.rounding > 0.05
    assert any(
        "16 bits" in note and "take 32 bits" in note for note in notes(Question(8.0, 1e-5, 10, 10, lanes=16), [answer])
    )
    with pytest.raises(ConfigError, match="does not fit into lanes of 16 bits"):
        plan(Question(3.0, 1e-5, 10, 100, mode=CLINIC, lanes=16))


def test_one_mode_is_answered_alone_and_every_evaluation_is_told():
    tried = []
    [answer] = plan(Question(3.0, 1e-5, 3, 10, dimensions=100, mode=CLINIC), lambda: tried.append(1))
    assert answer.mode == CLINIC
    assert len(tried) >= 2


def test_facts_are_json_and_predict_no_accuracy(answers):
    told = json.loads(json.dumps(facts(QUESTION, list(answers.values()))))
    assert told["least_honest"] == 7
    assert told["question"]["lost"] == 2
    assert told["neighbours"] == "add or remove one"
    assert [mode["mode"] for mode in told["modes"]] == list(MODES)
    assert any("no accuracy is predicted" in note for note in told["notes"])
    assert all("arXiv" in text for text in told["published"])


def test_what_is_left_out_follows_the_protocol():
    assert [(q.missing, q.against) for q in (Question(1, 1e-5, n, 1) for n in (3, 4, 10, 40))] == [
        (0, 0),
        (0, 1),
        (1, 1),
        (4, 4),
    ]
    assert [Question(1, 1e-5, n, 1).quorum for n in (3, 5, 10, 100)] == [3, 4, 6, 56]


def test_a_delta_above_one_case_is_said(answers):
    question = Question(3.0, 1e-3, 10, 1000, cases=2000)
    assert any("above 1 / 2000 cases" in note for note in notes(question, list(answers.values())))
    assert not any("above 1 /" in note for note in notes(QUESTION, list(answers.values())))


def test_all_that_is_wrong_is_said_at_once():
    with pytest.raises(ConfigError) as told:
        Question(-3, 7, 2, 0, 0, 0.0, math.inf, 0, -1, -1, 8, "central")
    words = ["epsilon -3", "delta 7", "2 clinics (3 to", "0 rounds", "0 cases", "rate 0.0", "clip inf", "0 dimensions"]
    words += ["lanes of 8", "mode 'central'", "-1 clinics lost", "-1 colluders"]
    assert all(word in str(told.value) for word in words)
    with pytest.raises(ConfigError, match="a sum of 3 is never opened"):
        Question(3, 1e-5, 10, 100, lost=7)


def test_a_batch_stays_within_the_room_that_is_kept_for_it():
    for batch in (0.1, 1.0, 50.0, 5000.0):
        assert stats.poisson.sf(batch + 6 * math.sqrt(batch) + 6, batch) < 1e-7
