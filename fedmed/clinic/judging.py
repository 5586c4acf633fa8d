"""Whether what a center asks is what the clinic's staff approved: pure, and without PyTorch, for every message of a run.

An order is compared field by field with the one that the approval was given for. What a center may choose is in `RULES`:
the round, the seed, what a run's own sums decide (the federation's scale and class weights, noise, mean number of patients);
and numbers of `training` that the staff approved as ranges. A field without a rule has to be equal, so that one that a later
version adds is closed until somebody opens it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from fedmed.config.allowed import shown
from fedmed.config.roles import Clinic
from fedmed.config.scenario import Scenario
from fedmed.errors import NotApproved
from fedmed.flower import keys
from fedmed.identity.approval import STRENGTH, Approval
from fedmed.learning.order import MAX_ORDER_BYTES, Inquiry, Order
from fedmed.learning.schedule import learning_rate
from fedmed.wire.canonical import digest

TRAIN, EVALUATE = "train", "evaluate"
QUESTIONS, WORK = (keys.DESCRIBE, keys.CENSUS), (TRAIN, EVALUATE)
WITHOUT_DATA = (keys.MEMBER, keys.PROTOCOL)
"""Kinds of messages that the daemon answers itself, without the app and without a case."""
MOST_TEXT = MAX_ORDER_BYTES * 2
SHOWN = 5
Path: TypeAlias = tuple[str, ...]
Rule: TypeAlias = Callable[[Approval, Scenario, Order, Any], str]
"""(approval, its scenario, order, value) -> what is allowed, where the value is not; else nothing."""


def judge(approval: Approval, kind: str, text: str, model: Mapping[str, NDArray[Any]] | None = None) -> int | None:
    """The round that the message is for, None before the first one. Raises NotApproved where it was not approved.

    `text`: all that the message says beside tensors, as `fedmed.flower.proposal.text_of` writes it; `model`: its tensors.
    """
    if kind in WORK and model is not None and architecture(approval.order["model"], model) != approval.architecture:
        raise NotApproved(f"the model's tensors are not those that were approved for run {approval.reference}")
    if kind in QUESTIONS and model:
        raise NotApproved("a question before the first round comes without tensors")
    if kind in WITHOUT_DATA:
        return None
    if kind not in QUESTIONS + WORK:
        raise NotApproved(f"this site answers nothing of the kind {kind[:80]!r}")
    order, others = _said(text)
    if kind in QUESTIONS:
        faults = [*_unequal(Inquiry, approval.inquiry, order), *_strangers(others, {})]
        number = None
    else:
        scenario, found = approval.offered().proposal.scenario, _read(Order, order)
        mu = scenario.strategy.options.get("proximal_mu")
        faults = [
            *_faults(approval, scenario, found, order),
            *_strangers(others, {"server-round": found.round, "proximal-mu": mu}),
        ]
        number = found.round
    if faults:
        more = f" and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
        raise NotApproved(
            f"the order is not what was approved for run {approval.reference}: {'; '.join(faults[:SHOWN])}{more}"
        )
    return number


def architecture(spec: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> str:
    """Digest of a model: its spec as JSON values, and names, shapes and types of its tensors, in whatever order."""
    rows = sorted([name, list(value.shape), str(value.dtype)] for name, value in tensors.items())
    return digest({"spec": dict(spec), "tensors": rows})


def judge_protection(approval: Approval, policy: Clinic) -> None:
    """Raise NotApproved where the approval allows less protection than the clinic's own file asks for."""
    found = f"run {approval.reference}"
    if STRENGTH.index(approval.encryption) < STRENGTH.index(policy.encryption):
        raise NotApproved(
            f"{found} has encryption {approval.encryption}; this site takes part with {policy.encryption} or stronger"
        )
    if approval.encryption != "off" and approval.least_members < policy.least_members:
        raise NotApproved(
            f"{found} has sums over {approval.least_members} clinics or more (privacy.least_sum); this site takes part with "
            f"{policy.least_members} or more"
        )
    if policy.most_epsilon is None:
        return
    if (
        approval.epsilon is None
        or approval.privacy_mode not in policy.privacy_modes
        or approval.epsilon > policy.most_epsilon
    ):
        has = "none" if approval.epsilon is None else f"epsilon {approval.epsilon:g} in mode {approval.privacy_mode}"
        raise NotApproved(
            f"{found} has differential privacy: {has}; this site takes part with epsilon up to {policy.most_epsilon:g}, and "
            f"mode {' or '.join(policy.privacy_modes)}"
        )


