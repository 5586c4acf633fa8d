from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fedmed.clinic import judging
from fedmed.clinic.judging import judge, judge_epoch, judge_protection
from fedmed.clinic.terms import Terms
from fedmed.errors import NotApproved
from fedmed.flower.keys import CENSUS, CONFIG_KEY, DESCRIBE
from fedmed.identity.approval import Approval
from fedmed.learning.order import Order
from tests.clinic.staff import POLICY, offer, staffed, text

FEDERATED = "data.normalise=federated"
PRIVATE = (
    "data.normalise=none",
    "privacy.differential_privacy={mode: record-distributed, epsilon: 4, delta: 0.00001, rate: 0.2}",
    "training={learning_rate: 0.1, steps: 1}",
    "federation.gate=off",
)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> dict[str, Approval]:
    """Approvals of several scenarios; drafting one loads PyTorch."""
    clinic = staffed(tmp_path_factory.mktemp("clinic"))
    ranged = Terms(ranges=(("learning_rate", 0.05, 0.2), ("epochs", 1, 3)))
    return {
        "plain": clinic.draft(offer()),
        "ranged": clinic.draft(offer(), ranged),
        "federated": clinic.draft(offer(FEDERATED)),
        "balanced": clinic.draft(offer("task.class_weights=balanced")),
        "private": clinic.draft(offer(*PRIVATE)),
        "fedprox": clinic.draft(offer("strategy={name: fedprox, options: {proximal_mu: 0.1}}")),
        "off": clinic.draft(offer("privacy.secure_aggregation=off"), policy=POLICY.model_copy(update={"encryption": "off"})),
    }


def leaves(value: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if isinstance(value, dict) and value:
        return [leaf for key, each in value.items() for leaf in leaves(each, (*path, key))]
    return [path]


def changed(said: Any, path: tuple[str, ...], value: Any) -> Any:
    return {**said, path[0]: changed(said[path[0]], path[1:], value)} if path else value


def at(said: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        said = said[key]
    return said


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 2000),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["none", "site", "federated", "mlp", "sgd", "adam", "cuda", "xray", "x", "1", "0.1"]),
    st.lists(st.floats(-2, 2), max_size=3),
    st.dictionaries(st.sampled_from(["hidden", "x"]), st.integers(0, 9), max_size=2),
)
FREE = {
    ("round",),
    ("seed",),
    ("learning_rate",),
    ("privacy", "patients"),
    ("privacy", "most_patients"),
    ("privacy", "noise_multiplier"),
}


@given(st.data())
def test_no_order_with_another_field_passes(made, data):
    approval = made[data.draw(st.sampled_from(["plain", "private", "fedprox", "off"]))]
    path = data.draw(st.sampled_from(leaves(approval.order)))
    value = data.draw(VALUES)
    order = changed(approval.order, path, value)
    same = json.dumps(value) == json.dumps(at(approval.order, path))
    number_same = (
        type(value) in (int, float) and value == at(approval.order, path) and not isinstance(at(approval.order, path), bool)
    )
    if same or number_same:
        judge(approval, "train", text(order))
        return
    assume(path not in FREE)
    with pytest.raises(NotApproved):
        judge(approval, "train", text(order))


@given(st.data())
def test_no_question_with_another_field_passes(made, data):
    approval = made[data.draw(st.sampled_from(["plain", "private"]))]
    path, value = data.draw(st.sampled_from(leaves(approval.inquiry))), data.draw(VALUES)
    asked = changed(approval.inquiry, path, value)
    for kind in (DESCRIBE, CENSUS):
        if asked == approval.inquiry and type(value) is type(at(approval.inquiry, path)):
            assert judge(approval, kind, text(asked)) is None
        elif asked != approval.inquiry:
            with pytest.raises(NotApproved):
                judge(approval, kind, text(asked))


