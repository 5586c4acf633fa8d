from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedmed.config.loading import parse
from fedmed.config.scenario import Scenario
from fedmed.errors import ConfigError, DataError
from fedmed.learning import plan as planning
from fedmed.learning import weights
from fedmed.learning.census import Census, read_census
from fedmed.learning.clinic import Clinic
from fedmed.learning.plan import Described, learning_rate, make
from fedmed.preprocess.moments import Moments
from fedmed.privacy.secagg.layout import Layout
from fedmed.privacy.secagg.questions import census_fields
from fedmed.wire import tensors as wire
from tests.learning.parts import site

TEXT = """\
name: plans
title: Plans
rounds: 10
data: {reader: csv, normalise: federated}
task: {name: tabular}
training: {learning_rate: 0.5, epochs: 1}
engine: {device: cpu}
"""


def scenario(*overrides: str) -> Scenario:
    return parse(TEXT, "plans.yaml", overrides)


def told(name: str = "north", **change: Any) -> str:
    fields = {
        "name": name,
        "classes": ["healthy", "ill"],
        "inputs": [3],
        "examples": {"train": 30, "validation": 5, "test": 5},
        "class_counts": [10, 20],
    }
    return json.dumps({**fields, **change})


def described(name: str = "north", **change: Any) -> Described:
    return Described.parse(told(name, **change))


def test_a_description_is_read_as_it_was_told():
    north = Clinic(site())
    got = Described.parse(north.describe(planning.first_preparation(scenario()).model_dump_json()))
    assert (got.name, got.classes, got.inputs) == ("north", ("a", "b"), (3,))
    assert got.examples == {"train": 40, "validation": 20, "test": 20}
    assert sum(got.class_counts) == got.moments.n == 40


@pytest.mark.parametrize(
    "text",
    [
        "",
        "None",
        "null",
        "3",
        "[]",
        "{}",
        told(inputs="abc"),
        told(inputs=None),
        told(examples=[1]),
        told(class_counts=[1, None]),
        told(class_counts=[1]),
        told(class_counts=[1, 2, 3]),
        told(class_counts=[-1, 2]),
        told(moments=[]),
        told(moments=[3, [1, 2], [1, 2]]),
        told(moments=[-3, [1, 2, 3], [1, 2, 3]]),
        told(moments=[3, [1, 2, math.nan], [1, 2, 3]]),
        told(moments=[3, [1, 2, 3], [1, 2, math.inf]]),
        told(moments=[3, [[1, 2, 3]], [1, 2, 3]]),
        told(moments=[3, ["a", "b", "c"], [1, 2, 3]]),
    ],
)
def test_a_description_that_cannot_be_true_is_refused(text):
    with pytest.raises(DataError, match=r"description cannot be read|site north describes itself wrongly"):
        Described.parse(text)


def test_the_plan_holds_the_model_for_what_the_sites_have():
    plan = make(scenario("task.name=tabular-mlp", "task.model_options={hidden: 8}"), [described(), described("south")])
    assert plan.spec.model_dump() == {
        "name": "mlp",
        "options": {"hidden": 8},
        "inputs": (3,),
        "classes": 2,
        "kind": "classification",
    }
    assert plan.class_weights == pytest.approx((math.sqrt(60 / 40), math.sqrt(60 / 80)))
    assert plan.augment == "none"
    assert plan.preparation.clip == 5.0


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"classes": ["ill", "healthy"]}, r"disagree on classes: north has .*'healthy', 'ill'.*south .*'ill', 'healthy'"),
        ({"inputs": [4]}, r"disagree on inputs: north has \(3,\), south \(4,\)"),
    ],
)
def test_sites_that_disagree_are_named(change, why):
    with pytest.raises(DataError, match=why):
        make(scenario(), [described(), described("south", **change)])


def test_the_federations_scale_is_that_of_all_cases():
    sites = [site("north", train=40), site("south", train=17)]
    request = planning.first_preparation(scenario()).model_dump_json()
    plan = make(scenario(), [Described.parse(Clinic(each).describe(request)) for each in sites])
    everything = np.concatenate([each.train.x for each in sites])
    np.testing.assert_allclose(plan.preparation.mean, everything.mean(0), rtol=1e-5)
    np.testing.assert_allclose(plan.preparation.std, everything.std(0, ddof=1), rtol=1e-5)
    assert plan.order(1).preparation == plan.preparation