def judge_epoch(approval: Approval, mode: str, members: int, least: int) -> None:
    """Raise NotApproved where the terms of secure aggregation are weaker than approved."""
    weak = mode not in STRENGTH or STRENGTH.index(mode) < STRENGTH.index(approval.encryption)
    if weak or members < approval.least_members or least < approval.least_members:
        raise NotApproved(
            f"rounds of mode {mode[:20]} with {members} members and sums over {least} or more; approved for run "
            f"{approval.reference}: {approval.encryption} or stronger, {approval.least_members} or more"
        )


def _said(text: str) -> tuple[str, dict[str, Any]]:
    """The text of the order, and all other settings of the message by name. Raises NotApproved."""
    records = _json(text, MOST_TEXT)
    if not isinstance(records, dict) or not all(isinstance(each, dict) for each in records.values()):
        raise NotApproved("the message carries no order that can be read here")
    settings = [(key, value) for record in records.values() for key, value in record.items()]
    orders = [value for key, value in settings if key == keys.CONFIG_KEY]
    if len(orders) != 1 or not isinstance(orders[0], str):
        raise NotApproved(f"the message carries {len(orders)} orders; exactly one can be compared with what was approved")
    names = [key for key, _ in settings]
    if len(set(names)) != len(names):
        raise NotApproved("the message names a setting twice")
    return orders[0], {key: value for key, value in settings if key != keys.CONFIG_KEY}


def _json(text: str, most: int) -> Any:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) != len(pairs):  # two parsers may take two values of one key
            raise ValueError("a key is there twice")
        return dict(pairs)

    def number(word: str) -> Any:
        raise ValueError(f"{word} is no number")

    try:
        return json.loads(text, object_pairs_hook=once, parse_constant=number) if len(text) <= most else None
    except (ValueError, RecursionError):
        return None


def _read(kind: type[Any], text: str) -> Any:
    """The order or question in a text, where the text says just that. Raises NotApproved."""
    said = _json(text, MAX_ORDER_BYTES)
    try:
        found = kind.model_validate_json(text)
    except (ValidationError, ValueError) as error:
        raise NotApproved("the order cannot be read here; is the center's fedmed much older or newer?") from error
    if not _is_within(said, found.model_dump(mode="json")):  # an app of the researcher's own might read it otherwise
        raise NotApproved("the order says values of other types than an order has")
    return found


def _is_within(said: Any, read: Any) -> bool:
    """Whether all that was said was read as it stands; what was not said has its default."""
    if isinstance(said, dict) and isinstance(read, dict):
        return all(key in read and _is_within(value, read[key]) for key, value in said.items())
    if isinstance(said, list) and isinstance(read, list):
        return len(said) == len(read) and all(map(_is_within, said, read))
    return isinstance(said, bool) == isinstance(read, bool) and bool(said == read)


def _filled(kind: type[BaseModel], approved: Mapping[str, Any]) -> dict[str, Any]:
    """What was approved, with the defaults of fields that this version has added since."""
    return kind.model_validate_json(json.dumps(approved)).model_dump(mode="json")


def _unequal(kind: type[BaseModel], approved: Mapping[str, Any], text: str) -> Iterator[str]:
    wanted, found = _filled(kind, approved), _read(kind, text).model_dump(mode="json")
    for path, value in _leaves(found):
        if not _equal(value, _at(wanted, path)):
            yield _fault(path, value, shown(_at(wanted, path)))


