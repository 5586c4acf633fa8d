from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from fedmed.errors import ConfigError, DataError
from fedmed.learning import weights
from fedmed.learning.clinic import Clinic
from fedmed.learning.order import Preparation
from fedmed.wire.asides import Aside, heard_by
from tests.learning.parts import CNN, SPEC, order, site


def described(clinic: Clinic, **preparation) -> dict:
    return json.loads(clinic.describe(Preparation(**preparation).model_dump_json()))


def one_class(part: str, which: int = 1):
    north = site()
    return replace(north, **{part: replace(getattr(north, part), y=np.full(len(getattr(north, part)), which))})


def test_a_clinic_tells_counts_and_no_case():
    north = site("north", train=40, validation=20, test=10)
    told = described(Clinic(north))
    assert told == {
        "name": "north",
        "classes": ["a", "b"],
        "inputs": [3],
        "examples": {"train": 40, "validation": 20, "test": 10},
        "class_counts": np.bincount(north.train.y).tolist(),
    }


def test_for_a_common_scale_it_tells_sums_and_no_case():
    north = site()
    n, sums, squares = described(Clinic(north), normalise="federated")["moments"]
    assert n == 40
    np.testing.assert_allclose(sums, north.train.x.sum(0, dtype=np.float64))
    np.testing.assert_allclose(squares, np.square(north.train.x, dtype=np.float64).sum(0))


@pytest.mark.parametrize(("features", "inputs"), [("image", [1, 8, 8]), ("invariants", [64 + 64 + 40 + 64 + 6])])
def test_it_tells_the_shape_that_the_model_will_see(features, inputs):
    assert described(Clinic(site(shape=(8, 8), kind=np.uint8)), features=features)["inputs"] == inputs


def test_a_class_that_nobody_has_is_counted():
    assert described(Clinic(one_class("train", 0)))["class_counts"] == [40, 0]


def test_a_clinic_without_training_cases_says_so():
    empty = Clinic(site("lonely", train=0))
    told = described(empty)
    assert (told["examples"]["train"], told["class_counts"], told["inputs"]) == (0, [0, 0], [3])
    with pytest.raises(DataError, match="site lonely has no training cases"):
        empty.train(order(preparation=Preparation()), weights.fresh(SPEC, 0))


def test_training_answers_with_the_model_its_cases_and_the_loss():
    start = weights.fresh(SPEC, 0)
    tensors, numbers = Clinic(site()).train(order(), start)
    assert numbers["num-examples"] == 40
    assert 0 < numbers["loss"] < 2
    assert set(numbers) == {"num-examples", "loss"}
    assert {name: (v.shape, v.dtype) for name, v in tensors.items()} == {n: (v.shape, v.dtype) for n, v in start.items()}
    assert not np.array_equal(tensors["1.weight"], start["1.weight"])


def test_a_clinic_trains_alike_whatever_it_did_before():
    start, clinic = weights.fresh(SPEC, 0), Clinic(site())
    first = {name: value.copy() for name, value in clinic.train(order(5), start)[0].items()}
    clinic.train(order(6), start)
    clinic.validate(order(6), start)
    again, _ = clinic.train(order(5), start)
    assert all(np.array_equal(first[name], again[name]) for name in first)


@pytest.mark.parametrize("weighing", [(1.0, 1.0), (0.5, 3.0)])
def test_validation_agrees_with_scikit_learn(weighing):
    north, model = site(), weights.fresh(SPEC, 0)
    numbers = Clinic(north).validate(order(class_weights=weighing), model)
    mean, std = north.train.x.mean(0), north.train.x.std(0, ddof=1)
    logits = ((north.validation.x - mean) / std) @ model["1.weight"][0] + model["1.bias"]
    p, y = 1 / (1 + np.exp(-logits.astype(np.float64))), north.validation.y
    each = np.array(weighing)[y]
    assert numbers == {
        "num-examples": 20,
        "loss": pytest.approx(log_loss(y, p, sample_weight=each), rel=1e-4),
        "auc": pytest.approx(roc_auc_score(y, p)),
    }


def test_validation_of_more_classes():
    north = site(shape=(16, 16), classes=3)
    numbers = Clinic(north).validate(order(spec=CNN, preparation=Preparation(features="image")), weights.fresh(CNN, 0))
    assert numbers["num-examples"] == 20
    assert 0 <= numbers["auc"] <= 1
    assert math.isfinite(numbers["loss"])


