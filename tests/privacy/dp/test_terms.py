from __future__ import annotations

import hashlib
import math
import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from fedmed.config.privacy import DifferentialPrivacy
from fedmed.config.scenario import Training
from fedmed.errors import ConfigError
from fedmed.privacy.dp.accountant import epsilon
from fedmed.privacy.dp.gaussian import LEAST_SHARE
from fedmed.privacy.dp.terms import Cohort, Terms, hide, steps_of, terms
from fedmed.privacy.secagg import masks
from fedmed.privacy.secagg.layout import Layout, Tensor
from fedmed.privacy.secagg.masks import Stream

COHORT = Cohort(10, 8, 470.0, 600.0)
SIZE, RATE = 2000, 0.05
MODES = ("record-local", "record-distributed", "clinic")
ONE_STEP = Training(steps=1, learning_rate=0.25)


def asked(mode: str, noise: float | None = 1.3, **more) -> DifferentialPrivacy:
    rate = None if mode == "clinic" else RATE
    fields = {"mode": mode, "epsilon": 1000.0, "delta": 1e-5, "clip": 1.5, "noise": noise, "rate": rate}
    return DifferentialPrivacy(**(fields | more))


def made(mode: str, cohort: Cohort = COHORT, rounds: int = 300, training: Training = ONE_STEP, **more) -> Terms:
    return terms(asked(mode, **more), training, rounds, SIZE, cohort)


def layout(found: Terms, rate: float = 0.25, bits: int = 32) -> Layout:
    return Layout((Tensor("w", (SIZE,)),), (), bits, found.cohort.clinics, found.bound(bits, rate), 1)


def seed(*path) -> bytes:
    return hashlib.sha256(repr(path).encode()).digest()[:24]


def sent(found: Terms, form: Layout, part: np.ndarray, clinic: int, rate: float = 0.25) -> np.ndarray:
    lanes = form.write(found.clipped({"w": part}, rate), 1, {}, seed("dither", clinic))
    hide(lanes, form.parameters, found.share(rate, form.scale.factor), seed("noise", clinic))
    return lanes


@pytest.mark.parametrize("mode", ["record-distributed", "clinic"])
@pytest.mark.parametrize("bits", [32, 16])
def test_the_sum_under_masks_is_the_sum_without_them_bit_by_bit(mode, bits):
    found = made(mode, noise=0.9, rounds=10)
    form, total, masked = layout(found, bits=bits), 0, 0
    for clinic in range(10):
        lanes = sent(found, form, np.full(SIZE, 1e-4 * clinic), clinic)
        total = total + lanes
        pairs = [
            Stream(seed("pair", *sorted((clinic, other))), 1 if clinic < other else -1)
            for other in range(10)
            if other != clinic
        ]
        hidden = lanes.copy()
        masks.apply(hidden, pairs, 1)
        assert (hidden != lanes).mean() > 0.99
        masked = masked + hidden
    assert masked.dtype == total.dtype == lanes.dtype
    assert (masked == total).all()
    form.read(total, 10)


@pytest.mark.parametrize(("mode", "honest"), [("record-distributed", 10), ("record-distributed", 4), ("clinic", 8)])
def test_noise_of_the_sum_is_what_is_accounted_for_when_only_the_fewest_add_it(mode, honest):
    found = made(mode, Cohort(10, honest, 470.0, 600.0))
    form = layout(found)
    total = sum((sent(found, form, np.zeros(SIZE), clinic) for clinic in range(honest)), np.zeros(form.size, np.uint32))
    total[form.parameters :] = honest  # the witness of those who are in it
    opened = form.read(total, honest).mean(1)["w"]  # the sum: weights that add up to 1
    assert opened.std() == pytest.approx(1.3 * found.sensitivity(0.25), rel=5 / math.sqrt(2 * SIZE))
    share = found.share(0.25, form.scale.factor) / form.scale.factor
    assert share * math.sqrt(honest) >= 1.3 * found.sensitivity(0.25)


@pytest.mark.parametrize("mode", ["record-distributed", "clinic"])
@given(st.integers(3, 60), st.sampled_from([16, 32]), st.floats(0.6, 8), st.booleans())
@settings(max_examples=40, deadline=None)
def test_no_lane_runs_over_whatever_all_clinics_send(mode, clinics, bits, noise, is_up):
    cohort = Cohort(clinics, max(1, clinics - 2), 40.0, 60.0)
    rate = 1.0 if mode == "clinic" else RATE
    found = Terms(mode, 1.5, rate, noise, 1, 10, 1e-5, SIZE, cohort)
    try:
        form = layout(found, bits=bits)
        share = found.share(0.25, form.scale.factor)
    except ConfigError:
        reject()  # told, not wrong
    reach = found.reach(0.25) if mode == "record-distributed" else found.clip / math.sqrt(SIZE)
    extreme = np.full(SIZE, 1e9 if is_up else -1e9)
    total = sum((sent(found, form, extreme, clinic) for clinic in range(clinics)), np.zeros(form.size, form._lane))
    opened = form.read(total, clinics).mean(clinics)["w"]
    width = share / form.scale.factor / math.sqrt(clinics)
    assert abs(opened - (reach if is_up else -reach)).max() < 8 * width + 2 / form.scale.factor