@given(st.integers(-5, 20), st.integers(0, 2**62), st.floats(-1, 1))
def test_the_rate_follows_the_schedule(made, number, seed, rate):
    approval = made["plain"]
    due = 0.1 * (1 - (number - 1) / 10)
    order = {**approval.order, "round": number, "seed": seed}
    if 1 <= number <= 10:
        assert judge(approval, "train", text({**order, "learning_rate": due})) == number
    else:
        with pytest.raises(NotApproved, match="round: got"):
            judge(approval, "train", text({**order, "learning_rate": due}))
    if not math.isclose(rate, due, rel_tol=1e-6, abs_tol=1e-6):
        with pytest.raises(NotApproved, match="learning_rate: got"):
            judge(approval, "train", text({**order, "learning_rate": rate}))


@given(st.floats(0.001, 1), st.integers(1, 6), st.integers(1, 10))
def test_ranges_are_as_wide_as_they_were_approved_and_no_wider(made, rate, epochs, number):
    approval = made["ranged"]
    training = {**approval.order["training"], "learning_rate": rate, "epochs": epochs}
    order = {**approval.order, "training": training, "round": number, "learning_rate": rate * (1 - (number - 1) / 10)}
    if 0.05 <= rate <= 0.2 and epochs <= 3:
        assert judge(approval, "train", text(order)) == number
    else:
        with pytest.raises(NotApproved, match=r"training\."):
            judge(approval, "train", text(order))
    with pytest.raises(NotApproved, match=r"training\.momentum"):
        judge(approval, "train", text(changed(order, ("training", "momentum"), 0.5)))
    if rate != 0.1:
        with pytest.raises(NotApproved, match=r"training\.learning_rate"):
            judge(made["plain"], "train", text(order))


NUMBERS = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=4)


@given(NUMBERS, NUMBERS)
def test_a_federations_scale_has_a_number_a_feature(made, mean, std):
    approval = made["federated"]
    order = {**approval.order, "preparation": {**approval.order["preparation"], "mean": mean, "std": std}}
    if len(mean) == len(std) == 2 and min(std) > 0:
        assert judge(approval, "train", text(order)) == 1
    else:
        with pytest.raises(NotApproved, match=r"preparation\."):
            judge(approval, "train", text(order))
    with pytest.raises(NotApproved, match=r"preparation\."):
        judge(made["plain"], "train", text({**order, "preparation": {**order["preparation"], "normalise": "none"}}))


@given(st.lists(st.floats(-1, 1e9), max_size=4))
def test_class_weights_come_from_counts_only_where_the_run_says_so(made, weights):
    order = {**made["balanced"].order, "class_weights": weights}
    if len(weights) == 2 and min(weights) >= 0:
        judge(made["balanced"], "train", text(order))
    else:
        with pytest.raises(NotApproved, match="class_weights"):
            judge(made["balanced"], "train", text(order))
    if weights != [1.0, 1.0]:
        with pytest.raises(NotApproved, match="class_weights"):
            judge(made["plain"], "train", text({**made["plain"].order, "class_weights": weights}))


def test_under_differential_privacy_the_terms_are_the_scenarios(made):
    approval = made["private"]
    work = {"noise_multiplier": 2.5, "patients": 500, "most_patients": 1000}
    judge(approval, "train", text({**approval.order, "privacy": {**approval.order["privacy"], **work}}))
    for key, value in (("clip", 2.0), ("rate", 0.9), ("mode", "record-local")):
        with pytest.raises(NotApproved, match=rf"privacy\.{key}"):
            judge(approval, "train", text(changed(approval.order, ("privacy", key), value)))
    with pytest.raises(NotApproved, match="privacy"):
        judge(approval, "train", text({**approval.order, "privacy": None}))
    with pytest.raises(NotApproved, match="privacy"):
        judge(made["plain"], "train", text({**made["plain"].order, "privacy": approval.order["privacy"]}))


def test_settings_beside_the_order(made):
    plain, prox = made["plain"], made["fedprox"]
    judge(plain, "train", text(plain.order, **{"server-round": 1}))
    judge(prox, "train", text(prox.order, **{"server-round": 1, "proximal-mu": 0.1}))
    for approval, beside in (
        (plain, {"server-round": 2}),
        (plain, {"proximal-mu": 0.1}),
        (prox, {"proximal-mu": 0.2}),
        (plain, {"path": "/etc"}),
        (plain, {"server-round": True}),
    ):
        with pytest.raises(NotApproved, match="setting"):
            judge(approval, "train", text(approval.order, **beside))
    with pytest.raises(NotApproved, match="setting"):
        judge(plain, DESCRIBE, text(plain.inquiry, x=1))