def test_one_class_alone_can_train_and_has_no_auc():
    clinic = Clinic(one_class("train"))
    tensors, numbers = clinic.train(order(), weights.fresh(SPEC, 0))
    assert all(np.isfinite(value).all() for value in tensors.values())
    assert math.isfinite(numbers["loss"])
    numbers = Clinic(one_class("validation")).validate(order(), weights.fresh(SPEC, 0))
    assert math.isnan(numbers["auc"])
    assert math.isfinite(numbers["loss"])


def test_no_validation_cases_are_zero_cases():
    numbers = Clinic(site(validation=0)).validate(order(), weights.fresh(SPEC, 0))
    assert numbers["num-examples"] == 0
    assert math.isnan(numbers["loss"])
    assert math.isnan(numbers["auc"])


def test_a_model_that_is_certain_and_wrong_has_a_finite_loss():
    model = {"1.weight": np.full((1, 3), -1e6, np.float32), "1.bias": np.zeros(1, np.float32)}
    assert math.isfinite(Clinic(site()).validate(order(), model)["loss"])


@pytest.mark.parametrize("ask", ["describe", "train", "validate"])
def test_values_that_are_not_finite_are_refused_with_the_sites_name(ask):
    x = site().train.x.copy()
    x[3, 1] = np.nan
    clinic = Clinic(replace(site("bedside"), train=replace(site().train, x=x)))
    asking = {
        "describe": lambda: described(clinic, normalise="federated"),
        "train": lambda: clinic.train(order(preparation=Preparation()), weights.fresh(SPEC, 0)),
        "validate": lambda: clinic.validate(order(preparation=Preparation()), weights.fresh(SPEC, 0)),
    }
    with pytest.raises(DataError, match=r"site bedside: .*not finite"):
        asking[ask]()


def test_weights_of_another_model_are_refused():
    with pytest.raises(ConfigError, match="not the model's"):
        Clinic(site()).train(order(), weights.fresh(CNN, 0))


def test_inputs_are_prepared_once_a_preparation():
    clinic = Clinic(site())
    assert clinic.inputs(Preparation()) is clinic.inputs(Preparation())
    assert clinic.inputs(Preparation(clip=1.0)) is not clinic.inputs(Preparation())


def test_its_own_test_cases_are_looked_at_for_itself_alone_and_only_where_it_listens():
    north, tensors = site("north", test=30), weights.fresh(SPEC, 0)
    measured = Clinic(north).validate(order(5), tensors)
    heard: list[Aside] = []
    with heard_by(heard.append):
        listening = Clinic(north)
        assert listening.validate(order(5), tensors) == measured
        trained, metrics = listening.train(order(1), tensors)
        listening.train(order(2), trained)
        put = listening.score(order(3, bins=16), trained)
    theirs, same = Clinic(north).train(order(1), tensors)
    assert metrics == same
    assert {name: value.tobytes() for name, value in trained.items()} == {name: v.tobytes() for name, v in theirs.items()}
    assert put.keys() == Clinic(north).score(order(3, bins=16), trained).keys()
    assert [(each.round, each.cases) for each in heard] == [(5, 30), (0, 30), (3, 30)]
    swapped = Clinic(replace(north, validation=north.test)).validate(order(5), tensors)
    assert heard[0].figures == {"auc": swapped["auc"], "loss": swapped["loss"]} == heard[1].figures


def test_figures_that_are_undefined_or_of_nothing():
    heard: list[Aside] = []
    with heard_by(heard.append):
        Clinic(one_class("test")).validate(order(1), weights.fresh(SPEC, 0))
        Clinic(site(test=0)).validate(order(1), weights.fresh(SPEC, 0))
    assert [each.figures["auc"] for each in heard] == [None]


def test_under_differential_privacy_a_model_is_seen_where_the_next_round_begins():
    heard: list[Aside] = []
    private = {"mode": "clinic", "clip": 1.0, "noise_multiplier": 1.0}
    with heard_by(heard.append):
        Clinic(site()).train(order(4, privacy=private), weights.fresh(SPEC, 0))
    assert [each.round for each in heard] == [3]