@pytest.mark.parametrize("normalise", ["none", "site"])
def test_without_a_common_scale_there_is_none(normalise):
    preparation = make(scenario(f"data.normalise={normalise}"), [described()]).preparation
    assert (preparation.normalise, preparation.mean, preparation.std) == (normalise, None, None)


@pytest.mark.parametrize(
    ("kind", "counts", "expected"),
    [
        ("none", [10, 0], (1, 1)),
        ("balanced", [10, 30], (2, 2 / 3)),
        ("balanced", [10, 0, 30], (4 / 3, 0, 4 / 9)),
        ("sqrt", [10, 30], (math.sqrt(2), math.sqrt(2 / 3))),
        ("balanced", [0, 0], (0, 0)),
    ],
)
def test_weights_of_the_classes(kind, counts, expected):
    got = planning.class_weights(kind, np.array(counts))
    assert got == pytest.approx(expected)
    assert all(type(weight) is float for weight in got)


def test_balanced_weights_give_every_class_the_same_say():
    counts = np.array([3, 50, 7, 940])
    assert np.ptp(np.array(planning.class_weights("balanced", counts)) * counts) == pytest.approx(0, abs=1e-9)


def rates(schedule: str) -> list[float]:
    return [learning_rate(scenario(f"training.schedule={schedule}").training, 10, number) for number in range(1, 11)]


def test_the_schedule_goes_from_the_rate_towards_nothing():
    assert rates("constant") == [0.5] * 10
    assert rates("linear") == pytest.approx([0.5 * (1 - k / 10) for k in range(10)])
    cosine = rates("cosine")
    assert cosine == pytest.approx([0.25 * (1 + math.cos(math.pi * k / 10)) for k in range(10)])
    for falling in (rates("linear"), cosine):
        assert falling[0] == 0.5
        assert all(a > b > 0 for a, b in pairwise(falling))


def test_an_order_says_all_that_a_site_needs():
    plan = make(scenario("training.schedule=linear", "seed=7"), [described()])
    order = plan.order(4)
    assert (order.round, order.seed, order.device) == (4, 7, "cpu")
    assert order.learning_rate == pytest.approx(0.35)
    assert (order.model, order.class_weights, order.training) == (plan.spec, plan.class_weights, plan.scenario.training)


def starting_from(path: Path, *more: str) -> planning.Plan:
    return make(scenario(f"task.init={path}", *more), [described()])


def test_first_weights_come_from_the_seed():
    first = make(scenario("seed=7"), [described()]).first_weights()
    again = make(scenario("seed=7"), [described()]).first_weights()
    other = make(scenario("seed=8"), [described()]).first_weights()
    assert np.array_equal(first["1.weight"], again["1.weight"])
    assert not np.array_equal(first["1.weight"], other["1.weight"])


def test_first_weights_come_from_a_file(tmp_path):
    given = {"1.bias": np.array([0.25], np.float64), "1.weight": np.array([[1, 2, 3]], np.float16)}
    wire.save(given, tmp_path / "start.safetensors")
    got = starting_from(tmp_path / "start.safetensors").first_weights()
    assert {name: (v.dtype, v.tolist()) for name, v in got.items()} == {
        "1.weight": (np.float32, [[1, 2, 3]]),
        "1.bias": (np.float32, [0.25]),
    }
    got["1.bias"][0] = 1  # and are the run's own


def test_a_run_can_start_from_the_model_file_of_another(tmp_path):
    scale = {"preparation.mean": np.zeros(3, np.float32), "preparation.std": np.ones(3, np.float32)}
    model = weights.fresh(make(scenario(), [described()]).spec, 3)
    wire.save({**model, **scale}, tmp_path / "model.safetensors")
    got = starting_from(tmp_path / "model.safetensors").first_weights()
    assert {name: v.tolist() for name, v in got.items()} == {name: v.tolist() for name, v in model.items()}


def test_a_file_that_is_no_start_is_explained(tmp_path):
    with pytest.raises(DataError, match=r"missing.safetensors: cannot be read"):
        starting_from(tmp_path / "missing.safetensors").first_weights()
    (tmp_path / "text.safetensors").write_text("not weights at all")
    with pytest.raises(DataError, match="not a safetensors file"):
        starting_from(tmp_path / "text.safetensors").first_weights()
    wire.save({"1.weight": np.zeros((1, 4), np.float32)}, tmp_path / "other.safetensors")
    with pytest.raises(ConfigError, match=r"1.bias: got None.*1.weight: got \(1, 4\), allowed \(1, 3\)"):
        starting_from(tmp_path / "other.safetensors").first_weights()


MASKS = ("task.name=segmentation", "data.normalise=none")