@pytest.mark.parametrize(
    "said",
    [
        "",
        "[]",
        "{}",
        '{"config": 3}',
        '{"config": {}}',
        json.dumps({"a": {CONFIG_KEY: "{}"}, "b": {CONFIG_KEY: "{}"}}),
        json.dumps({"a": {CONFIG_KEY: 3}}),
        json.dumps({"a": {CONFIG_KEY: "{}", "x": 1}, "b": {"x": 1}}),
        text("not json"),
        text("{}"),
        text("null"),
        "[" * 100_000,
        " " * (judging.MOST_TEXT + 1),
    ],
)
def test_texts_that_are_no_order(made, said):
    for kind in ("train", "evaluate", DESCRIBE, CENSUS):
        with pytest.raises(NotApproved):
            judge(made["plain"], kind, said)


def test_an_order_that_two_parsers_would_read_differently(made):
    approval = made["plain"]
    order = json.dumps(approval.order)
    judge(approval, "train", text(order))
    for strange in (
        order.replace('"round": 1', '"round": 9, "round": 1'),
        order.replace('"round": 1', '"round": "1"'),
        order.replace('"round": 1', '"round": true'),
        order.replace('"learning_rate": 0.1', '"learning_rate": NaN'),
        order.replace('"learning_rate": 0.1', '"learning_rate": "0.1"'),
        order.replace('"round": 1', '"round": 1, "extra": 1'),
    ):
        assert strange != order
        with pytest.raises(NotApproved):
            judge(approval, "train", text(strange))


def test_an_older_center_that_leaves_out_what_has_its_default(made):
    order = {key: value for key, value in made["plain"].order.items() if key not in ("patches", "privacy", "frozen")}
    assert judge(made["plain"], "train", text(order)) == 1


def test_other_kinds_of_messages(made):
    for kind in ("query.shell", "", "system", "train.other"):
        with pytest.raises(NotApproved, match="answers nothing"):
            judge(made["plain"], kind, text(made["plain"].order))


def test_protection_that_is_weaker_than_the_clinics_own(made):
    for approval, rules, said in (
        (made["off"], {}, "encryption off"),
        (made["off"], {"encryption": "hbc"}, "encryption off"),
        (made["plain"], {"least_members": 4}, "3 clinics or more"),
        (made["plain"], {"most_epsilon": 8.0}, "differential privacy: none"),
        (made["private"], {"most_epsilon": 3.0}, "epsilon 4"),
        (made["private"], {"most_epsilon": 8.0, "privacy_modes": ("clinic",)}, "mode record-distributed"),
    ):
        with pytest.raises(NotApproved, match=said):
            judge_protection(approval, POLICY.model_copy(update=rules))
    judge_protection(made["off"], POLICY.model_copy(update={"encryption": "off", "least_members": 10}))
    judge_protection(made["private"], POLICY.model_copy(update={"most_epsilon": 4.0}))


@given(st.sampled_from(["malicious", "hbc", "off", "x"]), st.integers(1, 9), st.integers(1, 9))
def test_an_epoch_is_as_strong_as_approved(made, mode, members, least):
    if mode == "malicious" and members >= 3 and least >= 3:
        judge_epoch(made["plain"], mode, members, least)
    else:
        with pytest.raises(NotApproved, match="approved for run"):
            judge_epoch(made["plain"], mode, members, least)


def test_every_rule_names_a_field_of_an_order(made):
    known = set(leaves(made["private"].order)) | set(leaves(made["plain"].order))
    assert set(judging.RULES) <= known
    assert {(*path[:n],) for path in known for n in range(1, 4)} >= judging.WHOLE
    assert Order.model_validate(made["plain"].order)
