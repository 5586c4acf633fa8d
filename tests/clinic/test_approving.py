from __future__ import annotations

import json

import numpy as np
import pytest

from fedmed.clinic import plainly, wheels
from fedmed.clinic.approving import draft
from fedmed.clinic.judging import architecture, judge
from fedmed.clinic.terms import Terms, read_ranges
from fedmed.clinic.wheels import Lock
from fedmed.config.catalogue import builtin_scenarios
from fedmed.config.loading import load
from fedmed.errors import ConfigError, DataError, NotApproved
from fedmed.flower.keys import DESCRIBE
from fedmed.identity.approval import Approval
from fedmed.identity.proposal import Proposal, built_in, offered
from fedmed.learning import plan as planning
from fedmed.learning import weights
from fedmed.learning.order import ModelSpec
from fedmed.learning.plan import Described
from tests.clinic.staff import DATASET, PLAIN, POLICY, WHEELS, offer, staffed, text
from tests.clinic.test_releasing import NOW, dataset

SHAPES = {
    "demo": ("phantom", [64, 64], "float32", False, 2),
    "heart": ("heart", [13], "float32", False, 2),
    "heart-tuned": ("heart", [25], "float32", False, 2),
    "pneumonia": ("pneumonia", [28, 28], "uint8", False, 2),
    "vessels": ("chase", [960, 999], "uint8", True, 2),
}


def approval(name: str, *overrides: str) -> Approval:
    reader, shape, stored, masks, spatial = SHAPES[name]
    scenario = load(builtin_scenarios()[name], overrides)
    what = offered(Proposal(run="r", scenario=scenario, app=built_in(), fedmed="1"))
    options = dict(scenario.data.options)
    found = dataset(reader=reader, shape=shape, stored=stored, masks=masks, spatial=spatial, options=options)
    return draft(what, found, POLICY, built_in(), WHEELS, PLAIN, NOW)


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_what_the_center_will_order_is_what_was_approved(name):
    """The center plans from what clinics tell it, the clinic from its own data set: both come to the same orders."""
    made = approval(name)
    scenario = made.offered().proposal.scenario
    inputs = made.order["model"]["inputs"] if scenario.task.patches is None else [1, *SHAPES[name][1]]
    masks = SHAPES[name][3]
    sites = [Described(each, ("a", "b"), tuple(inputs), {"train": 100}, (60, 40), None, masks=masks) for each in "xyz"]
    plan = planning.make(scenario, sites)
    assert judge(made, DESCRIBE, text(planning.inquiry(scenario).model_dump_json())) is None
    for number in (1, scenario.rounds):
        assert judge(made, "train", text(plan.order(number).model_dump_json(), **{"server-round": number})) == number
        assert judge(made, "evaluate", text(plan.order(number).model_dump_json())) == number


def test_another_architecture_is_another_digest():
    def of(**changed: object) -> str:
        spec = ModelSpec(name="mlp", inputs=(4,), classes=2).model_copy(update=changed)
        return architecture(spec.model_dump(mode="json"), weights.fresh(spec, 1))

    assert of() == of()
    for other in ({"options": {"hidden": 8}}, {"inputs": (5,)}, {"classes": 3}, {"name": "logistic-regression"}):
        assert of(**other) != of()


def test_the_models_tensors_are_those_of_the_architecture():
    made = approval("heart")
    spec = ModelSpec.model_validate_json(json.dumps(made.order["model"]))
    model = weights.fresh(spec, 1)
    judge(made, "train", text(made.order), dict(reversed(model.items())))
    name, value = next(iter(model.items()))
    for other in (
        {},
        {**model, name: value.astype(np.float64)},
        {**model, name: value[:, :1]},
        {**model, "more": value},
        weights.fresh(spec.model_copy(update={"name": "mlp"}), 1),
    ):
        with pytest.raises(NotApproved, match="tensors are not those"):
            judge(made, "train", text(made.order), other)
    with pytest.raises(NotApproved, match="without tensors"):
        judge(made, DESCRIBE, text(made.inquiry), model)
    judge(made, DESCRIBE, text(made.inquiry), {})


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("learning_rate=0.1..0.2", ("learning_rate", 0.1, 0.2)),
        ("training.epochs=1..3", ("epochs", 1.0, 3.0)),
        ("l2=0", ("l2", 0.0, 0.0)),
    ],
)
def test_ranges(said, found):
    assert read_ranges([said]) == (found,)