def masked(name: str = "north", **change: Any) -> Described:
    return described(name, **({"masks": True, "inputs": [1, 64, 80]} | change))


def test_a_segmentation_sees_patches_and_says_so_in_every_order():
    plan = make(scenario(*MASKS, "task.patches={size: [16, 32], overlap: 0.25}", "evaluation.threshold=0.4"), [masked()])
    assert (plan.spec.kind, plan.spec.inputs, plan.spec.outputs) == ("segmentation", (1, 16, 32), 1)
    order = plan.order(3)
    assert (order.patches.size, order.patches.overlap, order.threshold) == ((16, 32), 0.25, 0.4)
    assert make(scenario(*MASKS), [masked()]).spec.inputs == (1, 64, 80)


@pytest.mark.parametrize(
    ("settings", "site", "error", "why"),
    [
        (MASKS, described(), DataError, "north has one class a case; a task of segmentation needs masks"),
        (
            ("data.normalise=none",),
            masked(inputs=[3]),
            DataError,
            "north has masks; a task of classification needs one class",
        ),
        (
            (*MASKS, "task.patches={size: [8, 8, 8]}"),
            masked(),
            ConfigError,
            r"got \[8, 8, 8\] for cases of shape \[1, 64, 80\]",
        ),
        (("task.name=segmentation",), masked(), ConfigError, "data.normalise: got federated"),
        ((*MASKS, "task.augment=scan"), masked(inputs=[7]), ConfigError, r"task.augment: scan cannot be applied to .*\[7\]"),
    ],
)
def test_what_does_not_go_together_is_refused(settings, site, error, why):
    with pytest.raises(error, match=why):
        make(scenario(*settings), [site])


OFF = "privacy.secure_aggregation=off"


def test_sums_only_are_asked_for_unless_that_is_written_off():
    assert planning.inquiry(scenario()).masked
    assert not planning.inquiry(scenario(OFF)).masked
    assert make(scenario(), [described()]).order(1).bins == 1024
    assert make(scenario(OFF), [described()]).order(1).bins is None


def test_the_plan_is_the_same_from_a_masked_census():
    sites = [Clinic(site("north", train=40)), Clinic(site("south", train=17))]
    settings = ("task.name=tabular-mlp", "task.model_options={hidden: 8}")
    open_, masked = scenario(*settings, OFF), scenario(*settings)
    request = planning.inquiry(masked).model_dump_json()
    told = [Described.parse(each.describe(request)) for each in sites]
    assert [(each.class_counts, each.moments, each.examples["train"]) for each in told] == [((), None, 50), ((), None, 20)]
    agreed = Layout((), census_fields(2, 3, 50), 32, 3, 1.0, 1)
    total = np.sum([agreed.write({}, 0, each.census(request), bytes(24)) for each in sites], axis=0, dtype=np.uint32)
    got = make(masked, told, read_census(agreed.read(total, 2), 2, 3))
    plain = planning.inquiry(open_).model_dump_json()
    exact = make(open_, [Described.parse(each.describe(plain)) for each in sites])
    assert (got.spec, got.class_weights, got.augment) == (exact.spec, exact.class_weights, exact.augment)
    assert got.preparation == exact.preparation


def test_a_census_counts_before_what_sites_say():
    census = Census((30, 10), Moments(40, np.full(3, 40.0), np.full(3, 80.0)))
    plan = make(scenario("task.class_weights=balanced"), [described()], census)
    assert plan.class_weights == pytest.approx((40 / 60, 2))
    assert plan.preparation.mean == (1, 1, 1)


def test_without_counts_and_without_a_census_there_is_no_plan():
    with pytest.raises(DataError, match=r"no counts of the classes from south: .* a census must"):
        make(scenario(), [described(), described("south", class_counts=[])])


def test_frozen_tensors_are_in_every_order():
    assert make(scenario("task.frozen=['*.bias']"), [described()]).order(1).frozen == ("*.bias",)


@pytest.mark.parametrize(
    ("frozen", "why"),
    [
        ("['1.bias', 'stem.*', 'head']", r"'stem\.\*', 'head' names no tensor of the model, which has 1\.weight, 1\.bias"),
        ("['*']", r"\['\*'\] names every weight of the model"),
        ("['1.bias', '*.weight']", "names every weight of the model"),
    ],
)
def test_what_cannot_be_frozen_is_explained(frozen, why):
    with pytest.raises(ConfigError, match=why):
        make(scenario(f"task.frozen={frozen}"), [described()])
