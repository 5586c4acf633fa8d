from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from fedmed.errors import ProtocolRefused, UpdateRefused
from fedmed.learning import weights
from fedmed.learning.clinic import Clinic
from fedmed.learning.order import ModelSpec, Order, Preparation
from fedmed.learning.prediction import predict
from fedmed.learning.scoring import read_score, read_update, score_fields
from fedmed.outbound.update import CASES, values_of
from fedmed.privacy.secagg.layout import Layout, Sum
from fedmed.privacy.secagg.metrics import RESOLUTION
from fedmed.privacy.secagg.questions import LOSS_BOUND, update_fields
from fedmed.sites.cases import Cases, Site
from tests.learning import test_kinds
from tests.learning.parts import CNN, SPEC, order, site

MOST = 200
SCORED = order(bins=1024)
CNN_ORDER = order(spec=CNN, preparation=Preparation(features="image"), bins=256)
MODEL = {"1.weight": np.array([[0.9, -0.2, 0.5]], np.float32), "1.bias": np.zeros(1, np.float32)}


def through_lanes(fields, puts, bits: int = 32) -> Sum:
    agreed = Layout((), fields, bits, 10, 1.0, 1)
    vectors = [agreed.write({}, 0, put, bytes(24)) for put in puts]
    return agreed.read(np.sum(vectors, axis=0, dtype=vectors[0].dtype), len(vectors))


def put_update(weight: int, loss: float) -> dict:
    """What a clinic's gate makes of an app's metrics."""
    agreed = Layout((), update_fields(MOST), 32, 10, 1.0, MOST)
    return values_of(agreed, {CASES: weight, "loss": loss})[1]


def scored(sites: list[Site], an_order: Order, tensors) -> dict:
    puts = [Clinic(each).score(an_order, tensors) for each in sites]
    bins = an_order.bins or 1024
    return read_score(through_lanes(score_fields(an_order.model, MOST, bins), puts), an_order.model, bins)


losses = st.one_of(st.floats(-LOSS_BOUND, LOSS_BOUND), st.sampled_from([math.nan, math.inf, -math.inf, 1e4]))


@given(st.lists(st.tuples(st.integers(1, MOST), losses), min_size=1, max_size=10), st.sampled_from([16, 32]))
@settings(deadline=None)
def test_updates_tell_their_weight_and_mean_loss_in_sum(sites, bits):
    puts = [put_update(weight, loss) for weight, loss in sites]
    got = read_update(through_lanes(update_fields(MOST), puts, bits))
    known = [(weight, loss) for weight, loss in sites if abs(loss) <= LOSS_BOUND]
    assert got["weight"] == sum(weight for weight, _ in sites)
    if not sum(weight for weight, _ in known):
        assert got["loss"] is None
        return
    exact = math.fsum(w * loss for w, loss in known) / sum(w for w, _ in known)
    assert got["loss"] == pytest.approx(exact, abs=10 * RESOLUTION, rel=1e-12)


own_values = st.lists(st.tuples(st.integers(1, MOST), st.none() | st.floats(-1.1, 1.1)), min_size=1, max_size=10)


@given(own_values, st.floats(1e-30, 1e30), st.sampled_from([16, 32]))
@settings(deadline=None)
def test_numbers_of_the_researchers_own_are_means_within_half_a_step(sites, bound, bits):
    own = {"own": bound}
    told = [(weight, None if share is None else share * bound) for weight, share in sites]
    agreed = Layout((), update_fields(MOST, own), 32, 10, 1.0, MOST)
    puts = [values_of(agreed, {CASES: weight, "loss": 0.5, "own": value}, own)[1] for weight, value in told]
    got = read_update(through_lanes(update_fields(MOST, own), puts, bits), own)
    known = [(weight, value / bound) for weight, value in told if value is not None and abs(value) <= bound]
    assert got.keys() == {"weight", "loss", "own"}
    if not known:
        assert got["own"] is None
        return
    exact = math.fsum(weight * share for weight, share in known) / sum(weight for weight, _ in known)
    assert got["own"] / bound == pytest.approx(exact, abs=2.0**-31 + 1e-14)


@given(st.lists(st.integers(0, 40), min_size=1, max_size=5), st.integers(0, 2**32), st.sampled_from([2, 64, 1024]))
@settings(deadline=None, max_examples=40)
def test_the_auc_is_that_of_all_sites_cases_within_its_error(sizes, seed, bins):
    random = np.random.default_rng(seed)
    sites, pooled = [], []
    for number, count in enumerate(sizes):
        y = random.integers(0, 2, count)
        x = (random.normal(size=(count, 3)) + y[:, None]).astype(np.float32)
        validation = Cases(x, y, ("a", "b"))
        sites.append(replace(site(f"s{number}"), validation=validation))
        pooled.append((x, y))
    an_order = order(preparation=Preparation(), bins=bins)
    got = scored(sites, an_order, MODEL)
    x, y = (np.concatenate(parts) for parts in zip(*pooled, strict=True))
    assert got["cases"] == len(y)
    if len(set(y)) < 2:
        assert (got["auc"], got["auc_error"]) == (None, None)
        return
    scores = predict(weights.loaded(SPEC, MODEL), torch.from_numpy(x), torch.device("cpu"))[:, 1].numpy()
    assert abs(got["auc"] - roc_auc_score(y, scores)) <= got["auc_error"] + 1e-12