@pytest.mark.parametrize("said", ["", "l2", "rounds=1..2", "l2=2..1", "l2=a..b", "l2=nan..1", "l2=0..nan"])
def test_ranges_that_are_none(said):
    with pytest.raises(ConfigError, match="--allow"):
        read_ranges([said])


def test_everything_that_does_not_go_together(tmp_path):
    clinic = staffed(tmp_path)
    for what, terms, words in (
        (offer("data.reader=npz", "data.options={}"), PLAIN, "the run reads npz"),
        (offer("task.name=segmentation"), PLAIN, "are no images"),
        (offer(), Terms(days=0), "1 to 366 days"),
        (offer(), Terms(days=367), "1 to 366 days"),
        (offer(), Terms(ranges=(("learning_rate", 1.0, 2.0),)), "leaves out"),
        (offer(), Terms(ranges=(("steps", 1.0, 2.0),)), "leaves out"),
    ):
        with pytest.raises((ConfigError, DataError), match=words):
            clinic.draft(what, terms)
    with pytest.raises(NotApproved, match="epsilon up to 2"):
        clinic.draft(offer(), PLAIN, POLICY.model_copy(update={"most_epsilon": 2.0}))


def test_every_change_is_told(tmp_path):
    clinic = staffed(tmp_path)
    old = clinic.draft(offer())
    assert plainly.changed(old, old, {"a.py": b"1"}, {"a.py": b"1"}) == []
    for override, words in (
        ("training.learning_rate=0.2", "training.learning_rate: 0.1 -> 0.2"),
        ("task.model=mlp", 'order.model.name: "logistic-regression" -> "mlp"'),
        ("privacy.least_sum=5", "approval.least_members: 3 -> 5"),
        ("purpose=quality", 'purpose: "research" -> "quality"'),
    ):
        assert words in plainly.changed(old, clinic.draft(offer(override)), {}, {})
    newer = old.model_copy(update={"packages": {"numpy": "2.1"}, "wheels": "f" * 64})
    found = plainly.changed(old, newer, {}, {})
    assert "package numpy: 2.0 -> 2.1" in found
    same = plainly.changed(old, old.model_copy(update={"wheels": "f" * 64}), {}, {})
    assert "packages: of the same versions, but other files" in same


def test_a_programs_changed_files_line_by_line():
    old = {"a.py": b"x = 1\n", "gone.py": b"old\n", "same.py": b"s"}
    new = {"a.py": b"x = 2\n\x1b]0;\x07", "new.py": b"", "same.py": b"s", "b.md": b"\xff"}
    found = list(plainly.program_changes(old, new))
    assert found[:5] == ["--- a/a.py", "+++ b/a.py", "@@ -1,2 +1,2 @@", "-x = 1", "-"]
    assert "+x = 2" in found
    assert "+\\x1b]0;\\x07" in found
    assert "+++ /dev/null" in found
    assert [line for line in found if line.startswith("new.py: added")]
    assert not [line for line in found if "same.py" in line]


def test_plain_words_name_what_matters(tmp_path):
    clinic = staffed(tmp_path)
    made = clinic.draft(offer("title=\u202eevil"), Terms(ranges=(("learning_rate", 0.1, 0.3),)))
    rows = dict(plainly.rows(made, clinic.datasets.get(DATASET), built_in()))
    assert rows["run"] == "wards-1, \\u202eevil"
    assert "learning_rate anywhere from 0.1 to 0.3" in rows["training"]
    assert rows["privacy"].startswith("none")
    assert rows["sums over"] == "3 clinics at least"


def test_the_lock_is_of_names_versions_and_files():
    found = wheels.lock()
    assert found == wheels.lock()
    assert {"fedmed", "numpy", "torch", "pydantic"} <= set(found.packages)
    assert len(found.digest) == 64
    assert wheels.changes({"a": "1", "b": "2"}, {"b": "3", "c": "1"}) == ["a: 1 -> absent", "b: 2 -> 3", "c: absent -> 1"]
    assert json.dumps(Lock("a", {}).packages) == "{}"