def _faults(approval: Approval, scenario: Scenario, order: Order, text: str) -> Iterator[str]:
    wanted = _filled(Order, approval.order)
    for path, value in _leaves(order.model_dump(mode="json")):
        rule = RULES.get(path)
        if path[0] == "training" and path[-1] in approval.ranges:
            allowed = _in_range(approval, value, path[-1])
        elif rule is not None:
            allowed = rule(approval, scenario, order, value)
        else:
            allowed = "" if _equal(value, _at(wanted, path)) else shown(_at(wanted, path))
        if allowed:
            yield _fault(path, value, allowed)


def _strangers(others: Mapping[str, Any], known: Mapping[str, Any]) -> Iterator[str]:
    """Settings beside the order, which an app might follow."""
    for name, value in others.items():
        if name not in known or not _equal(value, known[name]):
            yield f"setting {name[:80]!r}: got {shown(value)}, allowed: {shown(known[name]) if name in known else 'none'}"


def _fault(path: Path, value: Any, allowed: str) -> str:
    return f"{'.'.join(path)[:120]}: got {shown(value)}, approved: {allowed}"


def _leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every value by path; a section that may be absent counts as a whole where it is, and by its keys where it is not."""
    if isinstance(value, dict) and value and path not in WHOLE:
        for key, each in value.items():
            yield from _leaves(each, (*path, key))
    else:
        yield path, value


def _at(value: Any, path: Path) -> Any:
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _equal(one: Any, other: Any) -> bool:
    return _is_within(one, other) and _is_within(other, one)


def _in_range(approval: Approval, value: Any, key: str) -> str:
    low, high = approval.ranges[key]
    sound = isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high
    return "" if sound else f"{low:g} to {high:g}"


def _round(_: Approval, scenario: Scenario, __: Order, value: Any) -> str:
    return "" if 1 <= value <= scenario.rounds else f"1 to {scenario.rounds}"


def _any(_: Approval, __: Scenario, ___: Order, ____: Any) -> str:
    return ""


def _rate(_: Approval, scenario: Scenario, order: Order, value: Any) -> str:
    due = learning_rate(order.training, scenario.rounds, order.round)
    return "" if math.isclose(value, due, rel_tol=1e-9) else f"{due:g}, by the schedule"


def _scale(approval: Approval, scenario: Scenario, order: Order, value: Any) -> str:
    if scenario.data.normalise != "federated" or value is None:
        return "" if value is None else "none"
    width = math.prod(approval.order["model"]["inputs"])
    sound = len(value) == width and all(map(math.isfinite, value)) and min(order.preparation.std or (1.0,)) > 0
    return "" if sound else f"{width} finite numbers, above 0 for deviations"


def _weights(approval: Approval, _: Scenario, __: Order, value: Any) -> str:
    classes = approval.order["model"]["classes"]
    if approval.class_weights == "none":
        return "" if list(value) == [1.0] * classes else "1 for every class"
    sound = len(value) == classes and all(math.isfinite(each) and each >= 0 for each in value)
    return "" if sound else f"{classes} numbers from 0"


def _noise(approval: Approval, scenario: Scenario, _: Order, value: Any) -> str:
    private = scenario.privacy.differential_privacy
    if private is None:
        return "no differential privacy"
    return "" if private.noise is None or _equal(value, private.noise) else f"{private.noise:g}"


RULES: dict[Path, Rule] = {
    ("round",): _round,
    ("seed",): _any,
    ("learning_rate",): _rate,
    ("preparation", "mean"): _scale,
    ("preparation", "std"): _scale,
    ("class_weights",): _weights,
    ("privacy", "noise_multiplier"): _noise,
    ("privacy", "patients"): _any,
    ("privacy", "most_patients"): _any,
}
WHOLE: frozenset[Path] = frozenset({("model", "options"), ("training", "metrics"), ("patches",)})
"""Sections that are compared as one value: their keys are the researcher's."""