@given(st.lists(st.floats(-10, 10), min_size=6, max_size=6), st.floats(1e-3, 2))
@settings(max_examples=200, deadline=None)
def test_cutting_to_a_box_moves_no_two_sums_apart(values, rate):
    found = made("record-distributed")
    one, other = np.array(values[:3]), np.array(values[3:])
    cut = [found.clipped({"w": each}, rate)["w"] for each in (one, other)]
    assert np.linalg.norm(cut[0] - cut[1]) <= np.linalg.norm(one - other) + 1e-12
    assert abs(cut[0]).max() <= found.reach(rate)


def test_an_update_of_mode_clinic_is_clipped_as_a_whole_and_of_mode_record_local_not_at_all():
    changes = {"a": np.ones(50, np.float32), "b": np.ones((5, 10), np.float32)}
    clipped = made("clinic").clipped(changes, 0.25)
    assert math.sqrt(sum(float(np.square(part).sum()) for part in clipped.values())) == pytest.approx(1.5, rel=1e-5)
    assert made("record-local").clipped(changes, 0.25) == changes


@pytest.mark.parametrize("mode", MODES)
def test_noise_that_is_computed_keeps_epsilon_and_little_less_does_not(mode):
    training = Training(epochs=1)
    found = made(mode, noise=None, epsilon=1.0, rounds=10, training=training)
    unit = "clinic" if mode == "clinic" else "patient"
    assert 0.98 < found.cost(unit) <= 1.0
    assert replace(found, noise_multiplier=found.noise_multiplier * 0.99).cost(unit) > 1.0


@pytest.mark.parametrize("mode", MODES)
def test_noise_of_the_scenario_that_costs_more_than_its_epsilon_is_refused(mode):
    with pytest.raises(ConfigError, match=r"noise: 1\.3 clips cost epsilon .* and epsilon is 2; leave noise out"):
        made(mode, epsilon=2.0, training=Training(steps=1))
    assert made(mode, epsilon=500.0).noise_multiplier == 1.3


def test_local_and_distributed_steps_cost_alike_and_as_opacus_says():
    local = made("record-local", rounds=15, training=Training(epochs=1))
    shared = made("record-distributed", rounds=300)
    assert local.steps * local.rounds == 300
    assert local.cost() == pytest.approx(shared.cost(), abs=1e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # other people's, while torch is imported
        accountants = pytest.importorskip("opacus.accountants", reason="opacus is not installed: pip install 'fedmed[dp]'")
        theirs = accountants.PRVAccountant()
        theirs.history = [(1.3, RATE, 300)]
        assert abs(float(theirs.get_epsilon(1e-5)) - shared.cost()) < 0.02


def test_a_patient_costs_more_than_a_clinic_where_the_clinic_is_the_unit():
    found = made("clinic", rounds=5)
    assert found.cost("patient") > found.cost("clinic")
    assert [each.noise_multiplier for each in found.releases()] == [0.65]


def test_the_charges_of_all_rounds_are_the_cost_of_the_run():
    found = made("record-distributed", rounds=7)
    assert epsilon(found.releases() * 7, 1e-5) == pytest.approx(found.cost(), abs=1e-12)
    [release] = found.releases()
    assert (release.what, release.sampling_rate, release.count) == ("update", RATE, 1)


def test_noise_follows_the_learning_rate_and_the_charge_does_not():
    found = made("record-distributed")
    form = layout(found, 0.25)
    shares = [found.share(rate, form.scale.factor) for rate in (0.25, 0.025)]
    assert shares[0] / shares[1] == pytest.approx(10, rel=1e-3)
    lattice = found.share(1e-12, form.scale.factor)  # rounding moves more than a patient can, and is hidden all the same
    assert lattice > LEAST_SHARE


def test_record_local_adds_nothing_to_lanes():
    found = made("record-local", training=Training(steps=3))
    assert (found.has_shares, found.steps, found.share(0.1, 1e6)) == (False, 3, 0.0)
    with pytest.raises(ConfigError, match="the scenario's own bound"):
        found.bound(32, 0.1)
    lanes = np.arange(10, dtype=np.uint32)
    hide(lanes, 10, 0.0, seed(1))
    assert lanes.tolist() == list(range(10))


def test_only_the_tensors_lanes_get_noise():
    lanes = np.zeros(100, np.uint32)
    hide(lanes, 90, 50.0, seed(1))
    assert (lanes[:90] != 0).mean() > 0.9
    assert not lanes[90:].any()


def test_too_few_honest_clinics_are_refused():
    with pytest.raises(ConfigError, match=r"0 of them surely adding noise \(1 to 3: lose fewer"):
        Cohort(3, 0)
    with pytest.raises(ConfigError, match=r"5 of them .* 9 patients on average and 8 at most"):
        Cohort(3, 5, 9, 8)


@pytest.mark.parametrize(
    ("training", "rate", "steps"),
    [
        (Training(steps=7), 0.1, 7),
        (Training(epochs=1), 0.05, 20),
        (Training(epochs=3), 0.3, 12),
        (Training(epochs=2), 1.0, 2),
    ],
)
def test_an_epoch_is_as_many_steps_as_show_every_patient_once_on_average(training, rate, steps):
    assert steps_of(training, rate) == steps