@pytest.mark.parametrize(("an_order", "more"), [(SCORED, {}), (CNN_ORDER, {"shape": (16, 16), "classes": 3})])
def test_one_sites_scores_agree_with_its_validation(an_order, more):
    model = weights.fresh(an_order.model, 0)
    north = site(**more)
    exact = Clinic(north).validate(an_order, model)
    got = scored([north], an_order, model)
    assert set(got) == {"cases", "loss", "auc", "auc_error"}
    assert got["cases"] == exact["num-examples"] == 20
    assert got["loss"] == pytest.approx(exact["loss"], abs=RESOLUTION)
    assert abs(got["auc"] - exact["auc"]) <= got["auc_error"] + 1e-6
    assert got["auc_error"] < 0.2


@pytest.mark.parametrize(("an_order", "more"), [(SCORED, {}), (CNN_ORDER, {"shape": (16, 16), "classes": 3})])
def test_a_site_without_validation_cases_adds_nothing(an_order, more):
    model = weights.fresh(an_order.model, 0)
    empty, north = site("empty", validation=0, **more), site(**more)
    assert all(not np.any(value) for value in Clinic(empty).score(an_order, model).values())
    assert scored([north, empty], an_order, model) == scored([north], an_order, model)
    assert scored([empty], an_order, model) == {"cases": 0, "loss": None, "auc": None, "auc_error": None}


def test_the_loss_is_weighed_by_cases():
    sites = [site("a", validation=10), site("b", validation=30, classes=2)]
    exact = [Clinic(each).validate(SCORED, MODEL)["loss"] for each in sites]
    assert scored(sites, SCORED, MODEL)["loss"] == pytest.approx((exact[0] + 3 * exact[1]) / 4, abs=RESOLUTION)


def test_a_model_that_diverged_is_refused_at_the_site():
    broken = {**MODEL, "1.bias": np.array([np.nan], np.float32)}
    with pytest.raises(UpdateRefused, match="weights are not usable"):
        Clinic(site()).score(SCORED, broken)


def test_masks_have_loss_and_dice_by_cases():
    an_order = test_kinds.order((16, 20), bins=1024)
    model = weights.fresh(an_order.model, 0)
    north = test_kinds.site((16, 20))
    clear = replace(north, validation=test_kinds.masked(1, (16, 20), 9))
    exact = [Clinic(each).validate(an_order, model) for each in (north, clear)]
    got = scored([north, clear], an_order, model)
    assert got["cases"] == 4
    for name in ("loss", "dice"):
        assert got[name] == pytest.approx((3 * exact[0][name] + exact[1][name]) / 4, abs=2 * RESOLUTION)


def test_masks_that_are_empty_and_found_so_leave_the_dice_unknown():
    an_order = test_kinds.order((16, 20), bins=1024, threshold=0.999999)
    model = weights.fresh(an_order.model, 0)
    north = test_kinds.site((16, 20))
    clear = replace(north, validation=replace(north.validation, y=np.zeros_like(north.validation.y)))
    none = replace(north, validation=north.validation.take(np.arange(0)))
    assert scored([clear], an_order, model)["dice"] is None
    assert scored([clear], an_order, model)["loss"] is not None
    assert scored([north, clear], an_order, model)["dice"] == scored([north], an_order, model)["dice"]
    assert scored([none], an_order, model) == {"cases": 0, "loss": None, "dice": None}


def test_counts_that_contradict_each_other_are_refused():
    put = Clinic(site(shape=(16, 16), classes=3)).score(CNN_ORDER, weights.fresh(CNN, 0))
    put["correct"] = np.asarray(put["correct"]) + 50
    with pytest.raises(ProtocolRefused, match="do not count the same cases"):
        read_score(through_lanes(score_fields(CNN, MOST, 256), [put]), CNN, 256)


def test_the_fields_follow_from_the_task():
    four = ModelSpec(name="mlp", inputs=(3,), classes=4)
    masks = test_kinds.order((16, 20)).model
    names = [[field.name for field in score_fields(spec, MOST, 64)] for spec in (SPEC, four, masks)]
    loss = ["loss.sum", "loss.weight"]
    assert names == [[*loss, "scores"], [*loss, "scores", "correct"], [*loss, "cases", "dice.sum", "dice.weight"]]
